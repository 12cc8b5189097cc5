struct list { int n; int **names; } *list;
int counts[2];
