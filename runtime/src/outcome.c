#include "outcome.h"

#include <stdarg.h>

#include "platform.h"

const char *kitsune__outcome_text(uint32_t code) {
    switch (code) {
    case KITSUNE__COMMITTED:
        return "committed";
#define KITSUNE__OUTCOME_TEXT(name, number, text)                                                  \
    case number:                                                                                   \
        return text;
        KITSUNE_OUTCOMES(KITSUNE__OUTCOME_TEXT)
#undef KITSUNE__OUTCOME_TEXT
    default:
        return "unknown";
    }
}

int kitsune__refuse(struct kitsune__problem *problem, enum kitsune__code code, const char *format,
                    ...) {
    va_list arguments;

    problem->code = code;
    va_start(arguments, format);
    kitsune__formatv(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    return -1;
}
