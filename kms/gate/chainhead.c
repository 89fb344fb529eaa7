/* chainhead: two rounds of questions.
 *
 * 1. Every endpoint: its chain id, and the block that the tag names.  The
 *    height is the m-th highest of those reported: at least m endpoints
 *    have it, and fewer than m liars cannot raise it above the honest.
 * 2. Those that have reached the height: the block at it (unless round 1
 *    showed it), and the block at the floor, to see that the new block's
 *    chain still contains it. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kms/gate/chainhead.h"

#define SMALL_REPLY 4096u

enum doubt {
	DOUBT_NONE,
	DOUBT_SILENT, /* no answer, or none that parses */
	DOUBT_CHAIN, /* another chain id */
	DOUBT_FLOOR, /* another block at the floor */
};

struct voice {
	enum doubt doubt;
	uint64_t reach; /* highest block that it may be asked for */
	bool voted;
	struct chain_block block; /* its vote, once `voted` */
};

struct look {
	struct voice voice[LIMIT_CHAIN_ENDPOINTS];
	struct endpoint_ask ask[LIMIT_RPC_PARALLEL];
	struct rpc_reply reply[LIMIT_RPC_PARALLEL];
	char at_height[32]; /* params */
	char at_floor[32];
	size_t n;
	struct endpoint_notes notes;
	endpoint_set other_past;
};

static void
doubt(struct look *l, const struct endpoints *es, unsigned i, enum doubt d,
    const char *word)
{
	if (l->voice[i].doubt != DOUBT_NONE)
		return;
	l->voice[i].doubt = d;
	l->voice[i].voted = false;
	endpoints_note(&l->notes, es, i, word);
}

static void
add(struct look *l, unsigned i, const char *method, const char *params,
    size_t max)
{
	assert(l->n < LIMIT_RPC_PARALLEL);
	l->ask[l->n++] = (struct endpoint_ask){ i, method, params, max };
}

static void
add_block(struct look *l, unsigned i, const char *params)
{
	add(l, i, "eth_getBlockByNumber", params, LIMIT_RPC_BLOCK);
}

static void
params_number(char out[static 32], uint64_t number)
{
	(void)snprintf(out, 32, "[\"0x%" PRIx64 "\",false]", number);
}

static enum err
read_block(struct chain_block *out, const json_t *v)
{
	struct chain_block b;

	if (rpc_quantity(&b.number, json_object_get(v, "number")) != ERR_OK ||
	    rpc_quantity(&b.timestamp, json_object_get(v, "timestamp")) !=
		ERR_OK ||
	    rpc_fixed(b.hash, sizeof b.hash, json_object_get(v, "hash")) !=
		ERR_OK)
		return ERR_MALFORMED;
	*out = b;
	return ERR_OK;
}

/* take_block reads reply `k` as a block, or doubts the endpoint. */
static bool
take_block(struct chain_block *out, struct look *l, const struct endpoints *es,
    size_t k)
{
	const struct rpc_reply *r = &l->reply[k];
	unsigned i = l->ask[k].endpoint;

	if (r->err != ERR_OK)
		doubt(l, es, i, DOUBT_SILENT, r->message);
	else if (read_block(out, r->result) != ERR_OK)
		doubt(l, es, i, DOUBT_SILENT,
		    json_is_null(r->result) ? "no such block" : "bad block");
	return l->voice[i].doubt == DOUBT_NONE;
}

static void
end_round(struct look *l)
{
	for (size_t k = 0; k < l->n; k++)
		rpc_reply_fini(&l->reply[k]);
	l->n = 0;
}

static void
take_chain_id(struct look *l, struct endpoints *es, size_t k, uint64_t want)
{
	const struct rpc_reply *r = &l->reply[k];
	unsigned i = l->ask[k].endpoint;
	char word[48];
	uint64_t id;

	if (r->err != ERR_OK) {
		doubt(l, es, i, DOUBT_SILENT, r->message);
	} else if (rpc_quantity(&id, r->result) != ERR_OK) {
		doubt(l, es, i, DOUBT_SILENT, "bad chain id");
	} else if (id != want) {
		(void)snprintf(word, sizeof word, "chain %" PRIu64, id);
		doubt(l, es, i, DOUBT_CHAIN, word);
		endpoints_odd(es, i, ENDPOINT_ODD_CHAIN, word);
	}
}

