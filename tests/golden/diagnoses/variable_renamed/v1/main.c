int limit;
long hits;
char *title;
