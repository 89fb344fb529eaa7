/* Every function is one instruction: its opcode is an argument, its stack
 * has been checked, and its fixed gas charged (evm_op.c). */
#include <string.h>

#include "common/eth/evm_env.h"

#define OP(name) \
	enum evm_step evm_env_##name( \
	    __attribute__((unused)) struct evm_run *r, \
	    __attribute__((unused)) struct evm_frame *f, \
	    __attribute__((unused)) uint8_t op)

#define GAS_COLD_SLOT 2100
#define GAS_WARM_SLOT 100
#define GAS_COPY_WORD 3

/* keccak256 of nothing: the code of accounts without any. */
static const uint8_t no_code[32] = { 0xc5, 0xd2, 0x46, 0x01, 0x86, 0xf7, 0x23,
	0x3c, 0x92, 0x7e, 0x7d, 0xb2, 0xdc, 0xc7, 0x03, 0xc0, 0xe5, 0x00, 0xb6,
	0x53, 0xca, 0x82, 0x27, 0x3b, 0x7b, 0xfa, 0xd8, 0x04, 0x5d, 0x85, 0xa4,
	0x70 };

static enum evm_step
push(struct evm_frame *f, const uint8_t *be, size_t len)
{
	evm_frame_push1(f, u256_from_bytes(be, len));
	return EVM_STEP_NEXT;
}

static enum evm_step
push_u64(struct evm_frame *f, uint64_t v)
{
	evm_frame_push1(f, u256_from_u64(v));
	return EVM_STEP_NEXT;
}

void
evm_env_copy(struct evm_frame *f, size_t at, size_t n, struct bytes from,
    const struct u256 *off)
{
	uint64_t first;
	size_t have = 0;

	if (n == 0)
		return;
	if (u256_u64(&first, off) && first < from.len) {
		have = from.len - (size_t)first;
		if (have > n)
			have = n;
		memcpy(f->mem + at, from.p + first, have);
	}
	memset(f->mem + at + have, 0, n - have);
}

/* The part that the four copying instructions have in common: pops where to,
 * where from and how much. */
static enum evm_step
copy(struct evm_run *r, struct evm_frame *f, struct bytes from)
{
	struct u256 to = *evm_frame_pop1(f), off = *evm_frame_pop1(f);
	struct u256 len = *evm_frame_pop1(f);
	enum evm_step step;
	size_t at, n;

	step = evm_frame_mem(r, f, &at, &n, &to, &len);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_gas(f, GAS_COPY_WORD * EVM_WORDS(n));
	if (step == EVM_STEP_NEXT)
		evm_env_copy(f, at, n, from, &off);
	return step;
}

OP(address)
{
	return push(f, f->self, sizeof f->self);
}

OP(origin)
{
	return push(f, r->call->from, sizeof r->call->from);
}

OP(caller)
{
	return push(f, f->caller, sizeof f->caller);
}

/* CALLVALUE and GASPRICE: no value ever moves, and eth_call pays nothing. */
OP(zero)
{
	return push_u64(f, 0);
}

OP(calldataload)
{
	struct u256 *v = evm_frame_peek(f);
	uint8_t word[32] = { 0 };
	uint64_t at;
	size_t n;

	if (u256_u64(&at, v) && at < f->input.len) {
		n = f->input.len - (size_t)at;
		memcpy(word, f->input.p + at, n < 32 ? n : 32);
	}
	*v = u256_from_be(word);
	return EVM_STEP_NEXT;
}

OP(calldatasize)
{
	return push_u64(f, f->input.len);
}

OP(calldatacopy)
{
	return copy(r, f, f->input);
}

OP(codesize)
{
	return push_u64(f, f->code.len);
}

OP(codecopy)
{
	return copy(r, f, f->code);
}

OP(returndatasize)
{
	return push_u64(f, f->returned.len);
}

/* EIP-211: unlike the other copies, past the end is a failure. */
OP(returndatacopy)
{
	const struct u256 *off = &f->stack[f->n_stack - 2];
	const struct u256 *len = &f->stack[f->n_stack - 3];
	uint64_t first, n;

	if (!u256_u64(&first, off) || !u256_u64(&n, len) ||
	    first > f->returned.len || n > f->returned.len - first)
		return EVM_STEP_FAIL;
	return copy(r, f, buf_view(&f->returned));
}

/* Pops an address and charges for the access. */
static enum evm_step
touch(struct evm_run *r, struct evm_frame *f, uint8_t address[static 20])
{
	evm_frame_address(address, evm_frame_pop1(f));
	return evm_frame_touch(r, f, address);
}

