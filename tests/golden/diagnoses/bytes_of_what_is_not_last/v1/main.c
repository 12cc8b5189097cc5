struct name { int kind; char text[1]; } *name;
struct flags { int size; unsigned is_set : 1; } *flags;
