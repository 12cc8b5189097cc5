/* gnu11: q l z r */
_Float128 q;
long double l;
_Complex double z;
__float128 r;
