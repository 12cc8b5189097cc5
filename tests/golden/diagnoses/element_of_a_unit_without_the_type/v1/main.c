struct node;
struct node *either;
