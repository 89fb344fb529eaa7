#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "kms/gate/witness.h"

/* Code of all contracts that are asked, across blocks. */
#define CODE_BYTES_MAX (16u << 20)
/* What one call may read: a policy needs a dozen slots, our own registries some
 * hundred; 256 KiB of kmsInfo, which is asked for by its size, need 8,192, and
 * the gas ends before. */
#define ACCOUNTS_MAX 64u
#define SLOTS_MAX 1024u
#define SLOTS_LARGE_MAX 5000u
/* Runs of one call.  With a hint two or three are enough; without one, each
 * slot whose place is read from another needs its own. */
#define RUNS_MAX 48u
#define WANTS_MAX (ACCOUNTS_MAX + SLOTS_LARGE_MAX / STATEASK_SLOTS + 1u)
/* An access list of as many entries as we would use, in JSON. */
#define HINT_REPLY (512u * 1024)
/* What a call returns is no longer than what the gas pays for; how much of it is
 * an answer is asked afterwards. */
#define RETURN_MAX (16u << 20)
/* The first guess of how far a sequence of slots goes on. */
#define AHEAD_FIRST 8u

struct witness {
	struct stateask ask;
	struct codes *codes; /* owns */

	pthread_mutex_t lock;
	struct world *world; /* a reference; of the newest block, or NULL */
};

enum err
witness_new(struct witness **out, struct endpoints *es, uint64_t chain_id)
{
	struct witness *w = calloc(1, sizeof *w);

	if (w == NULL)
		return ERR_NOMEM;
	if ((w->codes = codes_new(CODE_BYTES_MAX)) == NULL) {
		free(w);
		return ERR_NOMEM;
	}
	w->ask.es = es;
	w->ask.codes = w->codes;
	w->ask.chain_id = chain_id;
	(void)pthread_mutex_init(&w->lock, NULL);
	*out = w;
	return ERR_OK;
}

