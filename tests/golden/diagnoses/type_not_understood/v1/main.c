struct odd { __typeof__((0, 1.0)) x; };
struct odd odd;
