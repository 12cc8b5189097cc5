typedef int (*handler)(int);
handler current;
