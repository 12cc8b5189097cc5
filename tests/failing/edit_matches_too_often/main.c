#include <stdio.h>

static int serve(int fd)
{
    int answer = fd + 1;
    for (;;) {
        if (puts("waiting") < 0)
            break;
        answer += 2;
    }
    while (answer > 0)
        answer--;
    return answer;
}

int main(void)
{
    return serve(0);
}
