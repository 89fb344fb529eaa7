/* The table of instructions, and those that need nothing but the frame.
 *
 * Yellow Paper appendix H; PUSH0 EIP-3855, MCOPY EIP-5656, shifts EIP-145,
 * EXP's gas EIP-160, TLOAD and TSTORE EIP-1153, BLOBHASH EIP-4844, BASEFEE
 * EIP-3198, PREVRANDAO EIP-4399. */
#include <string.h>

#include "common/crypto/keccak.h"
#include "common/eth/evm_call.h"
#include "common/eth/evm_env.h"
#include "common/eth/evm_op.h"

#define OP(name) \
	static enum evm_step op_##name( \
	    __attribute__((unused)) struct evm_run *r, \
	    __attribute__((unused)) struct evm_frame *f, \
	    __attribute__((unused)) uint8_t op)

/* a <op> b, where a was pushed last. */
#define BINARY(name) \
	OP(name) \
	{ \
		const struct u256 *a = evm_frame_pop1(f); \
		struct u256 *b = evm_frame_peek(f); \
		u256_##name(b, a, b); \
		return EVM_STEP_NEXT; \
	}

BINARY(add)
BINARY(mul)
BINARY(sub)
BINARY(div)
BINARY(sdiv)
BINARY(mod)
BINARY(smod)
BINARY(signextend)
BINARY(byte)
BINARY(shl)
BINARY(shr)
BINARY(sar)

#define COMPARE(name, expression) \
	OP(name) \
	{ \
		const struct u256 *a = evm_frame_pop1(f); \
		struct u256 *b = evm_frame_peek(f); \
		*b = u256_from_u64((expression) ? 1 : 0); \
		return EVM_STEP_NEXT; \
	}

COMPARE(lt, u256_cmp(a, b) < 0)
COMPARE(gt, u256_cmp(a, b) > 0)
COMPARE(slt, u256_scmp(a, b) < 0)
COMPARE(sgt, u256_scmp(a, b) > 0)
COMPARE(eq, u256_cmp(a, b) == 0)

#define BITWISE(name, operator) \
	OP(name) \
	{ \
		const struct u256 *a = evm_frame_pop1(f); \
		struct u256 *b = evm_frame_peek(f); \
		for (size_t i = 0; i < 4; i++) \
			b->w[i] = a->w[i] operator b->w[i]; \
		return EVM_STEP_NEXT; \
	}

BITWISE(and, &)
BITWISE(or, |)
BITWISE(xor, ^)

OP(addmod)
{
	const struct u256 *a = evm_frame_pop1(f), *b = evm_frame_pop1(f);
	struct u256 *n = evm_frame_peek(f);

	u256_addmod(n, a, b, n);
	return EVM_STEP_NEXT;
}

OP(mulmod)
{
	const struct u256 *a = evm_frame_pop1(f), *b = evm_frame_pop1(f);
	struct u256 *n = evm_frame_peek(f);

	u256_mulmod(n, a, b, n);
	return EVM_STEP_NEXT;
}

OP(exp)
{
	const struct u256 *a = evm_frame_pop1(f);
	struct u256 *e = evm_frame_peek(f);
	enum evm_step step = evm_frame_gas(f, 50 * (uint64_t)u256_size(e));

	if (step == EVM_STEP_NEXT)
		u256_exp(e, a, e);
	return step;
}

OP(iszero)
{
	struct u256 *v = evm_frame_peek(f);

	*v = u256_from_u64(u256_is_zero(v));
	return EVM_STEP_NEXT;
}

OP(not )
{
	struct u256 *v = evm_frame_peek(f);

	for (size_t i = 0; i < 4; i++)
		v->w[i] = ~v->w[i];
	return EVM_STEP_NEXT;
}

/* Pops where and how much, and makes it part of the memory. */
static enum evm_step
range(struct evm_run *r, struct evm_frame *f, size_t *at, size_t *n)
{
	const struct u256 *off = evm_frame_pop1(f), *len = evm_frame_pop1(f);

	return evm_frame_mem(r, f, at, n, off, len);
}

OP(keccak256)
{
	uint8_t hash[32];
	size_t at, n;
	enum evm_step step = range(r, f, &at, &n);

	if (step == EVM_STEP_NEXT)
		step = evm_frame_gas(f, 6 * EVM_WORDS(n));
	if (step != EVM_STEP_NEXT)
		return step;
	keccak256(hash, n > 0 ? f->mem + at : NULL, n);
	evm_frame_push1(f, u256_from_be(hash));
	return EVM_STEP_NEXT;
}

