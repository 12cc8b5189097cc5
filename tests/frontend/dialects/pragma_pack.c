/* gnu11: v w x */
#pragma pack(push, 1)
struct s { char c; int i; } v;
#pragma pack(pop)
struct t { char c; int i; } w;
struct __attribute__((packed, aligned(2))) u { char c; int i; } x;
