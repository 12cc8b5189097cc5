void kitsune_update(const char *);
int main(void) { kitsune_update("loop"); }
