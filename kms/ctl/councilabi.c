#include <assert.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "common/eth/abird.h"
#include "kms/ctl/councilabi.h"

/* cast sig 'propose((address,bytes)[],bytes32)' etc. */
#define CALL_STATE 0xc19d93fbu
#define CALL_DOMAIN 0x52a9674bu
#define CALL_PROPOSAL_AT 0x5bb838cbu
#define CALL_PROPOSAL_ID 0x1535269au
#define CALL_CHECKLIST 0x78739351u
#define CALL_PROPOSE 0x98251647u
#define CALL_VOTE 0xa69beabau
#define CALL_VETO 0xfb6f93f9u
#define CALL_EXECUTE 0xe751f271u
#define CALL_SET_MEMBERS 0x42a6ebeau
#define CALL_SET_GUARDIAN 0x8a0dac4au

#define CALL_MAX (COUNCIL_DATA_MAX + 4096)

const char *
council_stage_text(enum council_stage s)
{
	static const char *const text[] = {
		[COUNCIL_NONE] = "unknown",
		[COUNCIL_VOTING] = "voting",
		[COUNCIL_WAITING] = "waiting",
		[COUNCIL_READY] = "ready",
		[COUNCIL_EXECUTED] = "executed",
		[COUNCIL_VETOED] = "vetoed",
		[COUNCIL_EXPIRED] = "expired",
		[COUNCIL_VOID] = "void",
	};

	assert((size_t)s < sizeof text / sizeof text[0]);
	return text[s];
}

bool
council_names_has(const struct council_names *names, const uint8_t a[static 20])
{
	for (size_t i = 0; i < names->n; i++)
		if (memcmp(names->a[i], a, 20) == 0)
			return true;
	return false;
}

/* ---- reading: heads and tails, the latter without gaps ---- */

struct tail {
	struct rd head, tail;
	size_t total; /* bytes of head and tail */
};

/* A struct that is returned: its offset, then `words` of head. */
static struct tail
tail_of(struct bytes in, size_t words)
{
	struct tail t = { .head = { .p = in.p, .left = in.len } };

	abird_exactly(&t.head, ABI_WORD);
	t.total = t.head.left;
	t.tail = t.head;
	(void)rd_bytes(&t.tail, words * ABI_WORD);
	return t;
}

/* The next word of the head must point at what is next in the tail. */
static void
points_on(struct tail *t)
{
	abird_exactly(&t->head, t->total - t->tail.left);
}

static void
rd_names(struct tail *t, struct council_names *names)
{
	points_on(t);
	names->n = (size_t)abird_upto(&t->tail, COUNCIL_MEMBERS_MAX);
	for (size_t i = 0; i < names->n; i++)
		abird_address(&t->tail, names->a[i]);
}

/* (address, bytes), alone. */
static void
rd_call(struct rd *r, struct council_call *c)
{
	static const uint8_t zeros[ABI_WORD];
	size_t pad;
	const uint8_t *p;

	abird_address(r, c->target);
	abird_exactly(r, 2 * ABI_WORD);
	c->data.len = (size_t)abird_upto(r, COUNCIL_DATA_MAX);
	c->data.p = rd_bytes(r, c->data.len);
	pad = (ABI_WORD - c->data.len % ABI_WORD) % ABI_WORD;
	p = rd_bytes(r, pad);
	if (p != NULL && memcmp(p, zeros, pad) != 0)
		r->bad = true;
}

static void
rd_calls(struct tail *t, struct council_checklist *c)
{
	struct rd heads;
	size_t total;

	points_on(t);
	c->n_calls = (size_t)abird_upto(&t->tail, COUNCIL_CALLS_MAX);
	heads = t->tail;
	total = heads.left;
	(void)rd_bytes(&t->tail, c->n_calls * ABI_WORD);
	for (size_t i = 0; i < c->n_calls && !t->tail.bad; i++) {
		abird_exactly(&heads, total - t->tail.left);
		if (heads.bad)
			t->tail.bad = true;
		rd_call(&t->tail, &c->call[i]);
	}
}

enum err
councilabi_state(struct council_state *out, struct bytes in)
{
	struct tail t = tail_of(in, 8);
	struct council_state s = { .k = 0 };

	rd_names(&t, &s.members);
	s.k = abird_u64(&t.head);
	s.vetoes_needed = abird_u64(&t.head);
	s.generation = abird_u64(&t.head);
	abird_address(&t.head, s.guardian);
	s.notice_s = abird_u64(&t.head);
	s.life_s = abird_u64(&t.head);
	s.proposals = abird_u64(&t.head);
	if (t.head.bad || !rd_done(&t.tail) || s.members.n == 0 || s.k == 0 ||
	    s.k > s.members.n || s.vetoes_needed != s.members.n - s.k + 1 ||
	    s.generation == 0 || s.notice_s == 0 || s.life_s == 0)
		return ERR_MALFORMED;
	*out = s;
	return ERR_OK;
}

