#include <string.h>

#include "common/crypto/keccak.h"
#include "common/eth/header.h"
#include "common/eth/rlp.h"
#include "common/eth/rpc.h"

#define RLP_MAX (HEADER_EXTRA_MAX + 2048u)

static bool
is_number(unsigned later)
{
	return later == HEADER_BASE_FEE || later == HEADER_BLOB_GAS ||
	    later == HEADER_EXCESS_BLOB_GAS || later == HEADER_SLOT_NUMBER;
}

static const char *const later_name[] = {
#define X(name, text) [HEADER_##name] = (text),
	HEADER_LATER(X)
#undef X
};

/* ---- JSON ---- */

static bool
fixed(uint8_t *out, size_t len, const json_t *block, const char *key)
{
	return rpc_fixed(out, len, json_object_get(block, key)) == ERR_OK;
}

static bool
u64(uint64_t *out, const json_t *block, const char *key)
{
	return rpc_quantity(out, json_object_get(block, key)) == ERR_OK;
}

static bool
u256(uint8_t out[static 32], const json_t *block, const char *key)
{
	return rpc_quantity256(out, json_object_get(block, key)) == ERR_OK;
}

static bool
read_later(struct header *h, const json_t *block)
{
	bool ended = false;

	for (unsigned i = 0; i < HEADER_N_LATER; i++) {
		const json_t *v = json_object_get(block, later_name[i]);

		if (v == NULL || json_is_null(v)) {
			ended = true;
			continue;
		}
		if (ended)
			return false;
		if (!(is_number(i)
			    ? u256(h->later[i], block, later_name[i])
			    : fixed(h->later[i], 32, block, later_name[i])))
			return false;
		h->n_later = i + 1;
	}
	return true;
}

static bool
read_fields(struct header *h, const json_t *block)
{
	return fixed(h->parent_hash, 32, block, "parentHash") &&
	    fixed(h->uncles_hash, 32, block, "sha3Uncles") &&
	    fixed(h->coinbase, 20, block, "miner") &&
	    fixed(h->state_root, 32, block, "stateRoot") &&
	    fixed(h->tx_root, 32, block, "transactionsRoot") &&
	    fixed(h->receipts_root, 32, block, "receiptsRoot") &&
	    fixed(h->bloom, sizeof h->bloom, block, "logsBloom") &&
	    u256(h->difficulty, block, "difficulty") &&
	    u64(&h->number, block, "number") &&
	    u64(&h->gas_limit, block, "gasLimit") &&
	    u64(&h->gas_used, block, "gasUsed") &&
	    u64(&h->timestamp, block, "timestamp") &&
	    fixed(h->mix_hash, 32, block, "mixHash") &&
	    fixed(h->nonce, 8, block, "nonce") && read_later(h, block);
}

enum err
header_from_json(struct header *out, const json_t *block)
{
	struct header h = { .number = 0 };
	enum err e;

	if (!read_fields(&h, block))
		return ERR_MALFORMED;
	e = rpc_data(
	    &h.extra, HEADER_EXTRA_MAX, json_object_get(block, "extraData"));
	if (e != ERR_OK) {
		header_fini(&h);
		return e == ERR_NOMEM ? e : ERR_MALFORMED;
	}
	*out = h;
	return ERR_OK;
}

void
header_fini(struct header *h)
{
	buf_fini(&h->extra);
	*h = (struct header){ .number = 0 };
}

/* ---- RLP ---- */

enum err
header_rlp(struct buf *out, const struct header *h)
{
	struct rlp in = { .max = RLP_MAX }, r = { .max = RLP_MAX };

	rlp_str(&in, h->parent_hash, 32);
	rlp_str(&in, h->uncles_hash, 32);
	rlp_str(&in, h->coinbase, 20);
	rlp_str(&in, h->state_root, 32);
	rlp_str(&in, h->tx_root, 32);
	rlp_str(&in, h->receipts_root, 32);
	rlp_str(&in, h->bloom, sizeof h->bloom);
	rlp_uint(&in, h->difficulty, 32);
	rlp_u64(&in, h->number);
	rlp_u64(&in, h->gas_limit);
	rlp_u64(&in, h->gas_used);
	rlp_u64(&in, h->timestamp);
	rlp_str(&in, h->extra.p, h->extra.len);
	rlp_str(&in, h->mix_hash, 32);
	rlp_str(&in, h->nonce, 8);
	for (unsigned i = 0; i < h->n_later; i++)
		if (is_number(i))
			rlp_uint(&in, h->later[i], 32);
		else
			rlp_str(&in, h->later[i], 32);
	rlp_list(&r, &in);
	rlp_fini(&in);
	if (r.err != ERR_OK) {
		rlp_fini(&r);
		return r.err;
	}
	buf_fini(out);
	*out = r.out; /* transferred */
	return ERR_OK;
}

enum err
header_hash(uint8_t out[static 32], const struct header *h)
{
	struct buf b = { 0 };
	enum err e = header_rlp(&b, h);

	if (e == ERR_OK)
		keccak256(out, b.p, b.len);
	buf_fini(&b);
	return e;
}