static void
round_one(struct look *l, struct endpoints *es, endpoint_set set,
    const struct chainhead_rules *rules)
{
	static const char *const tags[] = {
		[CHAIN_FINALIZED] = "[\"finalized\",false]",
		[CHAIN_SAFE] = "[\"safe\",false]",
		[CHAIN_LATEST] = "[\"latest\",false]",
	};

	for (unsigned i = 0; i < endpoints_count(es); i++)
		if ((set >> i & 1) != 0) {
			add(l, i, "eth_chainId", "[]", SMALL_REPLY);
			add_block(l, i, tags[rules->tag]);
		}
	endpoints_ask(es, l->reply, l->ask, l->n);
	for (size_t k = 0; k < l->n; k += 2) {
		struct voice *v = &l->voice[l->ask[k].endpoint];
		struct chain_block b;

		take_chain_id(l, es, k, rules->chain_id);
		if (!take_block(&b, l, es, k + 1))
			continue;
		v->reach = b.number;
		if (rules->depth > 0) {
			v->reach = b.number > rules->depth
			    ? b.number - rules->depth
			    : 0;
			continue;
		}
		v->block = b;
		v->voted = true;
	}
	end_round(l);
}

static bool
in_play(const struct look *l, endpoint_set set, unsigned i)
{
	return (set >> i & 1) != 0 && l->voice[i].doubt == DOUBT_NONE;
}

/* The m-th highest reach; false if fewer than m are in play. */
static bool
choose_height(
    uint64_t *out, const struct look *l, endpoint_set set, unsigned quorum)
{
	for (unsigned i = 0; i < LIMIT_CHAIN_ENDPOINTS; i++) {
		unsigned above = 0, equal = 0;

		if (!in_play(l, set, i))
			continue;
		for (unsigned j = 0; j < LIMIT_CHAIN_ENDPOINTS; j++)
			if (in_play(l, set, j)) {
				above += l->voice[j].reach > l->voice[i].reach;
				equal += l->voice[j].reach == l->voice[i].reach;
			}
		if (above < quorum && above + equal >= quorum) {
			*out = l->voice[i].reach;
			return true;
		}
	}
	return false;
}

static void
round_two(struct look *l, struct endpoints *es, endpoint_set set,
    const struct chainhead_rules *rules, uint64_t height)
{
	/* Below the latest block a reorganisation is normal; a final block
	 * that is no longer there is another history. */
	bool ask_floor = rules->tag == CHAIN_FINALIZED &&
	    rules->floor.has_hash && rules->floor.number < height;

	params_number(l->at_height, height);
	params_number(l->at_floor, rules->floor.number);
	for (unsigned i = 0; i < endpoints_count(es); i++) {
		struct voice *v = &l->voice[i];

		if (!in_play(l, set, i) || v->reach < height)
			continue;
		if (v->reach > height || !v->voted) {
			v->voted = false;
			add_block(l, i, l->at_height);
		}
		if (ask_floor)
			add_block(l, i, l->at_floor);
	}
	endpoints_ask(es, l->reply, l->ask, l->n);
	for (size_t k = 0; k < l->n; k++) {
		unsigned i = l->ask[k].endpoint;
		bool is_floor = l->ask[k].params == l->at_floor;
		struct chain_block b;

		if (!take_block(&b, l, es, k))
			continue;
		if (b.number != (is_floor ? rules->floor.number : height)) {
			doubt(l, es, i, DOUBT_SILENT, "not the block asked");
		} else if (!is_floor) {
			l->voice[i].block = b;
			l->voice[i].voted = true;
		} else if (memcmp(b.hash, rules->floor.hash, 32) != 0) {
			doubt(l, es, i, DOUBT_FLOOR, "another past");
			l->other_past |= 1u << i;
		}
	}
	end_round(l);
}

