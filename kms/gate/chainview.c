/* chainview: the pinned block, when to look again, and calls at it. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "kms/gate/chainhead.h"
#include "kms/gate/chainview.h"
#include "kms/gate/endpoints.h"
#include "kms/gate/witness.h"

/* Clocks of validators and of this machine may differ by this much. */
#define AHEAD_MAX_S 60
/* A failed look is not repeated at once by each of many callers. */
#define RETRY_MS 1000u
/* JSON around the data of an answer; errors carry text as well. */
#define REPLY_EXTRA 4096u

struct chainview {
	struct endpoints *es; /* owns */
	struct witness *witness; /* owns; NULL in mode quorum */
	struct chainhead_rules rules; /* floor is under the lock */
	unsigned max_age_s, max_ahead_s;
	unsigned poll_ms;
	uint64_t (*mono_ms)(void);

	pthread_mutex_t lock; /* for all below, and never held in a call */
	pthread_cond_t looked;
	bool looking; /* one thread is asking the endpoints */
	uint64_t looks; /* finished ones */
	bool have; /* the last look succeeded: `pinned` */
	bool failed; /* the last look failed: `why` */
	uint64_t looked_ms; /* when the last look began */
	bool has_offset; /* a block was accepted: */
	int64_t offset_ms; /* how far wall was ahead of mono then, at most */
	struct chain_block pinned;
	struct refusal why;
};

static bool
options_good(const struct chainview_options *o)
{
	return o->quorum >= 1 && o->quorum <= o->n && 2 * o->quorum > o->n &&
	    o->chain_id != 0 && o->max_age_s > 0 && o->poll_ms > 0 &&
	    o->mono_ms != NULL && (unsigned)o->tag <= CHAIN_LATEST &&
	    (o->depth == 0 || o->tag == CHAIN_LATEST);
}

enum err
chainview_new(struct chainview **out, const struct chainview_options *o)
{
	struct chainview *v = NULL;
	enum err e;

	if (!options_good(o))
		return ERR_CONFIG;
	if ((v = calloc(1, sizeof *v)) == NULL)
		return ERR_NOMEM;
	e = endpoints_new(&v->es, o->urls, o->n, o->timeout_ms, o->mono_ms);
	if (e == ERR_OK && o->proof)
		e = witness_new(&v->witness, v->es, o->chain_id);
	if (e != ERR_OK) {
		endpoints_free(v->es);
		free(v);
		return e;
	}
	v->rules = (struct chainhead_rules){
		.quorum = o->quorum,
		.chain_id = o->chain_id,
		.tag = o->tag,
		.depth = o->depth,
	};
	v->max_age_s = o->max_age_s;
	v->max_ahead_s = o->max_ahead_s != 0 ? o->max_ahead_s : AHEAD_MAX_S;
	v->poll_ms = o->poll_ms;
	v->mono_ms = o->mono_ms;
	(void)pthread_mutex_init(&v->lock, NULL);
	(void)pthread_cond_init(&v->looked, NULL);
	*out = v;
	return ERR_OK;
}

void
chainview_free(struct chainview *v)
{
	if (v == NULL)
		return;
	(void)pthread_cond_destroy(&v->looked);
	(void)pthread_mutex_destroy(&v->lock);
	witness_free(v->witness);
	endpoints_free(v->es);
	free(v);
}

/* Beyond any real clock, within any arithmetic done here. */
#define WALL_MAX_S (INT64_MAX / 4000)

/* Under the lock.  Either clock may be wrong, and hosts can set one: the later
 * one counts. */
static int64_t
later_clock(const struct chainview *v, int64_t now)
{
	int64_t by_mono =
	    ((int64_t)(v->mono_ms() & INT64_MAX / 2) + v->offset_ms) / 1000;

	return v->has_offset && by_mono > now ? by_mono : now;
}

/* Under the lock: a block was accepted at `now`. */
static void
note_clocks(struct chainview *v, int64_t now)
{
	int64_t ms = 1000 * now - (int64_t)(v->mono_ms() & INT64_MAX / 2);

	if (now > WALL_MAX_S || (v->has_offset && ms <= v->offset_ms))
		return;
	v->has_offset = true;
	v->offset_ms = ms;
}

int64_t
chainview_now(struct chainview *v, int64_t now)
{
	(void)pthread_mutex_lock(&v->lock);
	now = later_clock(v, now);
	(void)pthread_mutex_unlock(&v->lock);
	return now;
}