void
witness_free(struct witness *w)
{
	if (w == NULL)
		return;
	world_unref(w->world);
	codes_free(w->codes);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

/* ---- worlds ---- */

/* Number and time were verified with the header: a block of the same hash that
 * is said to have others is another one, and will not verify. */
static bool
same_block(const struct chain_block *a, const struct chain_block *b)
{
	return a->number == b->number && a->timestamp == b->timestamp &&
	    memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

/* Under the lock.  A world that grew too large is left to those who use it. */
static struct world *
kept(const struct witness *w, const struct chain_block *at)
{
	if (w->world == NULL || world_full(w->world) ||
	    !same_block(world_block(w->world), at))
		return NULL;
	return world_ref(w->world);
}

/* The newer block's world is kept; one for an older block is the caller's
 * alone. */
static void
keep(struct witness *w, struct world *world)
{
	struct world *old = NULL;

	(void)pthread_mutex_lock(&w->lock);
	if (w->world == NULL || world_full(w->world) ||
	    world_block(w->world)->number < world_block(world)->number) {
		old = w->world;
		w->world = world_ref(world);
	}
	(void)pthread_mutex_unlock(&w->lock);
	world_unref(old);
}

enum err
witness_world(struct witness *w, struct world **out,
    const struct chain_block *at, struct refusal *why)
{
	struct world *world;
	enum err e;

	(void)pthread_mutex_lock(&w->lock);
	world = kept(w, at);
	(void)pthread_mutex_unlock(&w->lock);
	if (world == NULL) {
		if ((world = world_new(at, w->codes)) == NULL)
			return ERR_NOMEM;
		e = stateask_fetch(&w->ask, world, NULL, 0, why);
		if (e != ERR_OK) {
			world_unref(world);
			return e;
		}
		keep(w, world);
	}
	*out = world;
	return ERR_OK;
}

enum err
witness_fetch(struct witness *w, struct world *world,
    const struct stateask_want *want, size_t n, struct refusal *why)
{
	return stateask_fetch(&w->ask, world, want, n, why);
}

/* ---- what a run reads ---- */

static enum err
on_account(
    void *cookie, struct evm_account *out, const uint8_t address[static 20])
{
	struct stateproof_account a;
	enum err e = world_account(cookie, &a, address);

	if (e != ERR_OK)
		return e;
	*out = (struct evm_account){ .exists = a.exists, .nonce = a.nonce };
	memcpy(out->balance, a.balance, sizeof out->balance);
	memcpy(out->code_hash, a.code_hash, sizeof out->code_hash);
	return ERR_OK;
}

static enum err
on_code(void *cookie, struct bytes *out, const uint8_t address[static 20])
{
	return world_code(cookie, out, address);
}

static enum err
on_storage(void *cookie, uint8_t out[static 32],
    const uint8_t address[static 20], const uint8_t slot[static 32])
{
	struct stateproof_account a;
	enum err e = world_account(cookie, &a, address);

	if (e != ERR_OK)
		return e;
	/* Nothing to ask for where nothing is. */
	if (memcmp(a.storage_root, mpt_empty_root, 32) == 0) {
		memset(out, 0, 32);
		return ERR_OK;
	}
	return world_slot(cookie, out, address, slot);
}

/* ---- one call ---- */

struct job {
	struct witness *w;
	struct world *world; /* holds */
	const struct witness_call *c;
	unsigned accounts, slots, slots_max; /* asked for so far */
	struct stateask_want *want; /* owns: WANTS_MAX */
	size_t n;
	bool over; /* it reads more than a call may */
	/* The slot behind the last ones that were fetched in a row. */
	uint8_t next[32];
	unsigned row;
};

static struct stateask_want *
add_want(struct job *j, const uint8_t address[static 20])
{
	struct stateask_want *want = j->n > 0 ? &j->want[j->n - 1] : NULL;

	if (want != NULL && memcmp(want->address, address, 20) == 0 &&
	    want->n_slots < STATEASK_SLOTS)
		return want;
	if (j->n == WANTS_MAX) {
		j->over = true;
		return NULL;
	}
	want = &j->want[j->n++];
	memcpy(want->address, address, 20);
	want->code = false;
	want->n_slots = 0;
	return want;
}

static void
add_account(struct job *j, const uint8_t address[static 20])
{
	struct stateask_want *want;

	if (++j->accounts > ACCOUNTS_MAX)
		j->over = true;
	else if ((want = add_want(j, address)) != NULL)
		want->code = true;
}

static void
add_slot(struct job *j, const uint8_t address[static 20],
    const uint8_t slot[static 32])
{
	struct stateask_want *want;

	if (++j->slots > j->slots_max)
		j->over = true;
	else if ((want = add_want(j, address)) != NULL)
		memcpy(want->slot[want->n_slots++], slot, 32);
}

/* ERR_LIMIT at the end of numbers. */
static enum err
increment(uint8_t slot[static 32])
{
	for (unsigned i = 32; i-- > 0;)
		if (++slot[i] != 0)
			return ERR_OK;
	return ERR_LIMIT;
}

/* Long bytes lie in slots in a row: once a second one is asked for, some more
 * are, then twice as many. */
static void
add_slots_from(struct job *j, const struct evm_missing *m)
{
	uint8_t slot[32];
	unsigned n = 1;

	if (j->row > 0 && memcmp(j->next, m->slot, sizeof j->next) == 0)
		n = j->row < AHEAD_FIRST ? AHEAD_FIRST : 2 * j->row;
	if (n > STATEASK_SLOTS)
		n = STATEASK_SLOTS;
	if (j->slots < j->slots_max && n > j->slots_max - j->slots)
		n = j->slots_max - j->slots;
	memcpy(slot, m->slot, sizeof slot);
	j->row = 0;
	while (j->row < n) {
		add_slot(j, m->address, slot);
		j->row++;
		if (increment(slot) != ERR_OK)
			break;
	}
	memcpy(j->next, slot, sizeof j->next);
}

static void
add_missing(struct job *j, const struct evm_missing *m)
{
	switch (m->what) {
	case EVM_MISSING_ACCOUNT:
	case EVM_MISSING_CODE:
		add_account(j, m->address);
		break;
	case EVM_MISSING_SLOT:
		add_slots_from(j, m);
		break;
	}
}

static enum err
hint_params(struct buf *out, const struct job *j)
{
	char to[41], hash[65];
	char *data = malloc(2 * j->c->data.len + 1);
	enum err e;

	if (data == NULL)
		return ERR_NOMEM;
	hex_encode(data, j->c->data.p, j->c->data.len);
	e = buf_printf(out,
	    "[{\"to\":\"0x%s\",\"gas\":\"0x%llx\",\"data\":\"0x%s\"},"
	    "{\"blockHash\":\"0x%s\",\"requireCanonical\":true}]",
	    hex_encode(to, j->c->to, 20), (unsigned long long)j->c->gas, data,
	    hex_encode(hash, world_block(j->world)->hash, 32));
	free(data);
	return e;
}

static void
take_hint(struct job *j, const json_t *list)
{
	uint8_t address[20], slot[32];

	for (size_t i = 0; i < json_array_size(list) && !j->over; i++) {
		const json_t *one = json_array_get(list, i);
		const json_t *keys = json_object_get(one, "storageKeys");

		if (rpc_fixed(address, 20, json_object_get(one, "address")) !=
		    ERR_OK)
			return;
		add_account(j, address);
		for (size_t k = 0; k < json_array_size(keys); k++)
			if (rpc_fixed(slot, 32, json_array_get(keys, k)) ==
			    ERR_OK)
				add_slot(j, address, slot);
	}
}

/* hint asks one endpoint what the call will touch, so that all of it can be
 * fetched in one round.  Nothing rests on the answer: what is missing is asked
 * for later, what is too much is only work, and counted. */
static void
hint(struct job *j)
{
	struct endpoint_ask ea = { .endpoint = atomic_load(&j->w->ask.first),
		.method = "eth_createAccessList",
		.max_reply = HINT_REPLY };
	struct buf params = { 0 };
	struct rpc_reply r;

	if (hint_params(&params, j) == ERR_OK) {
		ea.params = (const char *)params.p;
		endpoints_ask(j->w->ask.es, &r, &ea, 1);
		if (r.err == ERR_OK)
			take_hint(j, json_object_get(r.result, "accessList"));
		rpc_reply_fini(&r);
	}
	buf_fini(&params);
	/* A lie may ask for too much; the call itself has not, and must find
	 * all that it may read left. */
	if (j->over || j->n == WANTS_MAX)
		j->n = 0;
	j->over = false;
	j->accounts = 0;
	j->slots = 0;
}

static enum err
reverted(struct refusal *why, struct bytes data)
{
	static const uint8_t error_string[4] = { 0x08, 0xc3, 0x79, 0xa0 };
	struct bytes m;
	char text[128] = "";

	if (data.len >= 4 && memcmp(data.p, error_string, 4) == 0 &&
	    abi_get_dynamic(
		&m, 1, (struct bytes){ data.p + 4, data.len - 4 }) == ERR_OK)
		abi_text(text, sizeof text, m);
	return refuse(why, REASON_CONTRACT_OTHER, "call failed: reverted%s%s",
	    text[0] != '\0' ? ": " : "", text);
}

static enum err
run_once(enum evm_outcome *outcome, struct job *j, struct buf *out,
    struct evm_missing *missing, struct refusal *why)
{
	const struct evm_state state = { .cookie = j->world,
		.account = on_account,
		.code = on_code,
		.storage = on_storage };
	struct evm_call call = {
		.data = j->c->data, .gas = j->c->gas, .max_return = RETURN_MAX
	};
	struct world_header h;
	enum err e = world_header(j->world, &h);

	if (e != ERR_OK)
		return e;
	memcpy(call.to, j->c->to, sizeof call.to);
	*outcome = evm_run(out, missing, &call, &h.block, &state, NULL);
	switch (*outcome) {
	case EVM_RETURNED:
		return out->len <= j->c->max
		    ? ERR_OK
		    : refuse(why, REASON_CHAIN_ANSWER,
			  "answer of more than %zu bytes", j->c->max);
	case EVM_REVERTED:
		return reverted(why, buf_view(out));
	case EVM_FAILED:
		return refuse(why, REASON_CONTRACT_OTHER,
		    "call failed: out of gas, or a bad instruction");
	case EVM_UNSUPPORTED:
		return refuse(why, REASON_CONTRACT_OTHER,
		    "call failed: it does, or answers, what this node does "
		    "not execute");
	case EVM_NOMEM:
		return ERR_NOMEM;
	case EVM_MISSING:
		break;
	}
	return ERR_AGAIN;
}

static enum err
run(struct job *j, struct buf *out, struct refusal *why)
{
	struct evm_missing missing;
	enum evm_outcome outcome;
	enum err e;

	for (unsigned i = 0; i < RUNS_MAX; i++) {
		bool guessed = false;

		e = run_once(&outcome, j, out, &missing, why);
		if (outcome != EVM_MISSING)
			return e;
		j->n = 0;
		if (i == 0) {
			hint(j);
			guessed = j->n > 0;
		}
		add_missing(j, &missing);
		if (j->over)
			break;
		e = stateask_fetch(&j->w->ask, j->world, j->want, j->n, why);
		/* Perhaps nobody can have what was guessed. */
		if (e == ERR_AGAIN && guessed) {
			j->n = 0;
			add_missing(j, &missing);
			e = stateask_fetch(
			    &j->w->ask, j->world, j->want, j->n, why);
		}
		if (e != ERR_OK)
			return e;
	}
	return refuse(why, REASON_CONTRACT_OTHER,
	    "call failed: it reads more than a call may");
}

enum err
witness_call(struct witness *w, const struct chain_block *at,
    const struct witness_call *c, struct buf *out, struct refusal *why)
{
	struct job j = { .w = w,
		.c = c,
		.slots_max =
		    c->max > LIMIT_CALL_ANSWER ? SLOTS_LARGE_MAX : SLOTS_MAX };
	struct buf answer = { 0 };
	enum err e;

	if ((e = witness_world(w, &j.world, at, why)) != ERR_OK)
		return e;
	if ((j.want = malloc(WANTS_MAX * sizeof *j.want)) == NULL)
		e = ERR_NOMEM;
	else
		e = run(&j, &answer, why);
	if (e == ERR_OK) {
		buf_fini(out);
		*out = answer; /* transferred */
		answer = (struct buf){ 0 };
	}
	buf_fini(&answer);
	free(j.want);
	world_unref(j.world);
	return e;
}
