struct handle;
typedef struct handle *handle_t;
struct data { double extra; int v; char kind[12]; };
typedef void (*callback)(handle_t, void *);
extern handle_t handle_new(int n);
extern int handle_get(handle_t h);
extern struct data *handle_data(handle_t h);
