/* The update of all processes of a tree, all or none: each is a flight with a step, and waits at its commit until
 * the last one stands there. */
#define _GNU_SOURCE
#include "helper.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "platform.h"

/* ---- a round -------------------------------------------------------------------------------- */

static uint32_t open_verdict(const struct helper *helper) {
    return helper->round.number * KITSUNE__DECISIONS;
}

/* Returns 0 if somebody else has decided before. */
static int decide(struct helper *helper, uint32_t decision) {
    struct kitsune__tree *tree = helper->tree;
    uint32_t open = open_verdict(helper);
    int is_ours = atomic_compare_exchange_strong(&tree->verdict, &open, open + decision);

    helper->round.is_decided = 1;
    syscall(SYS_futex, &tree->verdict, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return is_ours;
}

/* The first cause counts; all others are only told that there is one. */
static void undo_round(struct helper *helper, int32_t culprit, const char *word, uint32_t code,
                       const char *reason) {
    struct round *round = &helper->round;

    if (round->word || helper->tree->verdict == open_verdict(helper) + KITSUNE__COMMIT_ALL)
        return;
    round->culprit = culprit;
    round->word = word;
    round->code = code;
    kitsune__format(round->reason, sizeof round->reason, "%s", reason);
    kitsune__format(helper->tree->cause, sizeof helper->tree->cause,
                    "process %d of the tree was not updated (K%u)", culprit, code);
    decide(helper, KITSUNE__UNDO_ALL);
}

static void end_step(struct flight *flight, const char *word, uint32_t code) {
    kitsune__helper_forget_fetcher(flight);
    flight->step = OVER;
    flight->word = word;
    flight->code = code;
}

static void fail_step(struct helper *helper, struct flight *flight, const char *word, uint32_t code,
                      const char *reason) {
    end_step(flight, word, code);
    undo_round(helper, flight->owner, word, code, reason);
}

/* Checks one copy for all: what is loaded everywhere are the same bytes. */
static enum kitsune__acceptance check_for(struct helper *helper, struct kitsune__control *control,
                                          struct kitsune__problem *problem) {
    struct round *round = &helper->round;
    enum kitsune__acceptance acceptance;
    struct stat status;

    if (round->copy >= 0)
        return kitsune__check_image(round->bytes, round->size, &control->running, &control->release,
                                    problem);
    acceptance = kitsune__check_release(round->path, helper->user, &control->running,
                                        &control->release, &round->copy, problem);
    if (acceptance != KITSUNE__RELEASE_ACCEPTED)
        return acceptance;
    if (fstat(round->copy, &status) == 0)
        round->bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, round->copy, 0);
    if (!round->bytes || round->bytes == MAP_FAILED) {
        problem->code = KITSUNE__NO_MEMORY;
        kitsune__format(problem->text, sizeof problem->text, "the release cannot be mapped");
        round->bytes = NULL;
        return KITSUNE__RELEASE_REFUSED;
    }
    round->size = (size_t)status.st_size;
    return acceptance;
}

/* The file may have been exchanged since a process was found to run it already. */
static int is_same_release(struct helper *helper, const struct kitsune__control *control) {
    struct kitsune__running *release = &helper->round.release;

    if (!release->version[0])
        *release = control->release;
    return memcmp(release->build_id, control->release.build_id, sizeof release->build_id) == 0;
}

static void check_step(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    struct kitsune__problem problem = {KITSUNE__UNSAFE_FILE, "the release's file was exchanged"};
    enum kitsune__acceptance acceptance = check_for(helper, control, &problem);

    if (acceptance != KITSUNE__RELEASE_REFUSED && !is_same_release(helper, control))
        acceptance = KITSUNE__RELEASE_REFUSED;
    switch (acceptance) {
    case KITSUNE__RELEASE_ACCEPTED:
        flight->step = CHECKED;
        return;
    case KITSUNE__RELEASE_IS_RUNNING:
        end_step(flight, "already-running", 0);
        break;
    case KITSUNE__RELEASE_REFUSED:
        kitsune__helper_note_unheard(control, problem.code, problem.text);
        fail_step(helper, flight, "rejected", problem.code, problem.text);
        break;
    }
    control->state = KITSUNE__IDLE;
}

