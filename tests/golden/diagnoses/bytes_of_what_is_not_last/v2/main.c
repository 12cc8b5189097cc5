struct name { int kind; char text[1]; int after; } *name;
struct flags { int size; int more; unsigned is_set : 1; } *flags;
