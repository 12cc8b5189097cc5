/* gnu2x: v w */
enum e : unsigned char { A, B };
enum e v;
enum f : short;
struct { enum e x; } w;