/* `now` by the wall clock, `late` by the later one. */
static enum err
check_time(const struct chainview *v, const struct chain_block *b, int64_t now,
    int64_t late, struct refusal *why)
{
	int64_t t;

	if (b->timestamp > INT64_MAX || now < 0) {
		(void)refuse(why, REASON_CHAIN_STALE, "no such time");
		return ERR_AGAIN;
	}
	t = (int64_t)b->timestamp;
	if (t > now && t - now > (int64_t)v->max_ahead_s) {
		(void)refuse(why, REASON_CHAIN_STALE,
		    "block %" PRIu64 " is %" PRId64
		    " s ahead of this clock: is the clock right?",
		    b->number, t - now);
		return ERR_AGAIN;
	}
	if (late > t && late - t > (int64_t)v->max_age_s) {
		(void)refuse(why, REASON_CHAIN_STALE,
		    "block %" PRIu64 " is %" PRId64 " s old%s", b->number,
		    late - t, late > now ? " (this clock was set back)" : "");
		return ERR_AGAIN;
	}
	return ERR_OK;
}

/* The header of a block that is new, against its hash: number and time are the
 * endpoints' word until then. */
static enum err
check_header(
    struct chainview *v, const struct chain_block *b, struct refusal *why)
{
	struct world *w;
	enum err e;

	if (v->witness == NULL)
		return ERR_OK;
	if ((e = witness_world(v->witness, &w, b, why)) == ERR_OK)
		world_unref(w);
	else if (e == ERR_NOMEM)
		(void)refuse(why, REASON_INTERNAL, "%s", err_text(e));
	return e == ERR_OK ? ERR_OK : ERR_AGAIN;
}

static enum err
look(struct chainview *v, const struct chainhead_rules *rules, int64_t now,
    struct chain_block *out, struct refusal *why)
{
	endpoint_set all = endpoints_all(v->es);
	endpoint_set set = endpoints_lively(v->es, rules->quorum);
	struct chain_block b;
	enum err e = chainhead_find(&b, v->es, set, rules, why);

	/* Before a refusal, those that were silent are heard as well. */
	if (e != ERR_OK && set != all)
		e = chainhead_find(&b, v->es, all, rules, why);
	if (e == ERR_OK)
		e = check_time(v, &b, now, chainview_now(v, now), why);
	if (e == ERR_OK)
		e = check_header(v, &b, why);
	if (e == ERR_OK)
		*out = b;
	return e;
}

/* Under the lock. */
static bool
below_floor(const struct chainview *v, const struct chain_block *b)
{
	const struct chain_floor *f = &v->rules.floor;

	return b->number < f->number ||
	    (b->number == f->number && f->has_hash &&
		memcmp(b->hash, f->hash, sizeof f->hash) != 0);
}

/* look_and_keep is entered and left with the lock held. */
static void
look_and_keep(struct chainview *v, int64_t now)
{
	struct chainhead_rules rules = v->rules;
	struct chain_block b;
	struct refusal why = { 0 };
	uint64_t began = v->mono_ms();
	enum err e;

	v->looking = true;
	(void)pthread_mutex_unlock(&v->lock);
	e = look(v, &rules, now, &b, &why);
	(void)pthread_mutex_lock(&v->lock);
	/* The floor may have risen while we looked. */
	if (e == ERR_OK && below_floor(v, &b)) {
		(void)refuse(&why, REASON_CHAIN_BACKWARDS,
		    "block %" PRIu64 " after %" PRIu64, b.number,
		    v->rules.floor.number);
		e = ERR_AGAIN;
	}
	v->have = e == ERR_OK;
	v->failed = e != ERR_OK;
	v->why = why;
	v->looked_ms = began;
	if (v->have) {
		v->pinned = b;
		note_clocks(v, now);
		v->rules.floor.number = b.number;
		v->rules.floor.has_hash = true;
		memcpy(v->rules.floor.hash, b.hash, sizeof b.hash);
	} else {
		/* Failing takes time itself: count the pause from its end. */
		v->looked_ms = v->mono_ms();
	}
	v->looking = false;
	v->looks++;
	(void)pthread_cond_broadcast(&v->looked);
}

/* Under the lock: may the last look's outcome still be used? */
static bool
outcome_usable(const struct chainview *v)
{
	uint64_t age = v->mono_ms() - v->looked_ms;

	return (v->have && age < v->poll_ms) || (v->failed && age < RETRY_MS);
}

enum err
chainview_get(struct chainview *v, int64_t now, struct chain_block *out,
    struct refusal *why)
{
	struct chain_block b;
	int64_t late;
	enum err e;

