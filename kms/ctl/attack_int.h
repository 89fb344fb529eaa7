/* Inside attack: the state of one, and the moves that they are made of.
 *
 * A move returns false when the attack cannot go on, having called
 * attack_broke (the lab did not do what it should) or attack_won. */
#ifndef KMS_CTL_ATTACK_INT_H
#define KMS_CTL_ATTACK_INT_H

#include "kms/ctl/attack.h"
#include "kms/ctl/lab_probe.h"

#define ATTACK_SOON_MS 30000 /* what takes a second or two, on a busy machine */
#define ATTACK_LATE_MS 90000 /* what waits for the chain */
#define ATTACK_ASK_MS 8000

struct attack {
	const struct ctl *c;
	struct lab *l;
	struct contract k;
	struct probe *probe;
	struct lab_node copy[ATTACK_NODES]; /* second processes of slots */
	unsigned n_copies;
	uint64_t acked; /* the counter's value that a client was told last */
	/* What came of it. */
	enum attack_outcome {
		ATTACK_REFUSED,
		ATTACK_SUCCEEDED,
		ATTACK_BROKEN
	} outcome;
	char trouble[256];
	json_t *refusals; /* {by, reason, detail}, in their order */
	json_t *notes; /* what a reader should know besides */
};

/* ---- attack.c ---- */
void attack_say(struct attack *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Something that the caller should know in the end, too. */
void attack_note(struct attack *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool attack_broke(struct attack *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool attack_won(struct attack *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void attack_refused(
    struct attack *a, const char *by, const char *reason, const char *detail);

/* ---- attack_lab.c: processes and disks ---- */
/* One that could answer: it is there, and not frozen. */
bool attack_runs(struct attack *a, const struct lab_node *n);
bool attack_start(struct attack *a, const struct lab_node *n);
bool attack_kill(struct attack *a, const struct lab_node *n);
bool attack_kill_all(struct attack *a);
bool attack_start_all(struct attack *a);
/* SIGSTOP: returns once nothing of it runs. */
bool attack_freeze(struct attack *a, const char *name);
bool attack_thaw(struct attack *a, const char *name);
/* attack_take copies a node's disk (a running one is frozen for it), and
 * attack_put gives a node that does not run the copy of another one's. */
bool attack_take(struct attack *a, const struct lab_node *n, const char *tag);
bool attack_put(struct attack *a, const struct lab_node *to,
    const struct lab_node *from, const char *tag);
/* attack_mix gives it a file with pages of both copies. */
bool attack_mix(struct attack *a, const struct lab_node *n, const char *newer,
    const char *older);
/* attack_copy prepares a second process for the slot of `n`, with ports of
 * its own, on `host`; its peers are the others' copies if `strangers`, else
 * the lab's nodes.  NULL on failure. */
struct attack_copy_wishes {
	const char *host;
	bool genesis, strangers;
};
const struct lab_node *attack_copy(struct attack *a, const struct lab_node *n,
    const struct attack_copy_wishes *w);
/* attack_whole ends all copies, has the nodes as `sim up` would, and waits
 * until they are ready and agree. */
bool attack_whole(struct attack *a);

/* ---- attack_look.c: what nodes say ---- */
json_t *attack_page(const struct lab_node *n); /* NULL: no answer */
/* "cluster.waiting.reason": "" and 0 if it is not there. */
const char *attack_text(const json_t *page, const char *path);
uint64_t attack_number(const json_t *page, const char *path);
bool attack_true(const json_t *page, const char *path);
bool attack_await_text(struct attack *a, const struct lab_node *n,
    const char *path, const char *want, uint64_t ms);
bool attack_await_number(struct attack *a, const struct lab_node *n,
    const char *path, uint64_t at_least, uint64_t ms);
/* attack_await_refused waits until a node waits for `reason`, and records
 * its words. */
bool attack_await_refused(
    struct attack *a, const struct lab_node *n, const char *reason);
/* The same of what the leader says about a process that knocks. */
bool attack_await_outside(
    struct attack *a, const struct lab_node *who, const char *reason);
/* All listed nodes that run look for a leader; the one with the newest log. */
bool attack_await_joining(struct attack *a, const struct lab_node *n);
const struct lab_node *attack_best(struct attack *a);
/* The end of a node's log, and a line behind it that has `needle`. */
long attack_log_end(struct attack *a, const struct lab_node *n);
bool attack_await_log(struct attack *a, const struct lab_node *n, long from,
    const char *needle, char *line, size_t line_cap, uint64_t ms);
bool attack_log_has(
    const char *path, long from, const char *needle, char *line, size_t cap);
/* attack_await_stale waits until no quorum stands behind a node any more. */
bool attack_await_stale(struct attack *a, const struct lab_node *n);
const struct lab_node *attack_leader(struct attack *a);
/* One that is not the leader: the first, or the second. */
const struct lab_node *attack_follower(struct attack *a, unsigned which);

/* ---- attack_state.c: counter, keys, chain ---- */
/* Clients count on by `n`; each step is acknowledged. */
bool attack_grow(struct attack *a, unsigned n);
/* The counter as the cluster has it now. */
bool attack_read(struct attack *a, uint64_t *value, uint64_t *generation);
/* Nobody may get an answer from this node: keys and counter are refused. */
bool attack_silent(struct attack *a, const struct lab_node *n);
/* All nodes have one state, and the counter is what was acknowledged. */
bool attack_agree(struct attack *a);
bool attack_checkpoint(struct attack *a);
bool attack_name(struct attack *a, const struct lab_node *n, bool lossy);
bool attack_clear_order(struct attack *a);
bool attack_anchor(struct attack *a, struct anchor_state *out);
/* attack_reopen: the operators name `n`, and all are ready in the end. */
bool attack_reopen(struct attack *a, const struct lab_node *n);

/* ---- the attacks ---- */
bool attack_one_disk_back(struct attack *a); /* attack_disk.c */
bool attack_all_disks_back(struct attack *a);
bool attack_newest_off(struct attack *a);
bool attack_stale_snapshot(struct attack *a);
bool attack_forgotten_vote(struct attack *a);
bool attack_fork_running(struct attack *a); /* attack_join.c */
bool attack_replayed_messages(struct attack *a);
bool attack_second_genesis(struct attack *a);
bool attack_wrong_slot(struct attack *a);
bool attack_two_cold_starts(struct attack *a); /* attack_cold.c */
bool attack_while_alive(struct attack *a);
bool attack_while_cut_off(struct attack *a);
bool attack_not_best(struct attack *a);
bool attack_too_few(struct attack *a);

#endif
