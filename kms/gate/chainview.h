/* chainview: the one block at which a key service reads the chain now.
 *
 * m of n endpoints must name the same block.  m is more than half of n, so two
 * answers cannot both win.  What a quorum says is still checked: the chain id,
 * the age of the block against our clock, and that the view never goes back.
 *
 * Calls at it: in mode quorum m endpoints must give the same answer; in mode
 * proof no endpoint is asked for one.  The header is recomputed from its
 * fields, and the contract is executed here over state that is proven to it
 * (witness.h).
 *
 * Thread-safe; calls block for at most four timeouts.  Every refusal of a
 * view is ERR_AGAIN with one of the CHAIN_ reasons: fail closed, try later. */
#ifndef KMS_GATE_CHAINVIEW_H
#define KMS_GATE_CHAINVIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

struct chainview; /* opaque */
struct witness;

enum chain_tag {
	CHAIN_FINALIZED,
	CHAIN_SAFE,
	CHAIN_LATEST, /* minus options.depth */
};

struct chainview_options {
	const char *const *urls; /* copied */
	unsigned n;
	unsigned quorum; /* m: n / 2 < m <= n */
	uint64_t chain_id;
	enum chain_tag tag;
	uint64_t depth; /* blocks below the latest, with CHAIN_LATEST */
	unsigned max_age_s; /* of the block, by its own timestamp */
	unsigned max_ahead_s; /* and this far ahead of our clock; 0: 60 */
	unsigned poll_ms; /* how long a view is used before we look again */
	unsigned timeout_ms; /* of one request */
	bool proof; /* calls are executed here over proven state */
	uint64_t (*mono_ms)(void); /* clock_mono_ms, or a test's */
};

struct chain_block {
	uint64_t number;
	uint64_t timestamp; /* unix seconds */
	uint8_t hash[32];
};

/* The highest block that a view may not fall below. */
struct chain_floor {
	uint64_t number;
	bool has_hash; /* `hash` is that of block `number` */
	uint8_t hash[32];
};

/* ERR_CONFIG: an option is out of the ranges above, or a URL is not http
 * or https, or is there twice.  The caller owns `*out`. */
enum err chainview_new(
    struct chainview **out, const struct chainview_options *o);
/* No other thread may be inside any call then; NULL is fine. */
void chainview_free(struct chainview *v);

/* chainview_get returns the current block.  One thread looks at the chain,
 * the others wait for what it finds; a failure is everybody's answer for
 * up to a second.  `now` is unix seconds.
 *
 * ERR_AGAIN: CHAIN_UNREACHABLE  fewer than m endpoints answered
 *            CHAIN_WRONG        too many serve another chain
 *            CHAIN_DISAGREE     no m of them name the same block
 *            CHAIN_STALE        the block is too old (by chainview_now), or
 *                               too far ahead of our clock
 *            CHAIN_BACKWARDS    below the floor, another block at its
 *                               height, or (finalized) not its descendant */
enum err chainview_get(struct chainview *v, int64_t now,
    struct chain_block *out, struct refusal *why);

/* Gas of one call: plenty for a policy, little work for an endpoint, and
 * the same everywhere, so that a contract that counts its gas cannot give
 * two endpoints two answers. */
#define CHAINVIEW_CALL_GAS 10000000u

/* chainview_call replaces `out` by what the contract returns at `at`.
 *
 * ERR_DENIED: m endpoints agree, or the execution shows, that there is no such
 *             answer: CONTRACT_OTHER (reverted or ran out of gas; the detail
 *             is one endpoint's text), CHAIN_ANSWER (over `max` bytes)
 * ERR_AGAIN:  CHAIN_UNREACHABLE, CHAIN_DISAGREE, CHAIN_PROOF */
enum err chainview_call(struct chainview *v, const struct chain_block *at,
    const uint8_t to[static 20], struct bytes calldata, size_t max,
    struct buf *out, struct refusal *why);

/* The same.  `odd` lists the endpoints whose answer was not the one that is
 * used, "" if there are none; of ERR_AGAIN it says nothing.  Not for contracts
 * of strangers: those can give two honest endpoints two answers. */
#define CHAINVIEW_ODD 160
/* In mode proof there is no such list: endpoints_odd names liars. */
enum err chainview_call_noting(struct chainview *v,
    const struct chain_block *at, const uint8_t to[static 20],
    struct bytes calldata, size_t max, struct buf *out,
    char odd[static CHAINVIEW_ODD], struct refusal *why);

/* The proven state behind the view; NULL in mode quorum.  Lives as long. */
struct witness *chainview_witness(struct chainview *v);

/* What each endpoint said that cannot be so: see endpoints.h. */
struct endpoint_count;
unsigned chainview_endpoint_counts(
    struct chainview *v, struct endpoint_count *out);

/* chainview_now: unix seconds by the clock that is later: the caller's wall
 * clock, or what that was when a block was accepted and the monotonic clock
 * since.  A wall clock that is set back does not make an old block young.
 * (One that was ahead, by less than max_age_s or no block was accepted then,
 * makes blocks look older by that much until the process ends.) */
int64_t chainview_now(struct chainview *v, int64_t now);

/* The floor is the highest block ever returned or set; the caller keeps it
 * where a restart cannot lose it.  Setting it lower does nothing. */
void chainview_floor(struct chainview *v, struct chain_floor *out);
void chainview_set_floor(struct chainview *v, const struct chain_floor *f);

#endif