struct kitsune__control *kitsune__helper_place_of(struct helper *helper, int32_t pid) {
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++)
        if (kitsune__tree_place(helper->tree, i)->owner == pid)
            return kitsune__tree_place(helper->tree, i);
    return NULL;
}

static unsigned depth_of(struct helper *helper, const struct kitsune__control *control) {
    unsigned depth = 0;

    while (control && depth < KITSUNE__PLACES && control->parent)
        if ((control = kitsune__helper_place_of(helper, control->parent)))
            depth++;
    return depth;
}

static void join_round(struct helper *helper, struct flight *flight,
                       struct kitsune__control *control) {
    const struct round *round = &helper->round;
    struct wish wish = {.path = round->path,
                        .limits = round->limits,
                        .wait_ms = round->wait_ms,
                        .control = control,
                        .round = round->number};

    *flight = (struct flight){.control = control,
                              .client = round->client,
                              .copy = -1,
                              .fetcher = -1,
                              .owner = control->owner,
                              .started = round->started,
                              .wait_ms = round->wait_ms,
                              .step = CHECKED,
                              .depth = depth_of(helper, control)};
    helper->flight_count++;
    if (!kitsune__helper_claim_request(control, &wish)) {
        fail_step(helper, flight, "busy", KITSUNE__BUSY, "another update is under way");
        return;
    }
    flight->serial = control->serial;
    if (kitsune__helper_is_filtered(helper, control)) {
        kitsune__helper_note_unheard(control, KITSUNE__FILTERED, FILTERED_REASON);
        fail_step(helper, flight, "refused", KITSUNE__FILTERED, FILTERED_REASON);
        control->state = KITSUNE__IDLE;
        return;
    }
    check_step(helper, flight);
}

/* Takes in all that live and are not in yet. Non-zero if there were any. */
static int gather_tree(struct helper *helper) {
    int has_new = 0;

    for (uint32_t i = 0; !helper->round.is_decided && i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);
        struct flight *flight = &helper->flights[i];
        int32_t owner = control->owner;

        if (flight->control && flight->step == ALONE)
            undo_round(helper, owner, "busy", KITSUNE__BUSY, "another update is under way");
        if (owner <= 0 || (flight->control && flight->owner == owner))
            continue;
        if (flight->control && flight->step != OVER)
            continue; /* found to have ended at its next look */
        if (!kitsune__tree_owner(control))
            continue;
        if (flight->control) /* one that ended in this round had the place */
            helper->flight_count--;
        join_round(helper, flight, control);
        has_new = 1;
    }
    return has_new;
}

/* The process may have ended since it was checked, and its place be another's. */
static void ask_step(struct helper *helper, struct flight *flight) {
    uint64_t now = kitsune__now_ns();

    if (!flight->first_asked)
        flight->first_asked = now;
    flight->control->puts_off = 0;
    flight->control->forks_known =
        helper->round.children_first ? flight->forks : KITSUNE__ANY_FORKS;
    flight->step = ASKED;
    flight->started = now;
    flight->until = now + flight->wait_ms * 1000000u;
    flight->kick_wait = FIRST_KICK_NS;
    kitsune__helper_reach(helper, flight);
    if (flight->control->owner == flight->owner &&
        kitsune__helper_move_state(flight->control, KITSUNE__CHECKING, KITSUNE__PENDING))
        kitsune__helper_kick_again(flight, now);
}

static void give_up_step(struct helper *helper, struct flight *flight) {
    char reason[512];
    size_t used =
        kitsune__format(reason, sizeof reason,
                        "process %d did not reach an update point within %lu ms: ", flight->owner,
                        (unsigned long)flight->wait_ms);

    kitsune__helper_describe(flight->owner, reason + used, sizeof reason - used);
    if (kitsune__helper_withdraw(flight->control, KITSUNE__NOT_REACHED, reason))
        fail_step(helper, flight, "withdrawn", KITSUNE__NOT_REACHED, reason);
}

/* The process has forked since its children were looked for: they come first, and then it is asked again. But
 * it cannot do so for ever, while others stand and wait. */