enum err
councilabi_checklist(struct council_checklist *out, struct bytes in)
{
	struct tail t = tail_of(in, 16);
	struct council_checklist c = { .needed = 0 };

	abird_hash(&t.head, c.id);
	c.stage = (enum council_stage)abird_upto(&t.head, COUNCIL_VOID);
	c.generation = abird_u64(&t.head);
	c.needed = abird_u64(&t.head);
	c.missing = abird_u64(&t.head);
	rd_names(&t, &c.voted);
	rd_names(&t, &c.not_voted);
	c.vetoes_needed = abird_u64(&t.head);
	rd_names(&t, &c.vetoed);
	c.proposed_at = abird_u64(&t.head);
	c.votes_until = abird_u64(&t.head);
	c.passed_at = abird_u64(&t.head);
	c.may_execute_at = abird_u64(&t.head);
	c.may_execute_until = abird_u64(&t.head);
	c.ended_at = abird_u64(&t.head);
	rd_calls(&t, &c);
	if (t.head.bad || !rd_done(&t.tail) || c.missing > c.needed ||
	    (c.stage != COUNCIL_NONE && c.n_calls == 0))
		return ERR_MALFORMED;
	*out = c;
	return ERR_OK;
}

bool
councilabi_is_domain(struct bytes in)
{
	static const char domain[] = "devproof-kms/council/v1";
	uint8_t hash[32];

	keccak256(hash, domain, sizeof domain - 1);
	return in.len == sizeof hash && memcmp(in.p, hash, sizeof hash) == 0;
}

/* ---- writing ---- */

static enum err
selector(struct buf *out, uint32_t v)
{
	uint8_t s[4];
	struct wr w = { .p = s, .cap = sizeof s };

	wr_be32(&w, v);
	return buf_set(out, s, sizeof s);
}

static enum err
of_id(struct buf *out, uint32_t v, const uint8_t id[static 32])
{
	enum err e = selector(out, v);

	return e != ERR_OK ? e : abi_put_bytes32(out, id, CALL_MAX);
}

enum err
councilabi_call_state(struct buf *out)
{
	return selector(out, CALL_STATE);
}

enum err
councilabi_call_domain(struct buf *out)
{
	return selector(out, CALL_DOMAIN);
}

enum err
councilabi_call_proposal_at(struct buf *out, uint64_t i)
{
	enum err e = selector(out, CALL_PROPOSAL_AT);

	return e != ERR_OK ? e : abi_put_u64(out, i, CALL_MAX);
}

enum err
councilabi_call_checklist(struct buf *out, const uint8_t id[static 32])
{
	return of_id(out, CALL_CHECKLIST, id);
}

enum err
councilabi_vote(struct buf *out, const uint8_t id[static 32])
{
	return of_id(out, CALL_VOTE, id);
}

enum err
councilabi_veto(struct buf *out, const uint8_t id[static 32])
{
	return of_id(out, CALL_VETO, id);
}

enum err
councilabi_execute(struct buf *out, const uint8_t id[static 32])
{
	return of_id(out, CALL_EXECUTE, id);
}

/* ((address,bytes)[] calls, bytes32 salt) */
static enum err
of_calls(struct buf *out, uint32_t v, const struct council_call *call, size_t n,
    const uint8_t salt[static 32])
{
	uint64_t at = (uint64_t)n * ABI_WORD;
	enum err e;

	if (n == 0 || n > COUNCIL_CALLS_MAX)
		return ERR_LIMIT;
	if ((e = selector(out, v)) != ERR_OK ||
	    (e = abi_put_u64(out, 2 * ABI_WORD, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, salt, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_u64(out, n, CALL_MAX)) != ERR_OK)
		return e;
	for (size_t i = 0; i < n; i++) {
		if ((e = abi_put_u64(out, at, CALL_MAX)) != ERR_OK)
			return e;
		at += 2 * ABI_WORD + abi_bytes_size(call[i].data.len);
	}
	for (size_t i = 0; i < n; i++) {
		const struct council_call *c = &call[i];

		if ((e = abi_put_address(out, c->target, CALL_MAX)) != ERR_OK ||
		    (e = abi_put_u64(out, 2 * ABI_WORD, CALL_MAX)) != ERR_OK ||
		    (e = abi_put_bytes(
			 out, c->data.p, c->data.len, CALL_MAX)) != ERR_OK)
			return e;
	}
	return ERR_OK;
}

enum err
councilabi_call_proposal_id(struct buf *out, const struct council_call *call,
    size_t n, const uint8_t salt[static 32])
{
	return of_calls(out, CALL_PROPOSAL_ID, call, n, salt);
}

enum err
councilabi_propose(struct buf *out, const struct council_call *call, size_t n,
    const uint8_t salt[static 32])
{
	return of_calls(out, CALL_PROPOSE, call, n, salt);
}

enum err
councilabi_set_members(
    struct buf *out, const struct council_names *members, uint64_t k)
{
	enum err e;

	if ((e = selector(out, CALL_SET_MEMBERS)) != ERR_OK ||
	    (e = abi_put_u64(out, 2 * ABI_WORD, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_u64(out, k, CALL_MAX)) != ERR_OK)
		return e;
	e = abi_put_u64(out, members->n, CALL_MAX);
	for (size_t i = 0; e == ERR_OK && i < members->n; i++)
		e = abi_put_address(out, members->a[i], CALL_MAX);
	return e;
}

enum err
councilabi_set_guardian(struct buf *out, const uint8_t guardian[static 20])
{
	enum err e = selector(out, CALL_SET_GUARDIAN);

	return e != ERR_OK ? e : abi_put_address(out, guardian, CALL_MAX);
}