OP(pop)
{
	(void)evm_frame_pop1(f);
	return EVM_STEP_NEXT;
}

/* One word, or one byte, of the memory at `off`. */
static enum evm_step
place(struct evm_run *r, struct evm_frame *f, uint8_t **p,
    const struct u256 *off, uint64_t len)
{
	const struct u256 n = u256_from_u64(len);
	size_t at, got;
	enum evm_step step = evm_frame_mem(r, f, &at, &got, off, &n);

	if (step == EVM_STEP_NEXT)
		*p = f->mem + at;
	return step;
}

OP(mload)
{
	struct u256 *v = evm_frame_peek(f);
	uint8_t *p;
	enum evm_step step = place(r, f, &p, v, 32);

	if (step == EVM_STEP_NEXT)
		*v = u256_from_be(p);
	return step;
}

OP(mstore)
{
	const struct u256 *off = evm_frame_pop1(f), *v = evm_frame_pop1(f);
	uint8_t *p;
	enum evm_step step = place(r, f, &p, off, 32);

	if (step == EVM_STEP_NEXT)
		u256_to_be(p, v);
	return step;
}

OP(mstore8)
{
	const struct u256 *off = evm_frame_pop1(f), *v = evm_frame_pop1(f);
	uint8_t *p;
	enum evm_step step = place(r, f, &p, off, 1);

	if (step == EVM_STEP_NEXT)
		*p = (uint8_t)v->w[0];
	return step;
}

/* Both ranges become part of the memory. */
OP(mcopy)
{
	const struct u256 *to = evm_frame_pop1(f), *from = evm_frame_pop1(f);
	const struct u256 *len = evm_frame_pop1(f);
	size_t at, off, n;
	enum evm_step step = evm_frame_mem(r, f, &at, &n, to, len);

	if (step == EVM_STEP_NEXT)
		step = evm_frame_mem(r, f, &off, &n, from, len);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_gas(f, 3 * EVM_WORDS(n));
	if (step == EVM_STEP_NEXT && n > 0)
		memmove(f->mem + at, f->mem + off, n);
	return step;
}

static enum evm_step
jump(struct evm_frame *f, const struct u256 *to)
{
	uint64_t at;

	if (!u256_u64(&at, to) || at >= f->code.len ||
	    (f->dests[at / 8] >> at % 8 & 1) == 0)
		return EVM_STEP_FAIL;
	f->pc = (size_t)at;
	return EVM_STEP_NEXT;
}

OP(jump)
{
	return jump(f, evm_frame_pop1(f));
}

OP(jumpi)
{
	const struct u256 *to = evm_frame_pop1(f), *when = evm_frame_pop1(f);

	return u256_is_zero(when) ? EVM_STEP_NEXT : jump(f, to);
}

OP(pc)
{
	evm_frame_push1(f, u256_from_u64(f->pc - 1));
	return EVM_STEP_NEXT;
}

OP(msize)
{
	evm_frame_push1(f, u256_from_u64(f->mem_len));
	return EVM_STEP_NEXT;
}

OP(gas)
{
	evm_frame_push1(f, u256_from_u64(f->gas));
	return EVM_STEP_NEXT;
}

OP(jumpdest)
{
	return EVM_STEP_NEXT;
}

/* Behind the end of the code there are zeros. */
OP(push)
{
	size_t n = op - 0x5fu, left = f->code.len - f->pc;
	uint8_t v[32] = { 0 };

	if (n > 0)
		memcpy(v, f->code.p + f->pc, n < left ? n : left);
	f->pc += n < left ? n : left;
	evm_frame_push1(f, u256_from_bytes(v, n));
	return EVM_STEP_NEXT;
}

OP(dup)
{
	evm_frame_push1(f, f->stack[f->n_stack - (op - 0x7fu)]);
	return EVM_STEP_NEXT;
}

OP(swap)
{
	struct u256 *a = evm_frame_peek(f), *b = a - (op - 0x8fu), v = *a;

	*a = *b;
	*b = v;
	return EVM_STEP_NEXT;
}