OP(balance)
{
	struct evm_account a;
	uint8_t address[20];
	enum evm_step step = touch(r, f, address);

	if (step == EVM_STEP_NEXT)
		step = evm_frame_account(r, &a, address);
	if (step != EVM_STEP_NEXT)
		return step;
	if (!a.exists)
		return push_u64(f, 0);
	return push(f, a.balance, sizeof a.balance);
}

OP(selfbalance)
{
	struct evm_account a;
	enum evm_step step = evm_frame_account(r, &a, f->self);

	if (step != EVM_STEP_NEXT)
		return step;
	if (!a.exists)
		return push_u64(f, 0);
	return push(f, a.balance, sizeof a.balance);
}

OP(extcodesize)
{
	const struct evm_code *c;
	uint8_t address[20];
	enum evm_step step = touch(r, f, address);

	if (step == EVM_STEP_NEXT)
		step = evm_frame_code(r, &c, address, false);
	if (step != EVM_STEP_NEXT)
		return step;
	return push_u64(f, c->code.len);
}

OP(extcodecopy)
{
	const struct evm_code *c;
	uint8_t address[20];
	enum evm_step step = touch(r, f, address);

	if (step == EVM_STEP_NEXT)
		step = evm_frame_code(r, &c, address, false);
	if (step != EVM_STEP_NEXT)
		return step;
	return copy(r, f, c->code);
}

static bool
is_zero(const uint8_t v[static 32])
{
	static const uint8_t none[32];

	return memcmp(v, none, sizeof none) == 0;
}

/* EIP-1052, and EIP-161 for what is empty.  Who sends a transaction is not:
 * his nonce is one higher while it runs. */
OP(extcodehash)
{
	struct evm_account a;
	uint8_t address[20];
	enum evm_step step = touch(r, f, address);
	bool sender, bare;

	if (step == EVM_STEP_NEXT)
		step = evm_frame_account(r, &a, address);
	if (step != EVM_STEP_NEXT)
		return step;
	sender = memcmp(address, r->call->from, sizeof address) == 0;
	bare = !a.exists || memcmp(a.code_hash, no_code, 32) == 0;
	if (!bare)
		return push(f, a.code_hash, sizeof a.code_hash);
	if (!sender && (!a.exists || (a.nonce == 0 && is_zero(a.balance))))
		return push_u64(f, 0);
	return push(f, no_code, sizeof no_code);
}

OP(blockhash)
{
	struct u256 *v = evm_frame_peek(f);
	uint64_t at, now = r->block->number;

	if (!u256_u64(&at, v) || at >= now || now - at > 256) {
		*v = u256_from_u64(0);
		return EVM_STEP_NEXT;
	}
	if (at + 1 != now || is_zero(r->block->parent_hash))
		return EVM_STEP_REFUSE;
	*v = u256_from_be(r->block->parent_hash);
	return EVM_STEP_NEXT;
}

OP(coinbase)
{
	return push(f, r->block->coinbase, sizeof r->block->coinbase);
}

OP(timestamp)
{
	return push_u64(f, r->block->timestamp);
}

OP(number)
{
	return push_u64(f, r->block->number);
}

OP(prevrandao)
{
	return push(f, r->block->prev_randao, sizeof r->block->prev_randao);
}

OP(gaslimit)
{
	return push_u64(f, r->block->gas_limit);
}

OP(chainid)
{
	return push_u64(f, r->block->chain_id);
}

OP(basefee)
{
	return push(f, r->block->base_fee, sizeof r->block->base_fee);
}

/* EIP-4844: the call carries no blobs. */
OP(blobhash)
{
	*evm_frame_peek(f) = u256_from_u64(0);
	return EVM_STEP_NEXT;
}

OP(sload)
{
	struct u256 *v = evm_frame_peek(f), slot = *v;
	enum evm_step step;
	bool was;

	step = evm_frame_limit(evm_journal_warm(
	    &r->journal, &was, EVM_TOUCH_SLOT, f->self, &slot));
	if (step == EVM_STEP_NEXT)
		step = evm_frame_gas(f, was ? GAS_WARM_SLOT : GAS_COLD_SLOT);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_storage(r, v, &slot);
	return step;
}

OP(tload)
{
	struct u256 *v = evm_frame_peek(f), slot = *v;

	evm_journal_load(&r->journal, v, f->self, &slot);
	return EVM_STEP_NEXT;
}

OP(tstore)
{
	struct u256 slot = *evm_frame_pop1(f), value = *evm_frame_pop1(f);

	if (f->is_static)
		return EVM_STEP_FAIL;
	return evm_frame_limit(
	    evm_journal_store(&r->journal, f->self, &slot, &value));
}

/* SSTORE, CREATE, CREATE2, SELFDESTRUCT: in a static frame they fail, which
 * is exact; what they do elsewhere is not for a view to know. */
OP(write)
{
	return f->is_static ? EVM_STEP_FAIL : EVM_STEP_REFUSE;
}
