/* gnu2x: yes */
#if __has_include(<stdint.h>) && __has_c_attribute(deprecated)
int yes;
#endif
#if defined __has_embed
int e;
#endif
