/* fuzz_header: block headers that an endpoint may send.
 *
 * Targets: header_from_json, header_rlp, header_hash.
 *
 * Asserted: what is accepted is written as one list of as many items as the
 * header has fields, and each item, read again, is the field. */
#include <assert.h>
#include <string.h>

#include "common/base/json.h"
#include "common/crypto/keccak.h"
#include "common/eth/header.h"
#include "common/eth/rlprd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
same(struct rd *r, const uint8_t *want, size_t len)
{
	const uint8_t *got = rlprd_fixed(r, len);

	assert(got != NULL && memcmp(got, want, len) == 0);
}

static void
number(struct rd *r, uint64_t want)
{
	assert(rlprd_u64(r) == want && !r->bad);
}

static void
word(struct rd *r, const uint8_t *want)
{
	uint8_t got[32];

	rlprd_u256(r, got);
	assert(!r->bad && memcmp(got, want, 32) == 0);
}

static void
check(const struct header *h)
{
	uint8_t hash[32], again[32];
	struct buf b = { 0 };
	struct rd r, m;
	struct bytes extra;
	enum err e = header_rlp(&b, h);

	assert(e == ERR_OK);
	e = header_hash(hash, h);
	assert(e == ERR_OK);
	keccak256(again, b.p, b.len);
	assert(memcmp(hash, again, 32) == 0);
	r = (struct rd){ .p = b.p, .left = b.len };
	m = rlprd_list(&r);
	assert(rd_done(&r));
	same(&m, h->parent_hash, 32);
	same(&m, h->uncles_hash, 32);
	same(&m, h->coinbase, 20);
	same(&m, h->state_root, 32);
	same(&m, h->tx_root, 32);
	same(&m, h->receipts_root, 32);
	same(&m, h->bloom, 256);
	word(&m, h->difficulty);
	number(&m, h->number);
	number(&m, h->gas_limit);
	number(&m, h->gas_used);
	number(&m, h->timestamp);
	extra = rlprd_str(&m);
	assert(extra.len == h->extra.len && extra.len <= HEADER_EXTRA_MAX);
	same(&m, h->mix_hash, 32);
	same(&m, h->nonce, 8);
	for (unsigned i = 0; i < h->n_later; i++)
		(void)rlprd_str(&m);
	assert(rd_done(&m));
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header h = { .number = 0 };
	json_t *v = NULL;

	if (size > 1u << 16 ||
	    json_parse(&v, data, size, 1u << 16, NULL, 0) != ERR_OK)
		return 0;
	if (header_from_json(&h, v) == ERR_OK) {
		assert(h.n_later <= HEADER_N_LATER);
		check(&h);
		header_fini(&h);
	}
	json_decref(v);
	return 0;
}
