#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/eth/evm_frame.h"

/* No gas of ours buys as much memory (3 a word, and the square by 512), so
 * that sizes above it are just too expensive. */
#define ADDRESSABLE ((uint64_t)1 << 32)
static_assert((ADDRESSABLE / 32) * (ADDRESSABLE / 32) / 512 > EVM_GAS_MAX,
    "an offset could be paid for");

#define GAS_COLD_ACCOUNT 2600
#define GAS_WARM 100
#define PRECOMPILES_LAST 0x11 /* Prague */
#define RESERVED_LAST 0x1ff

static enum evm_step
take_memory(struct evm_run *r, size_t n)
{
	if (n > EVM_MEMORY_MAX - r->memory)
		return EVM_STEP_REFUSE;
	r->memory += n;
	return EVM_STEP_NEXT;
}

enum evm_step
evm_frame_limit(enum err e)
{
	if (e == ERR_OK)
		return EVM_STEP_NEXT;
	return e == ERR_NOMEM ? EVM_STEP_NOMEM : EVM_STEP_REFUSE;
}

enum evm_step
evm_frame_push(struct evm_run *r, const struct evm_code *code)
{
	struct evm_frame *f;
	enum evm_step step;

	if ((step = take_memory(r, sizeof *f)) != EVM_STEP_NEXT)
		return step;
	if ((f = calloc(1, sizeof *f)) == NULL)
		return EVM_STEP_NOMEM;
	f->code = code->code;
	f->dests = code->dests;
	f->mark = evm_journal_mark(&r->journal);
	f->up = r->top;
	r->depth += r->top != NULL;
	r->top = f;
	return EVM_STEP_NEXT;
}

void
evm_frame_pop(struct evm_run *r)
{
	struct evm_frame *f = r->top;

	r->memory -= sizeof *f + f->stack_cap * sizeof f->stack[0] +
	    f->mem_cap + f->returned.len;
	r->top = f->up;
	r->depth -= r->top != NULL;
	free(f->stack);
	free(f->mem);
	buf_fini(&f->returned);
	free(f);
}

void
evm_run_fini(struct evm_run *r)
{
	while (r->top != NULL)
		evm_frame_pop(r);
	for (size_t i = 0; i < r->n_codes; i++)
		free(r->codes[i].dests);
	free(r->codes);
	evm_journal_fini(&r->journal);
}

enum evm_step
evm_frame_gas(struct evm_frame *f, uint64_t gas)
{
	if (gas > f->gas)
		return EVM_STEP_FAIL;
	f->gas -= gas;
	return EVM_STEP_NEXT;
}

/* Whole words, zeroed. */
static enum evm_step
grow(struct evm_run *r, struct evm_frame *f, size_t len)
{
	size_t cap = f->mem_cap < 256 ? 256 : 2 * f->mem_cap;
	enum evm_step step;
	uint8_t *mem;

	if (len > f->mem_cap) {
		if (cap < len)
			cap = len;
		step = take_memory(r, cap - f->mem_cap);
		if (step != EVM_STEP_NEXT)
			return step;
		if ((mem = realloc(f->mem, cap)) == NULL) {
			r->memory -= cap - f->mem_cap;
			return EVM_STEP_NOMEM;
		}
		f->mem = mem;
		f->mem_cap = cap;
	}
	memset(f->mem + f->mem_len, 0, len - f->mem_len);
	f->mem_len = len;
	return EVM_STEP_NEXT;
}

enum evm_step
evm_frame_mem(struct evm_run *r, struct evm_frame *f, size_t *at, size_t *n,
    const struct u256 *off, const struct u256 *len)
{
	uint64_t first, size, words, gas;
	enum evm_step step;

	*at = *n = 0;
	if (u256_is_zero(len))
		return EVM_STEP_NEXT;
	if (!u256_u64(&first, off) || !u256_u64(&size, len) ||
	    first > ADDRESSABLE || size > ADDRESSABLE)
		return EVM_STEP_FAIL;
	words = EVM_WORDS(first + size);
	if (words * 32 > f->mem_len) {
		gas = 3 * words + words * words / 512;
		step = evm_frame_gas(f, gas - f->mem_gas);
		if (step != EVM_STEP_NEXT)
			return step;
		f->mem_gas = gas;
		if ((step = grow(r, f, (size_t)words * 32)) != EVM_STEP_NEXT)
			return step;
	}
	*at = (size_t)first;
	*n = (size_t)size;
	return EVM_STEP_NEXT;
}

enum evm_step
evm_frame_stack(struct evm_run *r, struct evm_frame *f, size_t n)
{
	size_t cap = f->stack_cap == 0 ? 32 : 2 * f->stack_cap;
	struct u256 *stack;
	enum evm_step step;

	if (n <= f->stack_cap)
		return EVM_STEP_NEXT;
	step = take_memory(r, (cap - f->stack_cap) * sizeof *stack);
	if (step != EVM_STEP_NEXT)
		return step;
	if ((stack = realloc(f->stack, cap * sizeof *stack)) == NULL) {
		r->memory -= (cap - f->stack_cap) * sizeof *stack;
		return EVM_STEP_NOMEM;
	}
	f->stack = stack;
	f->stack_cap = cap;
	return EVM_STEP_NEXT;
}

