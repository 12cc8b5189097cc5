#include "outcome.h"

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
