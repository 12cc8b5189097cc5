#define _GNU_SOURCE
#include "table.h"

#include "calls.h"
#include "frames.h"
#include "log.h"
#include "quiesce.h"
#include "takeover.h"
#include "thread.h"
#include "transform.h"

static const struct kitsune_calls calls = {
#define KITSUNE__ENTRY(type, name, parameters, arguments) .name = kitsune__call_##name,
    KITSUNE_CALLS(KITSUNE__ENTRY, KITSUNE__ENTRY, KITSUNE__ENTRY)
#undef KITSUNE__ENTRY
};

__attribute__((visibility("default"))) extern const struct kitsune_launcher kitsune_launcher_table;

const struct kitsune_launcher kitsune_launcher_table = {
    .abi = KITSUNE_ABI,
    .size = sizeof kitsune_launcher_table,
    .update = kitsune__update,
    .is_updating = kitsune__is_updating,
    .is_updating_from = kitsune__is_updating_from,
    .has_updated = kitsune__has_updated,
    .update_requested = kitsune__update_requested,
    .signal_update = kitsune__signal_update,
    .set_next_version = kitsune__set_next_version,
    .clear_request = kitsune__clear_request,
    .do_automigrate = kitsune__do_automigrate,
    .migrate = kitsune__migrate,
    .lookup_key = kitsune__lookup_key,
    .lookup_address = kitsune__lookup_address,
    .log = kitsune__logv,
    .enter = kitsune__frames_enter,
    .threads_reset = kitsune__threads_reset,
    .threads_next = kitsune__threads_next,
    .thread_remove = kitsune__thread_remove,
    .thread_add = kitsune__thread_add,
    .thread_callback = kitsune__thread_callback,
    .object = kitsune__xf_object,
    .objects = kitsune__xf_objects,
    .objects_terminated = kitsune__xf_objects_terminated,
    .plain = kitsune__xf_plain,
    .function = kitsune__xf_function,
    .word = kitsune__xf_word,
    .store = kitsune__xf_store,
    .settle = kitsune__xf_settle,
    .fail = kitsune__xf_fail,
    .engine = kitsune__engine,
    .allocate = kitsune__xf_allocate,
    .scratch = kitsune__xf_scratch,
    .calls = &calls,
};

const struct kitsune_launcher *kitsune__launcher_table(void) {
    return &kitsune_launcher_table;
}
