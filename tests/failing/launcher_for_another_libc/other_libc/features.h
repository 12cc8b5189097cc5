/* A libc that is not glibc says nothing of itself here. */
#define SOME_LIBC 1