/* Nobody sees the log of a call, but it is paid for. */
OP(log)
{
	unsigned topics = op - 0xa0u;
	enum evm_step step;
	size_t at, n;

	if (f->is_static)
		return EVM_STEP_FAIL;
	step = range(r, f, &at, &n);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_gas(f, 8 * (uint64_t)n);
	f->n_stack -= topics;
	return step;
}

OP(stop)
{
	return EVM_STEP_RETURN;
}

static enum evm_step
finish(struct evm_run *r, struct evm_frame *f, enum evm_step how)
{
	size_t at, n;
	enum evm_step step = range(r, f, &at, &n);

	if (step != EVM_STEP_NEXT)
		return step;
	if (n > 0)
		f->result = (struct bytes){ f->mem + at, n };
	return how;
}

OP(return )
{
	return finish(r, f, EVM_STEP_RETURN);
}

OP(revert)
{
	return finish(r, f, EVM_STEP_REVERT);
}

OP(invalid)
{
	return EVM_STEP_FAIL;
}

/* Here so that no fork that defines it is taken for one that does not. */
OP(undefined)
{
	return EVM_STEP_REFUSE;
}

struct instruction {
	enum evm_step (*run)(struct evm_run *, struct evm_frame *, uint8_t);
	uint8_t pops;
	uint8_t pushes;
	uint16_t gas; /* the fixed part */
};

/* clang-format off */
static const struct instruction table[256] = {
	[0x00] = { op_stop, 0, 0, 0 },
	[0x01] = { op_add, 2, 1, 3 },
	[0x02] = { op_mul, 2, 1, 5 },
	[0x03] = { op_sub, 2, 1, 3 },
	[0x04] = { op_div, 2, 1, 5 },
	[0x05] = { op_sdiv, 2, 1, 5 },
	[0x06] = { op_mod, 2, 1, 5 },
	[0x07] = { op_smod, 2, 1, 5 },
	[0x08] = { op_addmod, 3, 1, 8 },
	[0x09] = { op_mulmod, 3, 1, 8 },
	[0x0a] = { op_exp, 2, 1, 10 },
	[0x0b] = { op_signextend, 2, 1, 5 },
	[0x10] = { op_lt, 2, 1, 3 },
	[0x11] = { op_gt, 2, 1, 3 },
	[0x12] = { op_slt, 2, 1, 3 },
	[0x13] = { op_sgt, 2, 1, 3 },
	[0x14] = { op_eq, 2, 1, 3 },
	[0x15] = { op_iszero, 1, 1, 3 },
	[0x16] = { op_and, 2, 1, 3 },
	[0x17] = { op_or, 2, 1, 3 },
	[0x18] = { op_xor, 2, 1, 3 },
	[0x19] = { op_not, 1, 1, 3 },
	[0x1a] = { op_byte, 2, 1, 3 },
	[0x1b] = { op_shl, 2, 1, 3 },
	[0x1c] = { op_shr, 2, 1, 3 },
	[0x1d] = { op_sar, 2, 1, 3 },
	[0x20] = { op_keccak256, 2, 1, 30 },
	[0x30] = { evm_env_address, 0, 1, 2 },
	[0x31] = { evm_env_balance, 1, 1, 0 },
	[0x32] = { evm_env_origin, 0, 1, 2 },
	[0x33] = { evm_env_caller, 0, 1, 2 },
	[0x34] = { evm_env_zero, 0, 1, 2 }, /* CALLVALUE */
	[0x35] = { evm_env_calldataload, 1, 1, 3 },
	[0x36] = { evm_env_calldatasize, 0, 1, 2 },
	[0x37] = { evm_env_calldatacopy, 3, 0, 3 },
	[0x38] = { evm_env_codesize, 0, 1, 2 },
	[0x39] = { evm_env_codecopy, 3, 0, 3 },
	[0x3a] = { evm_env_zero, 0, 1, 2 }, /* GASPRICE */
	[0x3b] = { evm_env_extcodesize, 1, 1, 0 },
	[0x3c] = { evm_env_extcodecopy, 4, 0, 0 },
	[0x3d] = { evm_env_returndatasize, 0, 1, 2 },
	[0x3e] = { evm_env_returndatacopy, 3, 0, 3 },
	[0x3f] = { evm_env_extcodehash, 1, 1, 0 },
	[0x40] = { evm_env_blockhash, 1, 1, 20 },
	[0x41] = { evm_env_coinbase, 0, 1, 2 },
	[0x42] = { evm_env_timestamp, 0, 1, 2 },
	[0x43] = { evm_env_number, 0, 1, 2 },
	[0x44] = { evm_env_prevrandao, 0, 1, 2 },
	[0x45] = { evm_env_gaslimit, 0, 1, 2 },
	[0x46] = { evm_env_chainid, 0, 1, 2 },
	[0x47] = { evm_env_selfbalance, 0, 1, 5 },
	[0x48] = { evm_env_basefee, 0, 1, 2 },
	[0x49] = { evm_env_blobhash, 1, 1, 3 },
	[0x50] = { op_pop, 1, 0, 2 },
	[0x51] = { op_mload, 1, 1, 3 },
	[0x52] = { op_mstore, 2, 0, 3 },
	[0x53] = { op_mstore8, 2, 0, 3 },
	[0x54] = { evm_env_sload, 1, 1, 0 },
	[0x55] = { evm_env_write, 2, 0, 0 }, /* SSTORE */
	[0x56] = { op_jump, 1, 0, 8 },
	[0x57] = { op_jumpi, 2, 0, 10 },
	[0x58] = { op_pc, 0, 1, 2 },
	[0x59] = { op_msize, 0, 1, 2 },
	[0x5a] = { op_gas, 0, 1, 2 },
	[0x5b] = { op_jumpdest, 0, 0, 1 },
	[0x5c] = { evm_env_tload, 1, 1, 100 },
	[0x5d] = { evm_env_tstore, 2, 0, 100 },
	[0x5e] = { op_mcopy, 3, 0, 3 },
	[0x5f] = { op_push, 0, 1, 2 },
	[0xa0] = { op_log, 2, 0, 375 },
	[0xa1] = { op_log, 3, 0, 750 },
	[0xa2] = { op_log, 4, 0, 1125 },
	[0xa3] = { op_log, 5, 0, 1500 },
	[0xa4] = { op_log, 6, 0, 1875 },
	[0xf0] = { evm_env_write, 3, 1, 0 }, /* CREATE */
	[0xf1] = { evm_call_op, 7, 1, 0 }, /* CALL */
	[0xf2] = { evm_call_op, 7, 1, 0 }, /* CALLCODE */
	[0xf3] = { op_return, 2, 0, 0 },
	[0xf4] = { evm_call_op, 6, 1, 0 }, /* DELEGATECALL */
	[0xf5] = { evm_env_write, 4, 1, 0 }, /* CREATE2 */
	[0xfa] = { evm_call_op, 6, 1, 0 }, /* STATICCALL */
	[0xfd] = { op_revert, 2, 0, 0 },
	[0xfe] = { op_invalid, 0, 0, 0 },
	[0xff] = { evm_env_write, 1, 0, 0 }, /* SELFDESTRUCT */
};
/* clang-format on */