static void put_off_step(struct helper *helper, struct flight *flight) {
    uint64_t waited = kitsune__now_ns() - flight->first_asked;
    char reason[256];

    if (waited < flight->wait_ms * 1000000u) {
        flight->control->state = KITSUNE__CHECKING;
        flight->step = CHECKED;
        return;
    }
    kitsune__format(reason, sizeof reason,
                    "process %d has forked again and again for %lu ms: its children are updated "
                    "before it",
                    flight->owner, (unsigned long)flight->wait_ms);
    kitsune__helper_note_unheard(flight->control, KITSUNE__NOT_REACHED, reason);
    fail_step(helper, flight, "withdrawn", KITSUNE__NOT_REACHED, reason);
    flight->control->state = KITSUNE__IDLE;
}

static uint32_t number_of_code(const char *code) {
    uint32_t number = 0;

    for (; *code; code++)
        if (*code >= '0' && *code <= '9')
            number = number * 10 + (uint32_t)(*code - '0');
    return number;
}

/* The process has told its outcome. */
static void finish_step(struct helper *helper, struct flight *flight) {
    const struct kitsune__outcome *outcome = &flight->control->outcome;
    uint32_t code = number_of_code(outcome->code);

    if (outcome->committed)
        end_step(flight, "updated", 0);
    else if (code == KITSUNE__TREE_UNDONE && !flight->control->gave_up)
        end_step(flight, kitsune__helper_outcome_word(outcome),
                 code); /* by another one, which tells why */
    else
        fail_step(helper, flight, kitsune__helper_outcome_word(outcome), code, outcome->reason);
    flight->control->state = KITSUNE__IDLE;
}

/* Nobody is asked any more. */
static void call_off(struct helper *helper, struct flight *flight) {
    if (flight->step == CHECKED) {
        flight->control->state = KITSUNE__IDLE;
        end_step(flight, "not-asked", 0);
    } else if (flight->step == ASKED && flight->control->state == KITSUNE__PENDING &&
               kitsune__helper_withdraw(flight->control, KITSUNE__TREE_UNDONE,
                                        helper->tree->cause)) {
        end_step(flight, "withdrawn", KITSUNE__TREE_UNDONE);
    }
}

/* A child that ends before it began to be updated is no failure: they come and go. */
static void note_end(struct helper *helper, struct flight *flight) {
    uint32_t state = flight->control->state;
    int had_begun = flight->step == READY || (flight->control->owner == flight->owner &&
                                              (state == KITSUNE__TAKEN || state == KITSUNE__READY));

    if (flight->control != helper->speaker && !had_begun)
        end_step(flight, "ended", 0);
    else
        fail_step(helper, flight, "error", KITSUNE__PROGRAM_ENDED,
                  "a process of the tree ended during the update");
}

static void follow_step(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    uint32_t state = control->state;
    uint64_t now = kitsune__now_ns();

    if (kitsune__helper_has_ended(flight, now)) {
        note_end(helper, flight);
    } else if (flight->step == CHECKED) {
        return;
    } else if (control->serial != flight->serial || state == KITSUNE__IDLE) {
        fail_step(helper, flight, "withdrawn", KITSUNE__WITHDRAWN,
                  "the program withdrew the request (kitsune_clear_request)");
    } else if (state == KITSUNE__DONE && control->puts_off) {
        put_off_step(helper, flight);
    } else if (state == KITSUNE__DONE) {
        finish_step(helper, flight);
    } else if (state == KITSUNE__READY && flight->step == ASKED) {
        flight->step = READY;
        kitsune__helper_forget_fetcher(flight);
        kitsune__helper_tell_progress(helper, helper->round.client, control, "ready");
    } else if (state == KITSUNE__PENDING && now >= flight->until) {
        give_up_step(helper, flight);
    } else if (state == KITSUNE__PENDING && now >= flight->next_kick) {
        kitsune__helper_kick_again(flight, now);
    }
}

/* How many are at this step. */
static uint32_t count_steps(const struct helper *helper, enum step step) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        count += helper->flights[i].control && helper->flights[i].step == step;
    return count;
}

