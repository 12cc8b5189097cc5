/* gnu11: v */
struct s { char c; int i; } __attribute__((packed));
struct s v;
