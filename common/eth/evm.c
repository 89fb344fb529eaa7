#include <string.h>

#include "common/eth/evm_call.h"
#include "common/eth/evm_op.h"
#include "common/eth/evm_precompile.h"

/* Yellow Paper appendix G: a transaction, and its data by the byte. */
#define GAS_TRANSACTION 21000
#define GAS_DATA_ZERO 4
#define GAS_DATA 16

static uint64_t
intrinsic_gas(struct bytes data)
{
	uint64_t gas = GAS_TRANSACTION;

	for (size_t i = 0; i < data.len && gas <= EVM_GAS_MAX; i++)
		gas += data.p[i] == 0 ? GAS_DATA_ZERO : GAS_DATA;
	return gas;
}

/* EIP-2929 and EIP-3651: these three are warm from the start. */
static enum evm_step
warm_up(struct evm_run *r)
{
	const uint8_t *address[3] = { r->call->from, r->call->to,
		r->block->coinbase };
	const struct u256 none = { 0 };
	enum err e = ERR_OK;
	bool was;

	for (size_t i = 0; i < 3 && e == ERR_OK; i++)
		e = evm_journal_warm(
		    &r->journal, &was, EVM_TOUCH_ACCOUNT, address[i], &none);
	return evm_frame_limit(e);
}

static enum evm_step
first_frame(struct evm_run *r, uint64_t gas)
{
	const struct evm_code *code = NULL;
	enum evm_step step = warm_up(r);

	if (step == EVM_STEP_NEXT)
		step = evm_frame_code(r, &code, r->call->to, true);
	if (step == EVM_STEP_NEXT)
		step = evm_frame_push(r, code);
	if (step != EVM_STEP_NEXT)
		return step;
	r->top->gas = gas;
	r->top->input = r->call->data;
	memcpy(r->top->self, r->call->to, sizeof r->top->self);
	memcpy(r->top->caller, r->call->from, sizeof r->top->caller);
	return EVM_STEP_NEXT;
}

/* Runs until the first frame ends, or the run does. */
static enum evm_step
run(struct evm_run *r)
{
	enum evm_step step = EVM_STEP_NEXT;

	while (step == EVM_STEP_NEXT) {
		if (++r->steps > EVM_STEPS_MAX)
			return EVM_STEP_REFUSE;
		step = evm_op(r);
		if (r->depth > 0 &&
		    (step == EVM_STEP_RETURN || step == EVM_STEP_REVERT ||
			step == EVM_STEP_FAIL))
			step = evm_call_done(r, step);
	}
	return step;
}

/* The whole call: how it ends, its answer, borrowed from `r` or `space`, and
 * what is left of `gas`. */
static enum evm_step
execute(struct evm_run *r, struct bytes *data, uint8_t space[static 32],
    uint64_t *gas)
{
	unsigned number = evm_frame_reserved(r->call->to);
	enum evm_step step;

	if (number != 0)
		return evm_precompile(data, space, gas, number, r->call->data);
	if ((step = first_frame(r, *gas)) == EVM_STEP_NEXT)
		step = run(r);
	if (r->top != NULL) {
		*data = r->top->result;
		*gas = r->top->gas;
	}
	return step;
}

static enum evm_outcome
outcome(enum evm_step step)
{
	switch (step) {
	case EVM_STEP_RETURN:
		return EVM_RETURNED;
	case EVM_STEP_REVERT:
		return EVM_REVERTED;
	case EVM_STEP_FAIL:
		return EVM_FAILED;
	case EVM_STEP_MISSING:
		return EVM_MISSING;
	case EVM_STEP_NOMEM:
		return EVM_NOMEM;
	case EVM_STEP_NEXT:
	case EVM_STEP_REFUSE:
		break;
	}
	return EVM_UNSUPPORTED;
}

enum evm_outcome
evm_run(struct buf *out, struct evm_missing *missing, const struct evm_call *c,
    const struct evm_block *b, const struct evm_state *s, uint64_t *gas_used)
{
	struct evm_run r = { .call = c, .block = b, .state = s };
	uint64_t gas = intrinsic_gas(c->data);
	struct bytes data = { 0 };
	enum evm_outcome o;
	uint8_t space[32];

	if (c->gas > EVM_GAS_MAX)
		return EVM_UNSUPPORTED;
	if (gas > c->gas) {
		o = EVM_FAILED;
		gas = 0;
		goto done;
	}
	gas = c->gas - gas;
	evm_journal_init(&r.journal);
	o = outcome(execute(&r, &data, space, &gas));
	if (o == EVM_RETURNED || o == EVM_REVERTED) {
		if (data.len > c->max_return)
			o = EVM_UNSUPPORTED;
		else if (buf_set(out, data.p, data.len) != ERR_OK)
			o = EVM_NOMEM;
	} else if (o == EVM_FAILED) {
		gas = 0;
	} else if (o == EVM_MISSING) {
		*missing = r.missing;
	}
	evm_run_fini(&r);
done:
	if (gas_used != NULL &&
	    (o == EVM_RETURNED || o == EVM_REVERTED || o == EVM_FAILED))
		*gas_used = c->gas - gas;
	return o;
}
