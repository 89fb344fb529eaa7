#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/name.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "kms/gate/anchorabi.h"

/* cast sig 'advance((uint64,uint64,bytes32),uint64,bytes32,bytes)' etc. */
#define CALL_STATE 0xc19d93fbu
#define CALL_ADVANCE 0x2813fb11u
#define CALL_ANNOUNCE 0x206af2cbu
#define CALL_OPEN 0x3b5bf5f4u
#define CALL_VETO 0x574db991u
#define CALL_GENESIS 0x46eae3cau
#define CALL_NAME_RECOVERY 0xa4fe208eu
#define CALL_SET_SEAT 0xe7b5528fu
#define CALL_REMOVE_SEAT 0xc6840442u

/* state() returns (State): one offset, then 17 words and the offset of the
 * seats, then their number and two words each. */
#define STATE_WORDS 19u

/* Selector and 13 words at most. */
#define CALL_MAX 512u

/* ---- reading ---- */

static uint64_t
rd_number(struct rd *r)
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);
	uint64_t v = 0;

	if (w == NULL ||
	    abi_get_u64(&v, (struct bytes){ w, ABI_WORD }) != ERR_OK)
		r->bad = true;
	return v;
}

static bool
rd_flag(struct rd *r)
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);
	bool v = false;

	if (w == NULL ||
	    abi_get_bool(&v, (struct bytes){ w, ABI_WORD }) != ERR_OK)
		r->bad = true;
	return v;
}

static void
rd_address(struct rd *r, uint8_t out[static 20])
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);

	if (w == NULL ||
	    abi_get_address(out, (struct bytes){ w, ABI_WORD }) != ERR_OK)
		r->bad = true;
}

static void
rd_hash(struct rd *r, uint8_t out[static 32])
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);

	if (w != NULL)
		memcpy(out, w, ABI_WORD);
}

/* A name, then zeros. */
static bool
slot_ok(const char s[static SLOT_MAX])
{
	if (!name_ok(s, SLOT_MAX))
		return false;
	for (size_t i = strlen(s); i < SLOT_MAX; i++)
		if (s[i] != '\0')
			return false;
	return true;
}

static void
rd_seat(struct rd *r, struct anchor_view *v)
{
	struct anchor_seat *s = &v->seat[v->n_seats];

	static_assert(SLOT_MAX == ABI_WORD, "a slot is one word");
	rd_hash(r, (uint8_t *)s->slot);
	rd_hash(r, s->device_id);
	if (r->bad || !slot_ok(s->slot) || sodium_is_zero(s->device_id, 32))
		r->bad = true;
	for (unsigned i = 0; !r->bad && i < v->n_seats; i++)
		if (strcmp(v->seat[i].slot, s->slot) == 0)
			r->bad = true;
	v->n_seats++;
}

/* The order in which `struct State` is declared. */
static void
rd_state(struct rd *r, struct anchor_state *s)
{
	struct anchor_view *v = &s->v;
	uint64_t n;

	if (rd_number(r) != ABI_WORD)
		r->bad = true;
	rd_address(r, s->kms);
	rd_address(r, s->owner);
	v->wait_s = rd_number(r);
	rd_address(r, s->signer);
	memcpy(v->signer, s->signer, sizeof v->signer);
	s->rotations = rd_number(r);
	v->at.generation = rd_number(r);
	v->at.index = rd_number(r);
	rd_hash(r, v->at.hash);
	rd_hash(r, v->opener);
	s->orders = rd_number(r);
	rd_hash(r, v->order.incarnation);
	v->order.lossy = rd_flag(r);
	v->announced.to.generation = rd_number(r);
	v->announced.to.index = rd_number(r);
	rd_hash(r, v->announced.to.hash);
	rd_hash(r, v->announced.incarnation);
	v->announced.open_at = rd_number(r);
	v->vetoes = rd_number(r);
	if (rd_number(r) != STATE_WORDS * ABI_WORD)
		r->bad = true;
	n = rd_number(r);
	if (n > ANCHOR_SEATS_MAX)
		r->bad = true;
	while (!r->bad && v->n_seats < n)
		rd_seat(r, v);
	v->order.set =
	    !sodium_is_zero(v->order.incarnation, INCARNATION_ID_LEN);
	v->announced.set = v->announced.to.generation != 0;
}

