int limit;
long hit_count;
char *title;
