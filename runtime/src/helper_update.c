/* The update of one process, as its helper sees it: asked, kicked, waited for, answered. A flight is one that
 * is under way. */
#define _GNU_SOURCE
#include "helper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "platform.h"
#include "stuck.h"

#define LAST_KICK_NS 20000000ull
/* How long a call that can only be ended by EINTR is given to end by itself. */
#define INTERRUPT_NS 50000000ull
/* How long a program that does not come may take to say where it is. */
#define LOOK_LIMIT_NS (SECOND / 5)
/* How much longer than its time limit a rehearsal may take, before its copy is killed. */
#define REHEARSAL_MARGIN_NS (10 * SECOND)
#define REHEARSAL_LIMIT_MS 60000u /* as the program's own for a transaction */

/* ---- an update ----------------------------------------------------------------------------- */

static struct flight *flight_of(struct helper *helper, const struct kitsune__control *control) {
    uint32_t index = 0;

    while (kitsune__tree_place(helper->tree, index) != control)
        index++;
    return &helper->flights[index];
}

static void end_flight(struct helper *helper, struct flight *flight) {
    close(flight->copy);
    kitsune__helper_forget_fetcher(flight);
    flight->control = NULL;
    helper->flight_count--;
    helper->clients[flight->client].is_waiting = 0;
}

/* Ends the request here if the process has not taken it: non-zero. */
int kitsune__helper_withdraw(struct kitsune__control *control, uint32_t code, const char *reason) {
    if (!kitsune__helper_move_state(control, KITSUNE__PENDING, KITSUNE__CHECKING))
        return 0;
    __atomic_fetch_and(&kitsune__tree_gate(control)->pending,
                       ~(uint32_t)(KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_INTERRUPT),
                       __ATOMIC_RELEASE);
    kitsune__helper_note_unheard(control, code, reason);
    control->state = KITSUNE__IDLE;
    return 1;
}

void kitsune__helper_kick(int32_t pid) {
    syscall(SYS_tgkill, pid, pid, SIGURG);
}

static void give_up_waiting(struct helper *helper, struct flight *flight) {
    char reason[1024];
    size_t used = kitsune__format(reason, sizeof reason,
                                  "the program did not reach an update point within %lu ms: ",
                                  (unsigned long)flight->wait_ms);
    struct kitsune__control *control = flight->control;

    used += kitsune__helper_describe(control->owner, reason + used, sizeof reason - used);
    if (control->look == KITSUNE__LOOK_DONE) {
        used += kitsune__format(reason + used, sizeof reason - used, "; ");
        kitsune__stuck_text(&control->report.threads[0], reason + used, sizeof reason - used);
    }
    if (!kitsune__helper_withdraw(control, KITSUNE__NOT_REACHED, reason))
        return;
    end_flight(helper, flight);
    kitsune__answer_begin(&helper->answer, "done");
    kitsune__answer_text(&helper->answer, "outcome", "withdrawn", 64);
    kitsune__answer_code(&helper->answer, KITSUNE__NOT_REACHED);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "reason", reason);
    if (control->look == KITSUNE__LOOK_DONE)
        kitsune__helper_put_report(helper, control);
    kitsune__helper_put_versions(helper, control, &control->running);
    kitsune__helper_send(helper, flight->client);
}

/* The time is over. The program is asked what it does, and given a little time to answer; one that blocks
 * the kick does not. */
static void end_waiting(struct helper *helper, struct flight *flight, uint64_t now) {
    struct kitsune__control *control = flight->control;

    if (control->look == KITSUNE__LOOK_NONE) {
        control->report.thread_count = 0;
        control->look = KITSUNE__LOOK_WANTED;
        kitsune__helper_kick(control->owner);
        flight->look_until = now + LOOK_LIMIT_NS;
        flight->next_kick = flight->look_until;
    } else if (control->look == KITSUNE__LOOK_DONE || now >= flight->look_until) {
        give_up_waiting(helper, flight);
    }
}

/* Sets the gate again too: the program may have cleared it on behalf of a request before this one. */
void kitsune__helper_kick_again(struct flight *flight, uint64_t now) {
    uint32_t bits = KITSUNE__PENDING_UPDATE;

    if (now - flight->started >= INTERRUPT_NS)
        bits |= KITSUNE__PENDING_INTERRUPT;
    __atomic_fetch_or(&kitsune__tree_gate(flight->control)->pending, bits, __ATOMIC_RELEASE);
    kitsune__helper_kick(flight->control->owner);
    flight->next_kick = now + flight->kick_wait;
    flight->kick_wait *= 2;
    if (flight->kick_wait > LAST_KICK_NS)
        flight->kick_wait = LAST_KICK_NS;
}

