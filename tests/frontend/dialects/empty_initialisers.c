/* gnu2x: v arr */
struct s { int a, b; } v = {};
int arr[3] = {};