/* Children that were forked and have no place yet; those of a namespace that has ended are none. */
static int count_forks(struct helper *helper) {
    int count = helper->tree->forking > 0 ? helper->tree->forking : 0;

    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *place = kitsune__tree_place(helper->tree, i);

        if (place->forking > 0 && kitsune__tree_owner(place))
            count += place->forking;
    }
    return count;
}

/* They were killed before they ran. */
static void forget_forks(struct helper *helper) {
    helper->tree->forking = 0;
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++)
        kitsune__tree_place(helper->tree, i)->forking = 0;
}

/* Non-zero if a child that was just forked has not taken its place yet, and may still do so. */
static int awaits_forks(struct helper *helper) {
    struct round *round = &helper->round;
    uint64_t now = kitsune__now_ns();

    if (!count_forks(helper)) {
        round->forking_since = 0;
        return 0;
    }
    if (!round->forking_since)
        round->forking_since = now;
    return now - round->forking_since <= FORKING_LIMIT_NS;
}

/* Takes in the children that were forked since; a parent that is asked may then say whether it has forked more.
 * Its count is read before it is looked who has a place. Non-zero if that is to be done again. */
static int gather_children(struct helper *helper) {
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == CHECKED)
            helper->flights[i].forks = helper->flights[i].control->forks;
    return awaits_forks(helper) || gather_tree(helper);
}

/* Asks those that are next in the order: all of one depth. */
static void ask_next(struct helper *helper) {
    const struct round *round = &helper->round;
    unsigned next = round->children_first ? 0 : KITSUNE__PLACES;

    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++) {
        const struct flight *flight = &helper->flights[i];

        if (flight->control && flight->step == CHECKED &&
            (round->children_first ? flight->depth > next : flight->depth < next))
            next = flight->depth;
    }
    helper->round.forking_since = 0;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == CHECKED &&
            helper->flights[i].depth == next)
            ask_step(helper, &helper->flights[i]);
}

static void refuse_incomplete(struct helper *helper, int32_t pid, const char *reason) {
    undo_round(helper, pid, "refused", KITSUNE__TREE_INCOMPLETE, reason);
}

/* If there are processes that have no place: non-zero. */
static int refuse_left_out(struct helper *helper) {
    struct kitsune__left_out some;
    uint32_t count = kitsune__tree_left_out(helper->tree, &some);
    char reason[256];

    if (!count)
        return 0;
    kitsune__format(reason, sizeof reason,
                    "%u processes of the tree cannot be updated, one is %d%s", count, some.pid,
                    some.is_elsewhere ? ": it was made by a bare clone, in a namespace of users "
                                        "or process numbers of its own"
                                      : "");
    refuse_incomplete(helper, some.pid, reason);
    return 1;
}

/* Every process that is known stands at its commit: none of them can fork any more. What they forked before
 * has taken its place, or does so soon; then all are known. */
static void try_commit(struct helper *helper) {
    if (awaits_forks(helper))
        return;
    if (count_forks(helper)) {
        forget_forks(helper);
        refuse_incomplete(helper, helper->speaker->owner,
                          "a process was forked that did not begin to run");
        return;
    }
    if (gather_tree(helper))
        return;
    if (!refuse_left_out(helper))
        decide(helper, KITSUNE__COMMIT_ALL); /* else a process has just lost its patience */
}

static void put_process(struct helper *helper, const struct flight *flight) {
    kitsune__answer_item(&helper->answer);
    kitsune__answer_number(&helper->answer, "pid", (uint64_t)flight->owner);
    kitsune__answer_text(&helper->answer, "outcome", flight->word, 64);
    if (flight->code)
        kitsune__answer_code(&helper->answer, flight->code);
    if (flight->word[0] == 'u') {
        kitsune__answer_number(&helper->answer, "pause_ns", flight->control->outcome.pause_ns);
        kitsune__answer_number(&helper->answer, "objects", flight->control->outcome.objects);
    }
    kitsune__answer_put(&helper->answer, "}");
}