	(void)pthread_mutex_lock(&v->lock);
	while (!outcome_usable(v)) {
		uint64_t seen = v->looks;

		if (!v->looking) {
			look_and_keep(v, now);
			break;
		}
		/* Somebody asks already: share what comes, unless the floor
		 * has risen above it meanwhile. */
		while (v->looks == seen)
			(void)pthread_cond_wait(&v->looked, &v->lock);
		if (v->have || v->failed)
			break;
	}
	b = v->pinned;
	late = later_clock(v, now);
	e = v->have ? ERR_OK : ERR_AGAIN;
	if (e != ERR_OK && why != NULL)
		*why = v->why;
	(void)pthread_mutex_unlock(&v->lock);
	/* The block ages while it is pinned. */
	if (e == ERR_OK)
		e = check_time(v, &b, now, late, why);
	if (e == ERR_OK)
		*out = b;
	return e;
}

void
chainview_floor(struct chainview *v, struct chain_floor *out)
{
	(void)pthread_mutex_lock(&v->lock);
	*out = v->rules.floor;
	(void)pthread_mutex_unlock(&v->lock);
}

void
chainview_set_floor(struct chainview *v, const struct chain_floor *f)
{
	struct chain_floor *cur = &v->rules.floor;

	(void)pthread_mutex_lock(&v->lock);
	if (f->number > cur->number ||
	    (f->number == cur->number && !cur->has_hash))
		*cur = *f;
	if (v->have && below_floor(v, &v->pinned))
		v->have = false; /* and not failed: look at once */
	(void)pthread_mutex_unlock(&v->lock);
}

/* ---- calls ---- */

enum answer {
	ANSWER_NONE, /* the endpoint failed */
	ANSWER_DATA,
	ANSWER_REVERT, /* the contract failed */
	ANSWER_HUGE,
};

struct answers {
	enum answer kind[LIMIT_CHAIN_ENDPOINTS];
	struct buf data[LIMIT_CHAIN_ENDPOINTS];
	char text[LIMIT_CHAIN_ENDPOINTS]
		 [sizeof((struct rpc_reply *)0)->message];
};

static enum err
call_params(struct buf *out, const struct chain_block *at,
    const uint8_t to[static 20], struct bytes calldata)
{
	char to_hex[41], hash[65];
	char *data = malloc(2 * calldata.len + 1);
	enum err e;

	if (data == NULL)
		return ERR_NOMEM;
	hex_encode(data, calldata.p, calldata.len);
	/* EIP-1898: at this block and, if it was reorganised away, not at
	 * all. */
	e = buf_printf(out,
	    "[{\"to\":\"0x%s\",\"gas\":\"0x%x\",\"data\":\"0x%s\"},"
	    "{\"blockHash\":\"0x%s\",\"requireCanonical\":true}]",
	    hex_encode(to_hex, to, 20), CHAINVIEW_CALL_GAS, data,
	    hex_encode(hash, at->hash, sizeof at->hash));
	free(data);
	return e;
}

static void
take_answer(
    struct answers *a, unsigned i, const struct rpc_reply *r, size_t max)
{
	enum err e = r->err;

	if (e == ERR_OK)
		e = rpc_data(&a->data[i], max, r->result);
	if (e == ERR_OK)
		a->kind[i] = ANSWER_DATA;
	else if (e == ERR_LIMIT)
		a->kind[i] = ANSWER_HUGE;
	else if (rpc_failed_in_evm(r))
		a->kind[i] = ANSWER_REVERT;
	(void)snprintf(a->text[i], sizeof a->text[i], "%s",
	    r->err == ERR_OK && e != ERR_OK ? err_text(e) : r->message);
}

static void
ask_calls(struct chainview *v, struct answers *a, endpoint_set set,
    const char *params, size_t max)
{
	struct endpoint_ask ask[LIMIT_CHAIN_ENDPOINTS];
	struct rpc_reply reply[LIMIT_CHAIN_ENDPOINTS];
	size_t n = 0;

	for (unsigned i = 0; i < endpoints_count(v->es); i++)
		if ((set >> i & 1) != 0)
			ask[n++] = (struct endpoint_ask){ i, "eth_call", params,
				2 * max + REPLY_EXTRA };
	endpoints_ask(v->es, reply, ask, n);
	for (size_t k = 0; k < n; k++) {
		take_answer(a, ask[k].endpoint, &reply[k], max);
		rpc_reply_fini(&reply[k]);
	}
}

static bool
same_answer(const struct answers *a, unsigned i, unsigned j)
{
	if (a->kind[i] != a->kind[j])
		return false;
	/* Texts of a revert differ between clients and are not compared. */
	return a->kind[i] != ANSWER_DATA ||
	    (a->data[i].len == a->data[j].len &&
		memcmp(a->data[i].p, a->data[j].p, a->data[i].len) == 0);
}

