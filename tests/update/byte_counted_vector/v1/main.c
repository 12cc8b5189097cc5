#include "serve.h"
#include "vector.h"

struct user {
    char name[8];
};

struct message {
    struct user *from; /* into `users` */
    char text[16];
};

static vector users, messages, log_text;

static struct user *user_at(size_t index)
{
    return (struct user *)users.mem + index;
}

static void list(void)
{
    size_t count = messages.used / sizeof(struct message);
    const struct message *message = (const struct message *)messages.mem;

    for (; count; count--, message++)
        printf("%s: %s\n", message->from->name, message->text);
    printf("%zu users\n", users.used / sizeof(struct user));
    printf("%.*s\n", (int)log_text.used, log_text.mem);
}

static void answer(const char *word, const char *rest)
{
    *(char *)vector_add(&log_text, 1) = *word;
    if (strcmp(word, "user") == 0) {
        struct user *user = vector_add(&users, sizeof *user);
        snprintf(user->name, sizeof user->name, "%s", rest);
    } else if (strcmp(word, "say") == 0) {
        struct message *message = vector_add(&messages, sizeof *message);
        message->from = user_at((size_t)(*rest - '0'));
        snprintf(message->text, sizeof message->text, "%s", rest + 2);
    } else {
        list();
    }
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
