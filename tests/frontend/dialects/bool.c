/* gnu2x: b d */
bool b = true;
struct { bool c : 1; } d;