static bool
same_block(const struct chain_block *a, const struct chain_block *b)
{
	return a->number == b->number && a->timestamp == b->timestamp &&
	    memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

static unsigned
count_doubt(const struct look *l, enum doubt d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LIMIT_CHAIN_ENDPOINTS; i++)
		n += l->voice[i].doubt == d;
	return n;
}

/* Fewer than m endpoints are in play: say what took the others out. */
static enum err
too_few(const struct look *l, struct refusal *why)
{
	enum reason code = REASON_CHAIN_UNREACHABLE;

	if (count_doubt(l, DOUBT_CHAIN) > 0)
		code = REASON_CHAIN_WRONG;
	if (count_doubt(l, DOUBT_FLOOR) > 0)
		code = REASON_CHAIN_BACKWARDS;
	(void)refuse(why, code, "%s", l->notes.text);
	return ERR_AGAIN;
}

static void
hash_word(char out[static 32], const struct chain_block *b)
{
	(void)snprintf(out, 32, "%02x%02x%02x%02x", b->hash[0], b->hash[1],
	    b->hash[2], b->hash[3]);
}

/* There is a winner: those who voted for another block are named, and those
 * whose past is another one. */
static void
name_odd(const struct look *l, struct endpoints *es, endpoint_set set,
    const struct chain_block *winner)
{
	char word[32];

	for (unsigned i = 0; i < endpoints_count(es); i++) {
		const struct voice *v = &l->voice[i];

		if ((l->other_past >> i & 1) != 0)
			endpoints_odd(
			    es, i, ENDPOINT_ODD_BLOCK, "another past");
		if (!in_play(l, set, i) || !v->voted ||
		    v->block.number != winner->number ||
		    same_block(&v->block, winner))
			continue;
		hash_word(word, &v->block);
		endpoints_odd(es, i, ENDPOINT_ODD_BLOCK, word);
	}
}

static enum err
count_votes(struct chain_block *out, struct look *l, struct endpoints *es,
    endpoint_set set, unsigned quorum, uint64_t height, struct refusal *why)
{
	unsigned votes = 0;

	for (unsigned i = 0; i < endpoints_count(es); i++) {
		const struct voice *v = &l->voice[i];
		unsigned same = 0;
		char word[32];

		if (!in_play(l, set, i) || !v->voted ||
		    v->block.number != height)
			continue;
		for (unsigned j = 0; j < endpoints_count(es); j++)
			same += in_play(l, set, j) && l->voice[j].voted &&
			    same_block(&v->block, &l->voice[j].block);
		if (same >= quorum) {
			*out = v->block;
			name_odd(l, es, set, &v->block);
			return ERR_OK;
		}
		votes++;
		hash_word(word, &v->block);
		endpoints_note(&l->notes, es, i, word);
	}
	if (votes < quorum)
		return too_few(l, why);
	(void)refuse(why, REASON_CHAIN_DISAGREE, "block %" PRIu64 ": %s",
	    height, l->notes.text);
	return ERR_AGAIN;
}

enum err
chainhead_find(struct chain_block *out, struct endpoints *es, endpoint_set set,
    const struct chainhead_rules *rules, struct refusal *why)
{
	const struct chain_floor *floor = &rules->floor;
	struct look l = { 0 };
	struct chain_block b;
	uint64_t height;
	enum err e;

	round_one(&l, es, set, rules);
	if (!choose_height(&height, &l, set, rules->quorum))
		return too_few(&l, why);
	if (height < floor->number) {
		(void)refuse(why, REASON_CHAIN_BACKWARDS,
		    "block %" PRIu64 " after %" PRIu64, height, floor->number);
		return ERR_AGAIN;
	}
	round_two(&l, es, set, rules, height);
	e = count_votes(&b, &l, es, set, rules->quorum, height, why);
	if (e != ERR_OK)
		return e;
	if (floor->has_hash && b.number == floor->number &&
	    memcmp(b.hash, floor->hash, sizeof b.hash) != 0) {
		(void)refuse(why, REASON_CHAIN_BACKWARDS,
		    "block %" PRIu64 " is another one now", b.number);
		return ERR_AGAIN;
	}
	*out = b;
	return ERR_OK;
}