/* PUSH, DUP and SWAP are families; so are those that nobody knows. */
static struct instruction
instruction(uint8_t op)
{
	if (table[op].run != NULL)
		return table[op];
	if (op >= 0x60 && op <= 0x7f)
		return (struct instruction){ op_push, 0, 1, 3 };
	if (op >= 0x80 && op <= 0x8f)
		return (struct instruction){ op_dup, (uint8_t)(op - 0x7f),
			(uint8_t)(op - 0x7e), 3 };
	if (op >= 0x90 && op <= 0x9f)
		return (struct instruction){ op_swap, (uint8_t)(op - 0x8e),
			(uint8_t)(op - 0x8e), 3 };
	return (struct instruction){ op_undefined, 0, 0, 0 };
}

enum evm_step
evm_op(struct evm_run *r)
{
	struct evm_frame *f = r->top;
	/* Behind the end of the code there is STOP. */
	uint8_t op = f->pc < f->code.len ? f->code.p[f->pc++] : 0;
	struct instruction i = instruction(op);
	size_t after;
	enum evm_step step;

	if (f->n_stack < i.pops)
		return EVM_STEP_FAIL;
	after = f->n_stack - i.pops + i.pushes;
	if (after > EVM_STACK_MAX)
		return EVM_STEP_FAIL;
	if ((step = evm_frame_stack(r, f, after)) != EVM_STEP_NEXT)
		return step;
	if ((step = evm_frame_gas(f, i.gas)) != EVM_STEP_NEXT)
		return step;
	return i.run(r, f, op);
}