/* Nothing else can come of the contract's functions. */
static bool
possible(const struct anchor_state *s)
{
	const struct anchor_view *v = &s->v;
	bool founded = v->at.generation != 0;

	if (sodium_is_zero(s->kms, 20) || sodium_is_zero(s->owner, 20) ||
	    v->wait_s == 0)
		return false;
	if (founded != (v->at.index != 0) ||
	    founded == sodium_is_zero(v->at.hash, 32) ||
	    founded == sodium_is_zero(v->opener, INCARNATION_ID_LEN) ||
	    founded == sodium_is_zero(s->signer, 20))
		return false;
	if (!founded && (s->orders != 0 || s->rotations != 0))
		return false;
	if (v->order.set ? s->orders == 0 : v->order.lossy)
		return false;
	if (v->vetoes > s->orders)
		return false;
	if (!v->announced.set)
		return v->announced.to.index == 0 &&
		    sodium_is_zero(v->announced.to.hash, 32) &&
		    sodium_is_zero(
			v->announced.incarnation, INCARNATION_ID_LEN) &&
		    v->announced.open_at == 0;
	return v->order.set &&
	    memcmp(v->announced.incarnation, v->order.incarnation,
		INCARNATION_ID_LEN) == 0 &&
	    v->announced.to.generation == v->at.generation + 1 &&
	    v->announced.to.index >= v->at.index &&
	    !sodium_is_zero(v->announced.to.hash, 32) &&
	    (v->announced.to.index > v->at.index ||
		memcmp(v->announced.to.hash, v->at.hash, 32) == 0) &&
	    v->announced.open_at >= v->wait_s;
}

enum err
anchorabi_state(struct anchor_state *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct anchor_state s = { .orders = 0 };

	rd_state(&r, &s);
	if (!rd_done(&r) || !possible(&s))
		return ERR_MALFORMED;
	*out = s;
	return ERR_OK;
}

/* ---- writing ---- */

static enum err
put_selector(struct buf *out, uint32_t selector)
{
	uint8_t s[4];
	struct wr w = { .p = s, .cap = sizeof s };

	wr_be32(&w, selector);
	return buf_set(out, s, sizeof s);
}