static void member_types(struct helper *helper, const struct kitsune__outcome *outcome) {
    kitsune__answer_name(&helper->answer, "types");
    kitsune__answer_put(&helper->answer, "[");
    for (uint32_t i = 0; i < outcome->share_count && i < KITSUNE__SHARES; i++) {
        const struct kitsune__type_share *share = &outcome->shares[i];

        kitsune__answer_put(&helper->answer, i ? ", {" : "{");
        KITSUNE__ANSWER_ARRAY(&helper->answer, "type", share->name);
        kitsune__answer_number(&helper->answer, "moved", share->moved);
        kitsune__answer_number(&helper->answer, "in_place", share->in_place);
        kitsune__answer_put(&helper->answer, "}");
    }
    kitsune__answer_put(&helper->answer, "]");
}

const char *kitsune__helper_outcome_word(const struct kitsune__outcome *outcome) {
    if (outcome->is_rehearsal)
        return outcome->committed ? "rehearsed" : "rehearsal-failed";
    if (outcome->committed)
        return "updated";
    return outcome->begun ? "rolled-back" : "refused";
}

static void answer_outcome(struct helper *helper, const struct flight *flight,
                           const struct kitsune__running *from) {
    const struct kitsune__outcome *outcome = &flight->control->outcome;

    kitsune__answer_begin(&helper->answer, "done");
    kitsune__answer_text(&helper->answer, "outcome", kitsune__helper_outcome_word(outcome), 64);
    if (!outcome->committed) {
        KITSUNE__ANSWER_ARRAY(&helper->answer, "code", outcome->code);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "reason", outcome->reason);
        kitsune__helper_put_report(helper, flight->control);
    }
    KITSUNE__ANSWER_ARRAY(&helper->answer, outcome->is_rehearsal ? "withheld" : "not_undone",
                          outcome->not_undone);
    kitsune__answer_number(&helper->answer, "pause_ns", outcome->pause_ns);
    kitsune__answer_number(&helper->answer, "load_ns", outcome->load_ns);
    kitsune__answer_number(&helper->answer, "snapshot_ns", outcome->snapshot_ns);
    kitsune__answer_number(&helper->answer, "migrate_ns", outcome->migrate_ns);
    kitsune__answer_number(&helper->answer, "objects", outcome->objects);
    kitsune__answer_number(&helper->answer, "bytes", outcome->bytes);
    if (outcome->is_rehearsal) {
        kitsune__answer_number(&helper->answer, "memory_bytes", outcome->memory_bytes);
        kitsune__answer_number(&helper->answer, "growth_bytes", outcome->growth_bytes);
        kitsune__answer_number(&helper->answer, "waited_ns", outcome->waited_ns);
        kitsune__answer_number(&helper->answer, "thread_count", outcome->thread_count);
        kitsune__answer_number(&helper->answer, "stopped_ns", flight->control->stopped_ns);
    }
    if (outcome->committed)
        member_types(helper, outcome);
    kitsune__answer_number(&helper->answer, "request_ns", kitsune__now_ns() - flight->started);
    kitsune__helper_put_versions(helper, flight->control, from);
    kitsune__helper_send(helper, flight->client);
}

/* The version before the update: the last entry of the history, which the program wrote. */
static struct kitsune__running version_before(const struct kitsune__control *control) {
    struct kitsune__running before = control->running;

    memcpy(before.version, control->past[(control->past_count - 1) % KITSUNE__HISTORY].from,
           sizeof before.version);
    return before;
}

/* At the next update point. */
static void have_copy_reaped(struct kitsune__control *control) {
    __atomic_fetch_or(&kitsune__tree_gate(control)->pending, KITSUNE__PENDING_RETIRE,
                      __ATOMIC_RELEASE);
}

/* In place of the snapshot that the update would take there was the making of the copy. */
static void add_snapshot(struct kitsune__control *control) {
    control->outcome.snapshot_ns += control->clone_ns;
    control->outcome.pause_ns += control->clone_ns;
}

static void finish_flight(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    int is_rehearsal = control->outcome.is_rehearsal;
    struct kitsune__running before = is_rehearsal ? control->running : version_before(control);

    if (is_rehearsal)
        add_snapshot(control);
    answer_outcome(helper, flight, &before);
    control->state = KITSUNE__IDLE;
    if (is_rehearsal)
        have_copy_reaped(control);
    end_flight(helper, flight);
}

/* Non-zero if a copy has ended, reaped or not. */
static int is_copy_gone(int32_t copy) {
    char state = kitsune__helper_process_state(copy);

    return state == 'Z' || state == 'X' || (state == 0 && kill(copy, 0) < 0 && errno == ESRCH);
}

