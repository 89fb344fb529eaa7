/* fuzz_evm: contracts and state of a stranger's choice.
 *
 * Targets: evm_run and all below it.
 *
 * The input is gas (3 bytes, below 2 M), what the state lacks (1 byte), the
 * lengths of two contracts (2 bytes each) and their code; what is left is the
 * call's data.  Both contracts read storage that is a function of the slot.
 *
 * Asserted: a run ends, says the same twice, never uses more gas than it was
 * given, returns no more than was allowed, and leaves its outputs alone when
 * it has no answer.  Leaks are the sanitizer's to find. */
#include <assert.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/crypto/keccak.h"
#include "common/eth/evm.h"

#define RETURN_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t at[2][20] = { { 0xaa, [19] = 1 }, { 0xbb, [19] = 2 } };

struct world {
	struct bytes code[2];
	uint8_t hash[3][32]; /* of both, and of no code; made once */
	uint8_t lacks;
};

static int
which(const uint8_t address[static 20])
{
	for (int i = 0; i < 2; i++)
		if (memcmp(address, at[i], 20) == 0)
			return i;
	return -1;
}

static enum err
account(void *cookie, struct evm_account *out, const uint8_t address[static 20])
{
	const struct world *w = cookie;
	int i = which(address);

	if ((w->lacks & 1) != 0 && address[0] == 1)
		return ERR_NOTFOUND;
	memset(out, 0, sizeof *out);
	out->exists = i >= 0 || address[1] == 1;
	out->balance[31] = address[2];
	memcpy(out->code_hash, w->hash[i < 0 ? 2 : i], 32);
	return ERR_OK;
}

static enum err
code(void *cookie, struct bytes *out, const uint8_t address[static 20])
{
	const struct world *w = cookie;
	int i = which(address);

	if ((w->lacks & 2) != 0 && address[0] == 1)
		return ERR_NOTFOUND;
	*out = i < 0 ? (struct bytes){ 0 } : w->code[i];
	return ERR_OK;
}

static enum err
storage(void *cookie, uint8_t out[static 32], const uint8_t address[static 20],
    const uint8_t slot[static 32])
{
	const struct world *w = cookie;

	if ((w->lacks & 4) != 0 && slot[31] == 3)
		return ERR_NOTFOUND;
	if ((w->lacks & 8) != 0 && slot[31] == 4)
		return ERR_CORRUPT;
	memcpy(out, slot, 32);
	out[31] ^= address[19];
	return ERR_OK;
}

static enum evm_outcome
run(struct buf *out, struct evm_missing *missing, uint64_t *used,
    const struct evm_call *c, struct world *w)
{
	static const struct evm_block block = { .number = 1000,
		.timestamp = 1700000000,
		.gas_limit = 30000000,
		.chain_id = 1,
		.base_fee = { [31] = 7 },
		.parent_hash = { 9 } };
	const struct evm_state s = { w, account, code, storage };

	return evm_run(out, missing, c, &block, &s, used);
}

static bool
answers(enum evm_outcome o)
{
	return o == EVM_RETURNED || o == EVM_REVERTED;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = { .p = data, .left = size };
	struct evm_call c = { .max_return = RETURN_MAX };
	struct evm_missing m1, m2;
	struct buf out1 = { 0 }, out2 = { 0 };
	uint64_t used1 = UINT64_MAX, used2 = UINT64_MAX;
	enum evm_outcome o;
	struct world w;
	size_t n[2];

	c.gas = (uint64_t)(rd_u8(&r) & 0x1f) << 16;
	c.gas |= rd_be16(&r);
	w.lacks = rd_u8(&r);
	n[0] = rd_be16(&r);
	n[1] = rd_be16(&r);
	for (int i = 0; i < 2; i++) {
		n[i] = n[i] < r.left ? n[i] : r.left;
		w.code[i] = (struct bytes){ rd_bytes(&r, n[i]), n[i] };
	}
	if (r.bad)
		return 0;
	for (int i = 0; i < 2; i++)
		keccak256(w.hash[i], w.code[i].p, w.code[i].len);
	keccak256(w.hash[2], NULL, 0);
	c.data = (struct bytes){ r.p, r.left };
	memcpy(c.to, at[0], 20);
	memset(&m1, 0xee, sizeof m1);
	memset(&m2, 0xee, sizeof m2);
	o = run(&out1, &m1, &used1, &c, &w);
	assert(run(&out2, &m2, &used2, &c, &w) == o);

	assert(used1 == used2);
	assert(memcmp(&m1, &m2, sizeof m1) == 0);
	assert(out1.len == out2.len && out1.len <= RETURN_MAX);
	assert(out1.len == 0 || memcmp(out1.p, out2.p, out1.len) == 0);
	assert(answers(o) || out1.p == NULL);
	if (answers(o))
		assert(used1 >= 21000 && used1 <= c.gas);
	else if (o == EVM_FAILED)
		assert(used1 == c.gas);
	else
		assert(used1 == UINT64_MAX);
	if (o == EVM_MISSING)
		assert(w.lacks != 0);
	else
		assert(m1.address[0] == 0xee);
	buf_fini(&out1);
	buf_fini(&out2);
	return 0;
}
