#include <string.h>

#include "common/crypto/keccak.h"
#include "common/eth/rlprd.h"
#include "common/eth/stateproof.h"

const uint8_t stateproof_no_code[32] = { 0xc5, 0xd2, 0x46, 0x01, 0x86, 0xf7,
	0x23, 0x3c, 0x92, 0x7e, 0x7d, 0xb2, 0xdc, 0xc7, 0x03, 0xc0, 0xe5, 0x00,
	0xb6, 0x53, 0xca, 0x82, 0x27, 0x3b, 0x7b, 0xfa, 0xd8, 0x04, 0x5d, 0x85,
	0xa4, 0x70 };

static enum err
read_account(struct stateproof_account *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct rd m = rlprd_list(&r);
	struct stateproof_account a = { .exists = true };
	const uint8_t *root, *code;

	a.nonce = rlprd_u64(&m);
	rlprd_u256(&m, a.balance);
	root = rlprd_fixed(&m, sizeof a.storage_root);
	code = rlprd_fixed(&m, sizeof a.code_hash);
	if (!rd_done(&r) || !rd_done(&m))
		return ERR_MALFORMED;
	memcpy(a.storage_root, root, sizeof a.storage_root);
	memcpy(a.code_hash, code, sizeof a.code_hash);
	*out = a;
	return ERR_OK;
}

enum err
stateproof_account(struct stateproof_account *out,
    const uint8_t state_root[static 32], const uint8_t address[static 20],
    const struct bytes *node, size_t n)
{
	uint8_t key[32];
	struct bytes v;
	enum err e;

	keccak256(key, address, 20);
	e = mpt_get(&v, state_root, key, node, n);
	if (e == ERR_OK)
		return read_account(out, v);
	if (e != ERR_NOTFOUND)
		return e;
	*out = (struct stateproof_account){ .exists = false };
	memcpy(out->storage_root, mpt_empty_root, sizeof out->storage_root);
	return ERR_OK;
}

enum err
stateproof_slot(uint8_t value[static 32], const uint8_t storage_root[static 32],
    const uint8_t slot[static 32], const struct bytes *node, size_t n)
{
	uint8_t key[32], word[32] = { 0 };
	struct bytes v;
	enum err e;

	keccak256(key, slot, 32);
	e = mpt_get(&v, storage_root, key, node, n);
	if (e == ERR_OK) {
		struct rd r = { .p = v.p, .left = v.len };

		rlprd_u256(&r, word);
		if (!rd_done(&r))
			return ERR_MALFORMED;
	} else if (e != ERR_NOTFOUND) {
		return e;
	}
	memcpy(value, word, sizeof word);
	return ERR_OK;
}
