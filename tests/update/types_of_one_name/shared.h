/* Seen under different macros, two units have two kinds of it; incomplete in a third. */
struct node;
struct packet {
#ifdef WIDE
    long header;
#endif
    int number;
    struct packet *next;
};
struct hidden;
int left_sum(void);
int right_sum(void);
int local_sum(void);
void left_fill(void);
void right_fill(void);
void local_fill(void);
struct node *left_node(void);
struct node *right_node(void);
struct hidden *hidden_new(int number);
int hidden_get(const struct hidden *hidden);
