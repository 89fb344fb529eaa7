#include <assert.h>
#include <string.h>

#include "tests/lib/evm_gen.h"

#define CODE_MAX 4000u
#define MEMORY 640u

enum {
	EXP = 0x0a,
	POP = 0x50,
	MSTORE = 0x52,
	JUMP = 0x56,
	JUMPI = 0x57,
	GAS = 0x5a,
	JUMPDEST = 0x5b,
	PUSH0 = 0x5f,
	PUSH1 = 0x60,
	PUSH2 = 0x61,
	PUSH20 = 0x73,
	DUP1 = 0x80,
	SWAP1 = 0x90,
};

/* A program in the making: how many words are on the stack, and above which
 * of them the current block must stay. */
struct program {
	struct evm_gen *g;
	struct buf *out;
	size_t depth;
	size_t floor;
	unsigned nesting;
};

uint64_t
evm_gen_next(struct evm_gen *g)
{
	uint64_t z = g->seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t
below(struct program *p, uint64_t n)
{
	return evm_gen_next(p->g) % n;
}

static void
bytes(struct program *p, const void *v, size_t len)
{
	enum err e = buf_append(p->out, v, len, 1u << 16);

	assert(e == ERR_OK);
}

static void
op(struct program *p, unsigned v)
{
	uint8_t b = (uint8_t)v;

	bytes(p, &b, 1);
}

static void
push(struct program *p, uint64_t v)
{
	uint8_t be[8];
	size_t n = 0;

	for (uint64_t left = v; left > 0; left >>= 8)
		n++;
	for (size_t i = 0; i < n; i++)
		be[i] = (uint8_t)(v >> 8 * (n - 1 - i));
	op(p, (unsigned)(PUSH0 + n));
	bytes(p, be, n);
	p->depth++;
}

/* Numbers at which something changes, mostly. */
static void
push_any(struct program *p)
{
	static const uint16_t edge[] = { 0, 1, 2, 3, 7, 8, 30, 31, 32, 33, 63,
		64, 127, 128, 254, 255, 256, 257, 1023, 1024, 0xffff };
	uint8_t v[32];
	size_t n = 1 + (size_t)below(p, 32);

	switch (below(p, 6)) {
	case 0:
	case 1:
		push(p, edge[below(p, sizeof edge / sizeof edge[0])]);
		return;
	case 2:
		memset(v, 0xff, sizeof v);
		v[below(p, n)] = (uint8_t)below(p, 256);
		break;
	case 3:
		memset(v, 0, sizeof v);
		v[below(p, n)] = (uint8_t)(1u << below(p, 8));
		break;
	default:
		for (size_t i = 0; i < n; i++)
			v[i] = (uint8_t)below(p, 256);
		break;
	}
	op(p, (unsigned)(PUSH0 + n));
	bytes(p, v, n);
	p->depth++;
}

static void
need(struct program *p, size_t n)
{
	while (p->depth - p->floor < n)
		push_any(p);
}

static void
push_address(struct program *p)
{
	switch (below(p, 8)) {
	case 0:
		push(p, 1 + below(p, 4)); /* a precompile */
		return;
	case 1:
		op(p, (unsigned[]){ 0x30, 0x32, 0x33, 0x41 }[below(p, 4)]);
		p->depth++;
		return;
	case 2:
		if (below(p, 8) == 0) {
			push_any(p);
			return;
		}
		break;
	default:
		break;
	}
	op(p, PUSH20);
	bytes(p, p->g->target[below(p, p->g->n_targets)], 20);
	p->depth++;
}

/* Lengths first, so that offsets are on top. */
static void
push_range(struct program *p)
{
	push(p, below(p, 4) == 0 ? 0 : below(p, 100));
	push(p, below(p, 400) == 0 ? below(p, 1u << 20) : below(p, MEMORY));
}

static void
arithmetic(struct program *p)
{
	static const uint8_t two[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
		0x0b, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1a,
		0x1b, 0x1c, 0x1d, EXP };

	switch (below(p, 8)) {
	case 0:
		need(p, 3);
		op(p, (unsigned)(0x08 + below(p, 2)));
		p->depth -= 2;
		break;
	case 1:
		need(p, 1);
		op(p, below(p, 2) == 0 ? 0x15 : 0x19);
		break;
	default:
		need(p, 2);
		op(p, two[below(p, sizeof two)]);
		p->depth--;
		break;
	}
}

static void
stack(struct program *p)
{
	size_t have = p->depth - p->floor;
	size_t n;

	if (have == 0 || below(p, 3) == 0) {
		push_any(p);
		return;
	}
	n = (size_t)below(p, have < 16 ? have : 16);
	if (below(p, 3) == 0) {
		op(p, POP);
		p->depth--;
	} else if (below(p, 2) == 0 || n == 0) {
		op(p, (unsigned)(DUP1 + n));
		p->depth++;
	} else {
		op(p, (unsigned)(SWAP1 + n - 1));
	}
}

static void
memory(struct program *p)
{
	switch (below(p, 6)) {
	case 0:
		push(p, below(p, MEMORY));
		op(p, 0x51);
		break;
	case 1:
		need(p, 1);
		push(p, below(p, MEMORY));
		op(p, MSTORE);
		p->depth -= 2;
		break;
	case 2:
		need(p, 1);
		push(p, below(p, MEMORY));
		op(p, 0x53);
		p->depth -= 2;
		break;
	case 3:
		push_range(p);
		op(p, 0x20);
		p->depth--;
		break;
	case 4:
		push_range(p);
		push(p, below(p, MEMORY));
		op(p, 0x5e);
		p->depth -= 3;
		break;
	default:
		op(p, 0x59);
		p->depth++;
		break;
	}
}

static void
copy(struct program *p)
{
	static const uint8_t which[] = { 0x37, 0x39, 0x3c, 0x3e };
	unsigned c = which[below(p, sizeof which)];

	if (c == 0x3e && below(p, 8) != 0) {
		/* All that was returned, to somewhere. */
		op(p, 0x3d);
		p->depth++;
		push(p, 0);
		push(p, below(p, MEMORY));
	} else {
		push(p, below(p, 80));
		if (below(p, 6) == 0)
			push_any(p);
		else
			push(p, below(p, 200));
		push(p, below(p, MEMORY));
	}
	if (c == 0x3c) {
		push_address(p);
		p->depth--;
	}
	op(p, c);
	p->depth -= 3;
}

static void
environment(struct program *p)
{
	static const uint8_t none[] = { 0x30, 0x32, 0x33, 0x34, 0x36, 0x38,
		0x3a, 0x3d, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
		0x58, 0x59, GAS };

	switch (below(p, 6)) {
	case 0:
		push_address(p);
		op(p, (unsigned[]){ 0x31, 0x3b, 0x3f }[below(p, 3)]);
		break;
	case 1:
		push(p, below(p, 80));
		op(p, 0x35);
		break;
	case 2:
		push(p, 1);
		op(p, 0x43);
		op(p, 0x03);
		op(p, 0x40);
		break;
	case 3:
		need(p, 1);
		op(p, 0x49);
		break;
	default:
		op(p, none[below(p, sizeof none)]);
		p->depth++;
		break;
	}
}

static void
storage(struct program *p)
{
	switch (below(p, 5)) {
	case 0:
		push(p, below(p, 4));
		op(p, 0x5c);
		break;
	case 1:
		need(p, 1);
		push(p, below(p, 4));
		op(p, 0x5d);
		p->depth -= 2;
		break;
	default:
		push(p, below(p, 8));
		op(p, 0x54);
		break;
	}
}

static void
call(struct program *p)
{
	static const uint8_t which[] = { 0xf1, 0xf2, 0xf4, 0xfa, 0xfa };
	unsigned c = which[below(p, sizeof which)];

	push_range(p); /* out */
	push_range(p); /* in */
	if (c == 0xf1 || c == 0xf2)
		push(p, below(p, 200) == 0);
	push_address(p);
	if (below(p, 4) != 0) {
		op(p, GAS);
		p->depth++;
	} else {
		push(p, below(p, 100000));
	}
	op(p, c);
	p->depth -= c == 0xf1 || c == 0xf2 ? 6 : 5;
}

static void
log_it(struct program *p)
{
	size_t topics = (size_t)below(p, 5);

	need(p, topics);
	push_range(p);
	op(p, (unsigned)(0xa0 + topics));
	p->depth -= topics + 2;
}

static void block(struct program *p, unsigned n);

/* PUSH2 of a place that is not known yet; returns where to write it. */
static size_t
push_label(struct program *p)
{
	bytes(p, "\x61\0\0", 3);
	p->depth++;
	return p->out->len - 2;
}

static void
label(struct program *p, size_t use)
{
	p->out->p[use] = (uint8_t)(p->out->len >> 8);
	p->out->p[use + 1] = (uint8_t)p->out->len;
	op(p, JUMPDEST);
}

/* A block that leaves the stack as it found it. */
static void
neutral(struct program *p, unsigned n)
{
	size_t depth = p->depth, floor = p->floor;

	p->floor = depth;
	block(p, n);
	while (p->depth > depth) {
		op(p, POP);
		p->depth--;
	}
	p->floor = floor;
}

static void
branch(struct program *p)
{
	size_t use;

	need(p, 1);
	use = push_label(p);
	op(p, JUMPI);
	p->depth -= 2;
	neutral(p, 4);
	label(p, use);
}

static void
loop(struct program *p)
{
	size_t back;

	push(p, 1 + below(p, 12));
	back = p->out->len;
	op(p, JUMPDEST);
	neutral(p, 5);
	/* counter - 1, again unless zero */
	push(p, 1);
	op(p, SWAP1);
	op(p, 0x03);
	op(p, DUP1);
	op(p, PUSH2);
	op(p, (unsigned)(back >> 8));
	op(p, (unsigned)back);
	op(p, JUMPI);
	p->depth--;
}

/* Whatever: what should not work, and what is not served. */
static void
anything(struct program *p)
{
	switch (below(p, 30)) {
	case 0:
		op(p, (unsigned)below(p, 256));
		break;
	case 1:
		push(p, below(p, 500));
		op(p, JUMP);
		p->depth--;
		break;
	case 2:
		need(p, 2);
		op(p, 0x55);
		p->depth -= 2;
		break;
	case 3:
		need(p, 2);
		op(p, (unsigned[]){ 0xf3, 0xfd, MSTORE, 0x20 }[below(p, 4)]);
		break;
	case 4:
		op(p, 0xfe);
		break;
	default:
		need(p, 3);
		break;
	}
}

static void
statement(struct program *p)
{
	uint64_t what = below(p, 100);

	if (what < 30)
		arithmetic(p);
	else if (what < 42)
		stack(p);
	else if (what < 57)
		memory(p);
	else if (what < 63)
		copy(p);
	else if (what < 73)
		environment(p);
	else if (what < 79)
		storage(p);
	else if (what < 87)
		call(p);
	else if (what < 89)
		log_it(p);
	else if (what < 98 && p->nesting < 3)
		what % 2 == 0 ? branch(p) : loop(p);
	else
		anything(p);
}

static void
block(struct program *p, unsigned n)
{
	p->nesting++;
	for (uint64_t i = 1 + below(p, n); i > 0; i--)
		if (p->out->len < CODE_MAX && p->depth < 1000)
			statement(p);
	p->nesting--;
}

void
evm_gen_program(struct evm_gen *g, struct buf *out)
{
	struct program p = { .g = g, .out = out };

	out->len = 0;
	block(&p, 60);
	/* The stack is what it has to say, in memory behind the rest. */
	for (size_t i = 0; p.depth > 0 && i < 24; i++) {
		push(&p, MEMORY + 32 * i);
		op(&p, MSTORE);
		p.depth -= 2;
	}
	if (below(&p, 10) == 0)
		return;
	push(&p, below(&p, 2) == 0 ? 64 : MEMORY + 24 * 32);
	push(&p, below(&p, 2) == 0 ? 0 : below(&p, MEMORY));
	op(&p, below(&p, 6) == 0 ? 0xfd : 0xf3);
}