static enum err
put_point(struct buf *out, const struct anchor_point *p)
{
	enum err e;

	if ((e = abi_put_u64(out, p->generation, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_u64(out, p->index, CALL_MAX)) != ERR_OK)
		return e;
	return abi_put_bytes32(out, p->hash, CALL_MAX);
}

/* One row for each kind: enum anchor_write_kind. */
static const struct {
	uint32_t selector;
	const char *action; /* its hash is signed */
	bool incarnation; /* is an argument */
} kinds[] = {
	[ANCHOR_ADVANCE] = { CALL_ADVANCE, "advance", false },
	[ANCHOR_ANNOUNCE] = { CALL_ANNOUNCE, "announce", true },
	[ANCHOR_VETO] = { CALL_VETO, "veto", false },
	[ANCHOR_OPEN] = { CALL_OPEN, "open", true },
};

/* What calldata and signature have in common. */
static enum err
put_arguments(struct buf *out, const struct anchor_write *w)
{
	enum err e;

	if (w->kind == ANCHOR_VETO)
		return abi_put_u64(out, w->from.generation + 1, CALL_MAX);
	if ((e = put_point(out, &w->from)) != ERR_OK ||
	    (e = abi_put_u64(out, w->to.index, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, w->to.hash, CALL_MAX)) != ERR_OK)
		return e;
	return kinds[w->kind].incarnation
	    ? abi_put_bytes32(out, w->incarnation, CALL_MAX)
	    : ERR_OK;
}

/* keccak256 of domain, chain, contract, action, arguments, and the number of
 * the order where one is involved. */
static enum err
digest(uint8_t out[static 32], const struct anchorabi_at *at,
    const struct anchor_write *w, uint64_t orders)
{
	static const char domain[] = "devproof-kms/anchor/v1";
	const char *action = kinds[w->kind].action;
	uint8_t domain_hash[32], action_hash[32];
	struct buf text = { 0 };
	enum err e;

	keccak256(domain_hash, domain, sizeof domain - 1);
	keccak256(action_hash, action, strlen(action));
	if ((e = buf_set(&text, domain_hash, 32)) != ERR_OK ||
	    (e = abi_put_u64(&text, at->chain_id, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_address(&text, at->contract, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(&text, action_hash, CALL_MAX)) != ERR_OK ||
	    (e = put_arguments(&text, w)) != ERR_OK)
		goto done;
	if (w->kind != ANCHOR_ADVANCE)
		e = abi_put_u64(&text, orders, CALL_MAX);
	if (e == ERR_OK)
		keccak256(out, text.p, text.len);
done:
	buf_fini(&text);
	return e;
}

enum err
anchorabi_write(struct buf *out, const struct anchorabi_at *at,
    const struct anchor_write *w, uint64_t orders,
    const struct k256_secret *key)
{
	struct k256_sig65 sig;
	uint8_t hash[32];
	uint64_t offset;
	enum err e;

	assert((size_t)w->kind < sizeof kinds / sizeof kinds[0]);
	if ((e = digest(hash, at, w, orders)) != ERR_OK ||
	    (e = k256_sign_digest(&sig, key, hash)) != ERR_OK ||
	    (e = put_selector(out, kinds[w->kind].selector)) != ERR_OK ||
	    (e = put_arguments(out, w)) != ERR_OK)
		return e;
	sig.b[64] = (uint8_t)(sig.b[64] + 27); /* as ecrecover wants it */
	/* Behind the arguments and this offset. */
	offset = out->len - 4 + ABI_WORD;
	if ((e = abi_put_u64(out, offset, CALL_MAX)) != ERR_OK)
		return e;
	return abi_put_bytes(out, sig.b, sizeof sig.b, CALL_MAX);
}

void
anchor_seats_hash(uint8_t out[static 32], const struct anchor_view *v)
{
	/* 0x20, their number, then two words of each. */
	uint8_t text[(2 + 2 * ANCHOR_SEATS_MAX) * ABI_WORD] = { 0 };
	size_t len = 2 * ABI_WORD;

	assert(v->n_seats <= ANCHOR_SEATS_MAX);
	text[ABI_WORD - 1] = 0x20;
	text[2 * ABI_WORD - 1] = (uint8_t)v->n_seats;
	for (unsigned i = 0; i < v->n_seats; i++) {
		const struct anchor_seat *s = &v->seat[i];

		memcpy(text + len, s->slot, strnlen(s->slot, SLOT_MAX - 1));
		memcpy(text + len + ABI_WORD, s->device_id, ABI_WORD);
		len += 2 * ABI_WORD;
	}
	keccak256(out, text, len);
}

enum err
anchorabi_call_state(struct buf *out)
{
	return put_selector(out, CALL_STATE);
}

enum err
anchorabi_genesis(struct buf *out, uint64_t index,
    const uint8_t hash[static 32], const uint8_t signer[static 20],
    const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	enum err e;

	if ((e = put_selector(out, CALL_GENESIS)) != ERR_OK ||
	    (e = abi_put_u64(out, index, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, hash, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_address(out, signer, CALL_MAX)) != ERR_OK)
		return e;
	return abi_put_bytes32(out, incarnation, CALL_MAX);
}

enum err
anchorabi_name_recovery(struct buf *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN], bool lossy)
{
	enum err e;

	if ((e = put_selector(out, CALL_NAME_RECOVERY)) != ERR_OK ||
	    (e = abi_put_bytes32(out, incarnation, CALL_MAX)) != ERR_OK)
		return e;
	return abi_put_u64(out, lossy, CALL_MAX);
}

static enum err
put_slot(struct buf *out, uint32_t selector, const char *slot)
{
	char word[SLOT_MAX] = { 0 };
	enum err e;

	if (!name_ok(slot, SLOT_MAX))
		return ERR_MALFORMED;
	memcpy(word, slot, strlen(slot));
	e = put_selector(out, selector);
	return e != ERR_OK
	    ? e
	    : abi_put_bytes32(out, (const uint8_t *)word, CALL_MAX);
}

enum err
anchorabi_set_seat(
    struct buf *out, const char *slot, const uint8_t device_id[static 32])
{
	enum err e = put_slot(out, CALL_SET_SEAT, slot);

	return e != ERR_OK ? e : abi_put_bytes32(out, device_id, CALL_MAX);
}

enum err
anchorabi_remove_seat(struct buf *out, const char *slot)
{
	return put_slot(out, CALL_REMOVE_SEAT, slot);
}