/* Ends the rehearsal here, if its copy has not done so: non-zero. The program reaps the copy at its next
 * update point. */
int kitsune__helper_end_rehearsal(struct kitsune__control *control, uint32_t state) {
    int32_t copy;

    if (!kitsune__helper_move_state(control, KITSUNE__REHEARSING, state))
        return 0;
    copy = control->copy; /* one that is not there yet looks at the state when it is */
    if (copy > 0)
        kill(copy, SIGKILL);
    have_copy_reaped(control);
    return 1;
}

static void put_outcome(struct kitsune__control *control, enum kitsune__code code,
                        const char *reason) {
    struct kitsune__outcome *outcome = &control->outcome;

    memset(outcome, 0, sizeof *outcome);
    outcome->is_rehearsal = 1;
    kitsune__format(outcome->code, sizeof outcome->code, "K%u", (unsigned)code);
    kitsune__format(outcome->reason, sizeof outcome->reason, "%s", reason);
}

/* Looks after the copy that has the request. */
static void follow_rehearsal(struct helper *helper, struct flight *flight, uint64_t now) {
    struct kitsune__control *control = flight->control;
    uint64_t limit_ms = control->limits.total_ms ? control->limits.total_ms : REHEARSAL_LIMIT_MS;

    if (!flight->told_rehearsing) {
        flight->told_rehearsing = 1;
        flight->until = now + limit_ms * 1000000u + REHEARSAL_MARGIN_NS;
        kitsune__helper_tell_progress(helper, flight->client, control, "rehearsing");
    }
    if (helper->clients[flight->client].closing &&
        kitsune__helper_end_rehearsal(control, KITSUNE__IDLE)) {
        end_flight(helper, flight);
    } else if (control->copy > 0 && is_copy_gone(control->copy) &&
               kitsune__tree_owner(control) && /* it ends with its program, which is told of */
               kitsune__helper_move_state(control, KITSUNE__REHEARSING, KITSUNE__DONE)) {
        if (!control->has_outcome)
            put_outcome(control, KITSUNE__COPY_ENDED,
                        "the copy of the process was killed, or ended by itself");
        finish_flight(helper, flight);
    } else if (now >= flight->until && kitsune__helper_end_rehearsal(control, KITSUNE__DONE)) {
        put_outcome(control, KITSUNE__TIME_LIMIT, "the copy of the process did not end in time");
        finish_flight(helper, flight);
    }
}

/* The process is gone: whoever waits is told. */
void kitsune__helper_fail_flight(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    int was_taken = control->state == KITSUNE__TAKEN;

    end_flight(helper, flight);
    kitsune__helper_refuse(helper, flight->client, control, "error", KITSUNE__PROGRAM_ENDED,
                           was_taken ? "the program ended during the update"
                                     : "the program ended before it reached an update point");
}

/* Non-zero if the process is gone; its place may be another's then. One that has told its outcome may go.
 * The kernel is not asked at every look. */
int kitsune__helper_has_ended(struct flight *flight, uint64_t now) {
    if (flight->control->owner != flight->owner)
        return 1;
    if (now < flight->next_look || flight->control->state == KITSUNE__DONE)
        return 0;
    flight->next_look = now + ORPHAN_NS;
    return !kitsune__tree_owner(flight->control);
}

/* Looks how far the update is; called often while there is one. */
static void follow_flight(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    uint32_t state = control->state;
    uint64_t now = kitsune__now_ns();

    if (control != helper->speaker &&
        kitsune__helper_has_ended(flight, now)) { /* its end is noticed by itself */
        kitsune__helper_fail_flight(helper, flight);
    } else if (control->serial != flight->serial || state == KITSUNE__IDLE) {
        end_flight(helper, flight);
        kitsune__helper_refuse(helper, flight->client, control, "withdrawn", KITSUNE__WITHDRAWN,
                               "the program withdrew the request (kitsune_clear_request)");
    } else if (state == KITSUNE__DONE) {
        finish_flight(helper, flight);
    } else if (state == KITSUNE__REHEARSING) {
        follow_rehearsal(helper, flight, now);
    } else if (state == KITSUNE__PENDING && helper->clients[flight->client].closing &&
               kitsune__helper_withdraw(control, KITSUNE__NOT_REACHED,
                                        "the client that asked went away")) {
        end_flight(helper, flight);
    } else if (state == KITSUNE__PENDING && now >= flight->until) {
        end_waiting(helper, flight, now);
    } else if (state == KITSUNE__PENDING && now >= flight->next_kick) {
        kitsune__helper_kick_again(flight, now);
    }
}

void kitsune__helper_follow_flights(struct helper *helper) {
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == ALONE)
            follow_flight(helper, &helper->flights[i]);
}

