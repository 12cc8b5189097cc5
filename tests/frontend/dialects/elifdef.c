/* gnu2x: g */
#ifdef A
#elifdef B
#else
int g;
#endif
