struct list { long stamp; int n; char *names[]; } *list;