static void put_processes(struct helper *helper) {
    kitsune__answer_name(&helper->answer, "processes");
    kitsune__answer_put(&helper->answer, "[");
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step != ALONE)
            put_process(helper, &helper->flights[i]);
    kitsune__answer_put(&helper->answer, "]");
}

/* "updated" if any was: those that are told with it ran the release already. */
static const char *round_word(const struct helper *helper) {
    if (helper->round.word)
        return helper->round.word;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == OVER &&
            helper->flights[i].word[0] == 'u')
            return "updated";
    return "already-running";
}

static void answer_round(struct helper *helper) {
    struct round *round = &helper->round;

    kitsune__answer_begin(&helper->answer, "done");
    kitsune__answer_text(&helper->answer, "outcome", round_word(helper), 64);
    if (round->word) {
        kitsune__answer_number(&helper->answer, "process", (uint64_t)round->culprit);
        kitsune__answer_code(&helper->answer, round->code);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "reason", round->reason);
    }
    put_processes(helper);
    kitsune__answer_number(&helper->answer, "request_ns", kitsune__now_ns() - round->started);
    kitsune__answer_number(&helper->answer, "pid", (uint64_t)helper->speaker->owner);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "program", helper->speaker->running.program);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "to", round->release.version);
    kitsune__helper_send(helper, round->client);
}

static void end_round(struct helper *helper) {
    struct round *round = &helper->round;

    answer_round(helper);
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++) {
        if (!helper->flights[i].control || helper->flights[i].step == ALONE)
            continue;
        helper->flights[i].control = NULL;
        helper->flight_count--;
    }
    helper->clients[round->client].is_waiting = 0;
    if (round->bytes)
        munmap((void *)round->bytes, round->size);
    if (round->copy >= 0)
        close(round->copy);
    round->client = -1;
}

/* A process may have decided; its outcome tells why. */
static void notice_verdict(struct helper *helper) {
    if (helper->tree->verdict != open_verdict(helper))
        helper->round.is_decided = 1;
    else if (helper->clients[helper->round.client].closing)
        undo_round(helper, helper->speaker->owner, "withdrawn", KITSUNE__WITHDRAWN,
                   "the client that asked went away");
}

/* Looks how far the round is; called often while there is one. */
void kitsune__helper_follow_round(struct helper *helper) {
    struct round *round = &helper->round;

    if (round->client < 0)
        return;
    helper->tree->beat++;
    if (!round->is_decided)
        notice_verdict(helper);
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step != ALONE &&
            helper->flights[i].step != OVER) {
            follow_step(helper, &helper->flights[i]);
            if (round->is_decided)
                call_off(helper, &helper->flights[i]);
        }
    if (!round->is_decided && !count_steps(helper, ASKED)) {
        if (!count_steps(helper, CHECKED))
            try_commit(helper);
        else if (!round->children_first || !gather_children(helper))
            ask_next(helper);
    } else if (round->is_decided && !count_steps(helper, CHECKED) && !count_steps(helper, ASKED) &&
               !count_steps(helper, READY)) {
        end_round(helper);
    }
}

void kitsune__helper_start_round(struct helper *helper, int index, const struct wish *wish,
                                 int children_first) {
    struct round *round = &helper->round;

    if (!kitsune__helper_has_good_path(helper, index, wish))
        return;
    if (round->client >= 0) {
        kitsune__helper_refuse(helper, index, helper->speaker, "busy", KITSUNE__BUSY,
                               "another update of the tree is under way");
        return;
    }
    *round = (struct round){.client = index,
                            .copy = -1,
                            .number = ++helper->tree->round,
                            .children_first = children_first,
                            .limits = wish->limits,
                            .wait_ms = wish->wait_ms,
                            .started = kitsune__now_ns()};
    memcpy(round->path, wish->path, strlen(wish->path) + 1);
    kitsune__format(helper->tree->cause, sizeof helper->tree->cause,
                    "another process of the tree gave the update up");
    helper->tree->verdict = open_verdict(helper);
    helper->clients[index].is_waiting = 1;
    refuse_left_out(helper);
    gather_tree(helper);
    if (!round->is_decided)
        kitsune__helper_tell_progress(helper, index, helper->speaker, "checked");
}
