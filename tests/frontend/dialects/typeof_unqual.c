/* gnu2x: a b */
const int a = 1;
typeof_unqual(a) b;
