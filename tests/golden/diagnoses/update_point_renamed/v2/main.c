#include <kitsune.h>
int state;
void serve(void) { for (;;) kitsune_update("service"); }
int main(void) { kitsune_update("main"); serve(); }