static enum err
use_answer(struct answers *a, unsigned i, struct buf *out, size_t max,
    struct refusal *why)
{
	switch (a->kind[i]) {
	case ANSWER_DATA:
		buf_fini(out);
		*out = a->data[i]; /* transferred */
		a->data[i] = (struct buf){ 0 };
		return ERR_OK;
	case ANSWER_REVERT:
		return refuse(
		    why, REASON_CONTRACT_OTHER, "call failed: %s", a->text[i]);
	case ANSWER_HUGE:
		return refuse(why, REASON_CHAIN_ANSWER,
		    "answer of more than %zu bytes", max);
	case ANSWER_NONE:
		break;
	}
	return refuse(why, REASON_INTERNAL, "no answer to use");
}

static const char *const words[] = { [ANSWER_DATA] = "data",
	[ANSWER_REVERT] = "revert",
	[ANSWER_HUGE] = "huge" };

/* Those who answered, and not as endpoint i did: named to the caller, and
 * counted. */
static void
list_odd(char odd[static CHAINVIEW_ODD], const struct chainview *v,
    const struct answers *a, unsigned i)
{
	struct endpoint_notes notes = { 0 };

	static_assert(sizeof notes.text == CHAINVIEW_ODD, "chainview.h");
	for (unsigned j = 0; j < endpoints_count(v->es); j++)
		if (a->kind[j] != ANSWER_NONE && !same_answer(a, i, j)) {
			endpoints_note(&notes, v->es, j, words[a->kind[j]]);
			endpoints_odd(
			    v->es, j, ENDPOINT_ODD_ANSWER, words[a->kind[j]]);
		}
	memcpy(odd, notes.text, CHAINVIEW_ODD);
}

/* judge finds the answer that m endpoints gave. */
static enum err
judge(struct chainview *v, struct answers *a, struct buf *out, size_t max,
    char odd[static CHAINVIEW_ODD], struct refusal *why)
{
	unsigned n = endpoints_count(v->es), answered = 0;
	struct endpoint_notes notes = { 0 };

	for (unsigned i = 0; i < n; i++) {
		unsigned same = 0;

		if (a->kind[i] == ANSWER_NONE) {
			if (a->text[i][0] != '\0')
				endpoints_note(&notes, v->es, i, a->text[i]);
			continue;
		}
		for (unsigned j = 0; j < n; j++)
			same += same_answer(a, i, j);
		if (same >= v->rules.quorum) {
			list_odd(odd, v, a, i);
			return use_answer(a, i, out, max, why);
		}
		answered++;
		endpoints_note(&notes, v->es, i, words[a->kind[i]]);
	}
	(void)refuse(why,
	    answered >= v->rules.quorum ? REASON_CHAIN_DISAGREE
					: REASON_CHAIN_UNREACHABLE,
	    "call: %s", notes.text);
	return ERR_AGAIN;
}

static enum err
call_proven(struct chainview *v, const struct chain_block *at,
    const uint8_t to[static 20], struct bytes calldata, size_t max,
    struct buf *out, struct refusal *why)
{
	struct witness_call c = {
		.data = calldata, .gas = CHAINVIEW_CALL_GAS, .max = max
	};

	memcpy(c.to, to, sizeof c.to);
	return witness_call(v->witness, at, &c, out, why);
}

struct witness *
chainview_witness(struct chainview *v)
{
	return v->witness;
}

unsigned
chainview_endpoint_counts(struct chainview *v, struct endpoint_count *out)
{
	return endpoints_counts(out, v->es);
}

enum err
chainview_call_noting(struct chainview *v, const struct chain_block *at,
    const uint8_t to[static 20], struct bytes calldata, size_t max,
    struct buf *out, char odd[static CHAINVIEW_ODD], struct refusal *why)
{
	endpoint_set all = endpoints_all(v->es);
	endpoint_set set = endpoints_lively(v->es, v->rules.quorum);
	struct buf params = { 0 };
	struct answers a = { 0 };
	enum err e;

	if (v->witness != NULL) {
		odd[0] = '\0';
		return call_proven(v, at, to, calldata, max, out, why);
	}
	if ((e = call_params(&params, at, to, calldata)) != ERR_OK)
		goto done;
	ask_calls(v, &a, set, (char *)params.p, max);
	e = judge(v, &a, out, max, odd, why);
	if (e == ERR_AGAIN && set != all) {
		ask_calls(v, &a, all & ~set, (char *)params.p, max);
		e = judge(v, &a, out, max, odd, why);
	}
done:
	for (unsigned i = 0; i < LIMIT_CHAIN_ENDPOINTS; i++)
		buf_fini(&a.data[i]);
	buf_fini(&params);
	return e;
}

enum err
chainview_call(struct chainview *v, const struct chain_block *at,
    const uint8_t to[static 20], struct bytes calldata, size_t max,
    struct buf *out, struct refusal *why)
{
	char odd[CHAINVIEW_ODD];

	return chainview_call_noting(v, at, to, calldata, max, out, odd, why);
}
