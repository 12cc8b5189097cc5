struct list { int n; char *names[]; } *list;
