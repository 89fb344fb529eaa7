/* Gas: EIP-150 (all but one 64th), EIP-2929.  As no value moves there is
 * neither stipend nor the price of a new account. */
#include <string.h>

#include "common/eth/evm_call.h"
#include "common/eth/evm_precompile.h"

enum { CALL = 0xf1, CALLCODE = 0xf2, DELEGATECALL = 0xf4, STATICCALL = 0xfa };

/* One call, as its instruction asks for it. */
struct target {
	uint8_t op;
	uint8_t address[20]; /* whose code */
	uint64_t gas;
	size_t in_at, in_len;
	size_t out_at, out_len;
};

/* The caller's part of the end of a call. */
static enum evm_step
answer(struct evm_run *r, struct evm_frame *f, size_t out_at, size_t out_len,
    struct bytes data, bool success)
{
	enum evm_step step = evm_frame_returned(r, f, data);
	size_t n = data.len < out_len ? data.len : out_len;

	if (step != EVM_STEP_NEXT)
		return step;
	/* `data` may lie in this very memory (identity), and overlap. */
	if (n > 0)
		memcpy(f->mem + out_at, f->returned.p, n);
	evm_frame_push1(f, u256_from_u64(success));
	return EVM_STEP_NEXT;
}

enum evm_step
evm_call_done(struct evm_run *r, enum evm_step how)
{
	struct evm_frame *child = r->top, *f = child->up;
	struct bytes data = { 0 };
	enum evm_step step;

	if (how != EVM_STEP_FAIL) {
		f->gas += child->gas;
		data = child->result;
	}
	if (how != EVM_STEP_RETURN)
		evm_journal_back(&r->journal, child->mark);
	step = answer(
	    r, f, child->out_at, child->out_len, data, how == EVM_STEP_RETURN);
	evm_frame_pop(r);
	return step;
}

static enum evm_step
precompile(struct evm_run *r, struct evm_frame *f, const struct target *t,
    unsigned number)
{
	struct bytes out = { 0 };
	uint8_t space[32];
	uint64_t gas = t->gas;
	enum evm_step step;

	step = evm_precompile(&out, space, &gas, number,
	    (struct bytes){
		t->in_len > 0 ? f->mem + t->in_at : NULL, t->in_len });
	if (step == EVM_STEP_RETURN)
		f->gas += gas;
	else if (step != EVM_STEP_FAIL)
		return step;
	return answer(
	    r, f, t->out_at, t->out_len, out, step == EVM_STEP_RETURN);
}

static enum evm_step
enter(struct evm_run *r, struct evm_frame *f, const struct target *t)
{
	const struct evm_code *code;
	struct evm_frame *child;
	enum evm_step step;

	step = evm_frame_code(r, &code, t->address, true);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_push(r, code);
	if (step != EVM_STEP_NEXT)
		return step;
	child = r->top;
	child->gas = t->gas;
	if (t->in_len > 0)
		child->input = (struct bytes){ f->mem + t->in_at, t->in_len };
	child->out_at = t->out_at;
	child->out_len = t->out_len;
	child->is_static = f->is_static || t->op == STATICCALL;
	memcpy(child->caller, t->op == DELEGATECALL ? f->caller : f->self,
	    sizeof child->caller);
	memcpy(child->self,
	    t->op == DELEGATECALL || t->op == CALLCODE ? f->self : t->address,
	    sizeof child->self);
	return EVM_STEP_NEXT;
}

/* Pops the arguments; the memory they name is there afterwards. */
static enum evm_step
arguments(struct evm_run *r, struct evm_frame *f, struct target *t)
{
	struct u256 gas = *evm_frame_pop1(f), to = *evm_frame_pop1(f);
	struct u256 value = { 0 }, in_at, in_len, out_at, out_len;
	enum evm_step step;
	uint64_t most;

	if (t->op == CALL || t->op == CALLCODE)
		value = *evm_frame_pop1(f);
	in_at = *evm_frame_pop1(f);
	in_len = *evm_frame_pop1(f);
	out_at = *evm_frame_pop1(f);
	out_len = *evm_frame_pop1(f);
	if (!u256_is_zero(&value))
		return f->is_static && t->op == CALL ? EVM_STEP_FAIL
						     : EVM_STEP_REFUSE;
	step = evm_frame_mem(r, f, &t->in_at, &t->in_len, &in_at, &in_len);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_mem(
		    r, f, &t->out_at, &t->out_len, &out_at, &out_len);
	evm_frame_address(t->address, &to);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_touch(r, f, t->address);
	if (step != EVM_STEP_NEXT)
		return step;
	most = f->gas - f->gas / 64;
	if (!u256_u64(&t->gas, &gas) || t->gas > most)
		t->gas = most;
	return EVM_STEP_NEXT;
}

enum evm_step
evm_call_op(struct evm_run *r, struct evm_frame *f, uint8_t op)
{
	struct target t = { .op = op };
	enum evm_step step = arguments(r, f, &t);
	unsigned number = evm_frame_reserved(t.address);

	if (step != EVM_STEP_NEXT)
		return step;
	if (r->depth == EVM_DEPTH_MAX)
		return answer(r, f, 0, 0, (struct bytes){ 0 }, false);
	f->gas -= t.gas;
	if (number != 0)
		return precompile(r, f, &t, number);
	step = evm_frame_returned(r, f, (struct bytes){ 0 });
	return step == EVM_STEP_NEXT ? enter(r, f, &t) : step;
}
