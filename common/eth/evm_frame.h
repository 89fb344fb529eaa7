/* evm_frame: a run in progress: its frames, their stacks, memory and gas.
 *
 * Only for evm*.c.  A frame is a contract that executes; it waits while one
 * that it called is on top.  Frames are on the heap, each pointing to the
 * one that called it. */
#ifndef COMMON_ETH_EVM_FRAME_H
#define COMMON_ETH_EVM_FRAME_H

#include "common/eth/evm.h"
#include "common/eth/evm_journal.h"

#define EVM_STACK_MAX 1024u
/* Frames below the first one; a call from the last one fails. */
#define EVM_DEPTH_MAX 1024u

/* What an instruction says of the frame, or of the whole run. */
enum MUST_CHECK evm_step {
	EVM_STEP_NEXT, /* go on, with whatever frame is on top now */
	EVM_STEP_RETURN, /* the frame ends, `result` is its answer */
	EVM_STEP_REVERT, /* the same, and what it did is undone */
	EVM_STEP_FAIL, /* the frame ends, its gas is gone */
	/* The run ends. */
	EVM_STEP_REFUSE,
	EVM_STEP_MISSING,
	EVM_STEP_NOMEM,
};

struct evm_code {
	uint8_t address[20];
	struct bytes code; /* borrows from evm_state */
	uint8_t *dests; /* owns; a bit for each JUMPDEST; NULL: not run yet */
};

struct evm_frame {
	struct evm_frame *up; /* who called; owns nothing of it */
	/* What executes, for whom. */
	struct bytes code;
	const uint8_t *dests; /* borrows from evm_code */
	struct bytes input; /* borrows: memory of `up`, or the call's data */
	uint8_t self[20];
	uint8_t caller[20];
	bool is_static;
	/* Where it is. */
	size_t pc;
	uint64_t gas;
	struct u256 *stack; /* owns */
	size_t n_stack;
	size_t stack_cap;
	uint8_t *mem; /* owns */
	size_t mem_len; /* whole words */
	size_t mem_cap;
	uint64_t mem_gas; /* paid for mem_len */
	struct buf returned; /* owns; by the last call it made */
	/* How it ends. */
	struct evm_mark mark;
	size_t out_at; /* in the memory of `up` */
	size_t out_len;
	struct bytes result; /* borrows from `mem` */
};

struct evm_run {
	const struct evm_call *call;
	const struct evm_block *block;
	const struct evm_state *state;
	struct evm_missing missing;
	struct evm_frame *top;
	size_t depth; /* of `top`; the first frame has 0 */
	struct evm_journal journal;
	struct evm_code *codes; /* owns */
	size_t n_codes;
	size_t codes_cap;
	size_t memory; /* bytes in all frames */
	uint64_t steps;
};

void evm_run_fini(struct evm_run *r);

/* evm_frame_push makes a frame for `code` the top one; the caller fills in
 * the rest.  REFUSE, NOMEM. */
enum evm_step evm_frame_push(struct evm_run *r, const struct evm_code *code);
/* evm_frame_pop frees the top frame. */
void evm_frame_pop(struct evm_run *r);

/* evm_frame_gas: FAIL if there is not as much. */
enum evm_step evm_frame_gas(struct evm_frame *f, uint64_t gas);

/* evm_frame_mem makes bytes [off, off + len) part of the memory, charges
 * for it, and sets `at` and `n` to the same as numbers (0 and 0 if `len` is
 * zero, whatever `off` is).  FAIL, REFUSE, NOMEM. */
enum evm_step evm_frame_mem(struct evm_run *r, struct evm_frame *f, size_t *at,
    size_t *n, const struct u256 *off, const struct u256 *len);

/* evm_frame_stack makes room for `n` entries in all, at most EVM_STACK_MAX.
 * REFUSE, NOMEM. */
enum evm_step evm_frame_stack(struct evm_run *r, struct evm_frame *f, size_t n);

/* evm_frame_returned replaces the return data.  REFUSE, NOMEM. */
enum evm_step evm_frame_returned(
    struct evm_run *r, struct evm_frame *f, struct bytes data);

/* evm_frame_code finds the code of an account, asking for it the first
 * time; with `runs` also its jump destinations, and code that delegates to
 * other code (EIP-7702) is refused.  `out` borrows until the next call. */
enum evm_step evm_frame_code(struct evm_run *r, const struct evm_code **out,
    const uint8_t address[static 20], bool runs);

/* evm_frame_account asks for an account. */
enum evm_step evm_frame_account(struct evm_run *r, struct evm_account *out,
    const uint8_t address[static 20]);
enum evm_step evm_frame_storage(
    struct evm_run *r, struct u256 *out, const struct u256 *slot);

/* evm_frame_touch charges for an access to an account, EIP-2929: 100 or
 * 2600.  REFUSE for addresses whose meaning depends on the fork. */
enum evm_step evm_frame_touch(
    struct evm_run *r, struct evm_frame *f, const uint8_t address[static 20]);
/* The number of a reserved address (precompiles and what may become one),
 * 0 for all others. */
unsigned evm_frame_reserved(const uint8_t address[static 20]);

/* evm_frame_limit: what an error of evm_journal means for the run. */
enum evm_step evm_frame_limit(enum err e);

/* The stack; that there is enough has been checked. */
static inline struct u256 *
evm_frame_pop1(struct evm_frame *f)
{
	return &f->stack[--f->n_stack];
}

static inline struct u256 *
evm_frame_peek(struct evm_frame *f)
{
	return &f->stack[f->n_stack - 1];
}

static inline void
evm_frame_push1(struct evm_frame *f, struct u256 v)
{
	f->stack[f->n_stack++] = v;
}

/* The low 20 bytes of a word. */
static inline void
evm_frame_address(uint8_t out[static 20], const struct u256 *v)
{
	uint8_t be[32];

	u256_to_be(be, v);
	for (size_t i = 0; i < 20; i++)
		out[i] = be[12 + i];
}

#define EVM_WORDS(n) (((uint64_t)(n) + 31) / 32)

#endif
