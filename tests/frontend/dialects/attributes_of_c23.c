/* gnu2x: old_one v */
[[deprecated]] int old_one;
struct [[gnu::packed]] s { [[maybe_unused]] char c; int i; };
struct s v;
[[nodiscard]] int f(void) { return v.i; }