/* The release passed all checks: the program is asked. */
static void ask_program(struct helper *helper, int index, struct kitsune__control *control,
                        int copy, uint64_t wait_ms) {
    uint64_t now = kitsune__now_ns();
    struct flight *flight = flight_of(helper, control);

    kitsune__helper_tell_progress(helper, index, control, "checked");
    *flight = (struct flight){.control = control,
                              .client = index,
                              .copy = copy,
                              .fetcher = -1,
                              .owner = control->owner,
                              .serial = control->serial,
                              .started = now,
                              .until = now + wait_ms * 1000000u,
                              .kick_wait = FIRST_KICK_NS,
                              .wait_ms = wait_ms};
    helper->flight_count++;
    helper->clients[index].is_waiting = 1;
    kitsune__helper_reach(helper, flight);
    control->state = KITSUNE__PENDING;
    kitsune__helper_kick_again(flight, now);
    kitsune__helper_tell_progress(helper, index, control, "requested");
}

static void answer_already_running(struct helper *helper, int index,
                                   const struct kitsune__control *control) {
    kitsune__answer_begin(&helper->answer, "done");
    kitsune__answer_text(&helper->answer, "outcome", "already-running", 64);
    kitsune__helper_put_versions(helper, control, &control->running);
    kitsune__helper_send(helper, index);
}

/* An outcome that a helper before this one waited for: nobody does. */
void kitsune__helper_drop_outcome(struct kitsune__control *control) {
    if (kitsune__helper_move_state(control, KITSUNE__DONE, KITSUNE__IDLE))
        have_copy_reaped(control); /* if it was a rehearsal, its copy has ended meanwhile */
}

/* The process, of which no flight is under way, takes no other request from here on: non-zero. */
int kitsune__helper_claim_request(struct kitsune__control *control, const struct wish *wish) {
    kitsune__helper_drop_outcome(
        control); /* one that came to its end only after this helper had started */
    if (!kitsune__helper_move_state(control, KITSUNE__IDLE, KITSUNE__CHECKING))
        return 0;
    control->serial++;
    control->origin = KITSUNE__FROM_OUTSIDE;
    control->round = wish->round;
    control->is_rehearsal = (uint32_t)wish->is_rehearsal;
    control->gave_up = 0;
    control->puts_off = 0;
    control->forks_known = KITSUNE__ANY_FORKS;
    control->limits = wish->limits;
    control->wait_ms = wish->wait_ms;
    memcpy(control->path, wish->path, strlen(wish->path) + 1);
    memset(&control->release, 0, sizeof control->release);
    memset(&control->report, 0, sizeof control->report);
    control->look = KITSUNE__LOOK_NONE;
    return 1;
}

int kitsune__helper_has_good_path(struct helper *helper, int index, const struct wish *wish) {
    if (strlen(wish->path) < PATH_MAX && wish->path[0] == '/')
        return 1;
    kitsune__helper_refuse(helper, index, helper->speaker, "error", KITSUNE__BAD_REQUEST,
                           "the release's path must be absolute and shorter than 4096 bytes");
    return 0;
}

void kitsune__helper_start_update(struct helper *helper, int index, const struct wish *wish) {
    struct kitsune__control *control = wish->control;
    struct kitsune__problem problem;
    int copy = -1;

    if (!kitsune__helper_has_good_path(helper, index, wish))
        return;
    if (flight_of(helper, control)->control || !kitsune__helper_claim_request(control, wish)) {
        kitsune__helper_refuse(helper, index, control, "busy", KITSUNE__BUSY,
                               "another update is under way");
        return;
    }
    if (kitsune__helper_is_filtered(helper, control)) {
        kitsune__helper_note_unheard(control, KITSUNE__FILTERED, FILTERED_REASON);
        kitsune__helper_refuse(helper, index, control, "refused", KITSUNE__FILTERED,
                               FILTERED_REASON);
        control->state = KITSUNE__IDLE;
        return;
    }
    switch (kitsune__check_release(wish->path, helper->user, &control->running, &control->release,
                                   &copy, &problem)) {
    case KITSUNE__RELEASE_ACCEPTED:
        ask_program(helper, index, control, copy, wish->wait_ms);
        break;
    case KITSUNE__RELEASE_IS_RUNNING:
        answer_already_running(helper, index, control);
        control->state = KITSUNE__IDLE;
        break;
    case KITSUNE__RELEASE_REFUSED:
        kitsune__helper_note_unheard(control, problem.code, problem.text);
        kitsune__helper_refuse(helper, index, control, "rejected", problem.code, problem.text);
        control->state = KITSUNE__IDLE;
        break;
    }
}