enum evm_step
evm_frame_returned(struct evm_run *r, struct evm_frame *f, struct bytes data)
{
	enum evm_step step;
	struct buf copy = { 0 };

	r->memory -= f->returned.len;
	buf_fini(&f->returned);
	if (data.len == 0)
		return EVM_STEP_NEXT;
	if ((step = take_memory(r, data.len)) != EVM_STEP_NEXT)
		return step;
	if (buf_set(&copy, data.p, data.len) != ERR_OK) {
		r->memory -= data.len;
		return EVM_STEP_NOMEM;
	}
	f->returned = copy;
	return EVM_STEP_NEXT;
}

/* What an answer of evm_state means. */
static enum evm_step
answered(struct evm_run *r, enum err e, const uint8_t address[static 20],
    const uint8_t *slot)
{
	if (e != ERR_NOTFOUND)
		return evm_frame_limit(e);
	memcpy(r->missing.address, address, sizeof r->missing.address);
	memset(r->missing.slot, 0, sizeof r->missing.slot);
	if (slot != NULL)
		memcpy(r->missing.slot, slot, sizeof r->missing.slot);
	return EVM_STEP_MISSING;
}

/* A byte that PUSH takes as data is no instruction. */
static uint8_t *
find_dests(struct bytes code)
{
	uint8_t *dests = calloc(code.len / 8 + 1, 1);

	if (dests == NULL)
		return NULL;
	for (size_t i = 0; i < code.len; i++) {
		if (code.p[i] == 0x5b)
			dests[i / 8] |= (uint8_t)(1u << i % 8);
		else if (code.p[i] >= 0x60 && code.p[i] <= 0x7f)
			i += code.p[i] - 0x5fu;
	}
	return dests;
}

static enum evm_step
add_code(struct evm_run *r, const uint8_t address[static 20])
{
	size_t cap = r->codes_cap == 0 ? 8 : 2 * r->codes_cap;
	struct evm_code c = { 0 }, *codes;
	enum evm_step step;

	if (r->n_codes == EVM_CODES_MAX)
		return EVM_STEP_REFUSE;
	r->missing.what = EVM_MISSING_CODE;
	step = answered(r, r->state->code(r->state->cookie, &c.code, address),
	    address, NULL);
	if (step != EVM_STEP_NEXT)
		return step;
	if (c.code.len > EVM_CODE_MAX)
		return EVM_STEP_REFUSE;
	if (r->n_codes == r->codes_cap) {
		codes = realloc(r->codes, cap * sizeof *codes);
		if (codes == NULL)
			return EVM_STEP_NOMEM;
		r->codes = codes;
		r->codes_cap = cap;
	}
	memcpy(c.address, address, sizeof c.address);
	r->codes[r->n_codes++] = c;
	return EVM_STEP_NEXT;
}

static bool
delegates(struct bytes code)
{
	return code.len == 23 && code.p[0] == 0xef && code.p[1] == 0x01 &&
	    code.p[2] == 0x00;
}

enum evm_step
evm_frame_code(struct evm_run *r, const struct evm_code **out,
    const uint8_t address[static 20], bool runs)
{
	struct evm_code *c;
	enum evm_step step;
	size_t i = 0;

	while (i < r->n_codes && memcmp(r->codes[i].address, address, 20) != 0)
		i++;
	if (i == r->n_codes && (step = add_code(r, address)) != EVM_STEP_NEXT)
		return step;
	c = &r->codes[i];
	if (runs && delegates(c->code))
		return EVM_STEP_REFUSE;
	if (runs && c->dests == NULL) {
		uint8_t *dests = find_dests(c->code);

		if (dests == NULL)
			return EVM_STEP_NOMEM;
		c->dests = dests;
	}
	*out = c;
	return EVM_STEP_NEXT;
}

enum evm_step
evm_frame_account(struct evm_run *r, struct evm_account *out,
    const uint8_t address[static 20])
{
	r->missing.what = EVM_MISSING_ACCOUNT;
	return answered(r, r->state->account(r->state->cookie, out, address),
	    address, NULL);
}

enum evm_step
evm_frame_storage(struct evm_run *r, struct u256 *out, const struct u256 *slot)
{
	uint8_t key[32], value[32];
	enum evm_step step;

	u256_to_be(key, slot);
	r->missing.what = EVM_MISSING_SLOT;
	step = answered(r,
	    r->state->storage(r->state->cookie, value, r->top->self, key),
	    r->top->self, key);
	if (step == EVM_STEP_NEXT)
		*out = u256_from_be(value);
	return step;
}

unsigned
evm_frame_reserved(const uint8_t address[static 20])
{
	unsigned n = (unsigned)address[18] << 8 | address[19];

	for (size_t i = 0; i < 18; i++)
		if (address[i] != 0)
			return 0;
	return n <= RESERVED_LAST ? n : 0;
}

enum evm_step
evm_frame_touch(
    struct evm_run *r, struct evm_frame *f, const uint8_t address[static 20])
{
	const struct u256 none = { 0 };
	unsigned number = evm_frame_reserved(address);
	enum evm_step step;
	bool was = true;

	if (number > PRECOMPILES_LAST)
		return EVM_STEP_REFUSE;
	/* Precompiles are always warm. */
	if (number == 0) {
		step = evm_frame_limit(evm_journal_warm(
		    &r->journal, &was, EVM_TOUCH_ACCOUNT, address, &none));
		if (step != EVM_STEP_NEXT)
			return step;
	}
	return evm_frame_gas(f, was ? GAS_WARM : GAS_COLD_ACCOUNT);
}
