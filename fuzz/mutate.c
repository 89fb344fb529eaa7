/* mutate: see mutate.h. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/mutate_int.h"

#define NEW_BYTES 48u /* at most, of what is made from nothing */

/* libFuzzer's own, where it is linked. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max)
    __attribute__((weak));

/* ---- chance ---- */

uint64_t
mutate_any(struct mutate_random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 to n - 1; 0 if n is 0. */
size_t
mutate_below(struct mutate_random *r, size_t n)
{
	return n == 0 ? 0 : (size_t)(mutate_any(r) % n);
}

bool
mutate_one_in(struct mutate_random *r, size_t n)
{
	return mutate_below(r, n) == 0;
}

static struct mutate_random
random_of(const struct mutate_form *f, unsigned seed)
{
	struct mutate_random r = { .state = seed, .numbers = f->numbers };

	while (f->numbers != NULL && f->numbers[r.n_numbers] != 0)
		r.n_numbers++;
	return r;
}

/* A number that may matter: near 0, near a power of two, near one that the
 * target named, or any. */
uint64_t
mutate_number(struct mutate_random *r)
{
	uint64_t near = mutate_below(r, 3) - 1; /* -1, 0, 1 */

	switch (mutate_below(r, r->n_numbers > 0 ? 5 : 4)) {
	case 0:
		return mutate_below(r, 4);
	case 1:
		return ((uint64_t)1 << mutate_below(r, 64)) + near;
	case 2:
		return mutate_below(r, 256);
	case 3:
		return mutate_any(r);
	default:
		return r->numbers[mutate_below(r, r->n_numbers)] + near;
	}
}

/* A length: sizes of keys, hashes and signatures, and those beside them. */
size_t
mutate_length(struct mutate_random *r, size_t max)
{
	static const uint8_t usual[] = { 0, 1, 2, 8, 16, 20, 31, 32, 33, 64, 65,
		96 };
	size_t n = usual[mutate_below(r, sizeof usual)];

	if (r->n_numbers > 0 && mutate_one_in(r, 3))
		n = r->numbers[mutate_below(r, r->n_numbers)];
	if (n > 0 && mutate_one_in(r, 4))
		n += mutate_below(r, 3) - 1;
	if (mutate_one_in(r, 4))
		n = mutate_below(r, NEW_BYTES);
	return n < max ? n : max;
}

/* MUTATE_VALUE is as likely as all others together. */
enum mutate_change
mutate_change(struct mutate_random *r)
{
	return mutate_one_in(r, 2)
	    ? MUTATE_VALUE
	    : (enum mutate_change)mutate_below(r, MUTATE_VALUE);
}

/* ---- bytes ---- */

void
mutate_put(struct mutate_out *o, const void *p, size_t len)
{
	if (o->bad || o->cap - o->len < len) {
		o->bad = true;
		return;
	}
	if (len > 0)
		memcpy(o->p + o->len, p, len);
	o->len += len;
}

void
mutate_put_u8(struct mutate_out *o, uint8_t v)
{
	mutate_put(o, &v, 1);
}

static size_t
few_bytes(struct mutate_random *r, uint8_t *data, size_t size, size_t max)
{
	size_t at, n;

	switch (mutate_below(r, size > 0 ? 6 : 1)) {
	case 0: /* longer */
		n = mutate_length(r, max - size);
		for (at = size; at < size + n; at++)
			data[at] = (uint8_t)mutate_any(r);
		return size + n;
	case 1: /* shorter */
		at = mutate_below(r, size);
		n = 1 + mutate_below(r, size - at);
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 2: /* of a size that matters */
		n = mutate_length(r, max);
		for (at = size; at < n; at++)
			data[at] = (uint8_t)at;
		return n;
	case 3:
		data[mutate_below(r, size)] ^=
		    (uint8_t)(1u << mutate_below(r, 8));
		return size;
	case 4:
		data[mutate_below(r, size)] = (uint8_t)mutate_number(r);
		return size;
	default: /* a part of it, elsewhere in it */
		n = 1 + mutate_below(r, size < 32 ? size : 32);
		at = mutate_below(r, size - n + 1);
		memmove(data + mutate_below(r, size - n + 1), data + at, n);
		return size;
	}
}

/* In place; libFuzzer's way (which knows what was compared to what) or ours. */
static size_t
bytes_change(struct mutate_random *r, uint8_t *data, size_t size, size_t max)
{
	if (max == 0)
		return 0;
	if (LLVMFuzzerMutate != NULL && !mutate_one_in(r, 3))
		return LLVMFuzzerMutate(data, size, max);
	return few_bytes(r, data, size, max);
}

/* The same, of `in` to `o`. */
void
mutate_put_changed(
    struct mutate_out *o, struct mutate_random *r, struct mutate_span in)
{
	size_t room;

	if (o->bad || o->cap - o->len < in.len) {
		o->bad = true;
		return;
	}
	if (in.len > 0)
		memmove(o->p + o->len, in.p, in.len);
	/* Room that stays for what comes behind it. */
	room = (o->cap - o->len - in.len) / 2;
	if (room > 256)
		room = 256;
	o->len += bytes_change(r, o->p + o->len, in.len, in.len + room);
}

struct mutate_out
mutate_room(const struct mutate_out *o)
{
	size_t left = o->bad ? 0 : o->cap - o->len;

	/* A length has at most 5 bytes here. */
	return (struct mutate_out){ .p = malloc(left + 1),
		.cap = left > 5 ? left - 5 : 0 };
}

/* ---- lists ---- */

struct item {
	struct mutate_span all, body;
};

static bool
get_item(const struct mutate_form *f, struct item *out, struct mutate_span *in)
{
	const uint8_t *start = in->p;
	size_t head = f->prefix + f->length, len = 0;

	if (in->len == 0 || in->len < head)
		return false;
	for (size_t i = 0; i < f->length; i++)
		len = len << 8 | start[f->prefix + i];
	if (len > in->len - head)
		len = in->len - head;
	out->body = (struct mutate_span){ start + head, len };
	out->all = (struct mutate_span){ start, head + len };
	in->p += head + len;
	in->len -= head + len;
	return true;
}

/* The caller frees `*out`. */
static size_t
items_of(const struct mutate_form *f, struct item **out, struct mutate_span in)
{
	struct mutate_span rest = in;
	struct item one;
	size_t n = 0, i = 0;

	while (n < MUTATE_PARTS_MAX && get_item(f, &one, &rest))
		n++;
	if ((*out = malloc((n + 1) * sizeof one)) == NULL)
		return 0;
	while (i < n && get_item(f, &(*out)[i], &in))
		i++;
	return i;
}

static const ProtobufCMessageDescriptor *
message_at(const struct mutate_form *f, const uint8_t *at)
{
	return f->message != NULL ? f->message(at) : NULL;
}

static void
put_body(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, struct mutate_span in)
{
	if (d != NULL)
		mutate_put_message(o, r, d, in, 0);
	else
		mutate_put_changed(o, r, in);
}

/* An item with the head that is there already, and another body. */
static void
put_item_body(struct mutate_out *o, struct mutate_random *r,
    const struct mutate_form *f, const uint8_t *prefix, struct mutate_span in)
{
	struct mutate_out body = mutate_room(o);
	size_t max =
	    f->length >= 4 ? SIZE_MAX : ((size_t)1 << 8 * f->length) - 1;

	if (body.p == NULL)
		return;
	put_body(&body, r, message_at(f, prefix), in);
	if (body.len > max)
		body.len = max;
	for (size_t i = f->length; i > 0; i--)
		mutate_put_u8(o, (uint8_t)(body.len >> 8 * (i - 1)));
	o->bad = o->bad || body.bad;
	mutate_put(o, body.p, body.len);
	free(body.p);
}

static void
put_item(struct mutate_out *o, struct mutate_random *r,
    const struct mutate_form *f, const struct item *item)
{
	uint8_t prefix[64] = { 0 };

	memcpy(prefix, item->all.p, f->prefix);
	if (f->prefix > 0 && (f->length == 0 || mutate_one_in(r, 3)))
		prefix[mutate_below(r, f->prefix)] =
		    (uint8_t)(mutate_one_in(r, 2) ? mutate_below(r, 16)
						  : mutate_any(r));
	mutate_put(o, prefix, f->prefix);
	if (f->length > 0)
		put_item_body(o, r, f, prefix, item->body);
}

static void
put_new_item(
    struct mutate_out *o, struct mutate_random *r, const struct mutate_form *f)
{
	uint8_t prefix[64];

	for (size_t i = 0; i < f->prefix; i++)
		prefix[i] =
		    (uint8_t)(mutate_one_in(r, 3) ? mutate_any(r)
						  : mutate_below(r, 16));
	mutate_put(o, prefix, f->prefix);
	if (f->length > 0)
		put_item_body(o, r, f, prefix, (struct mutate_span){ 0 });
}

static void
put_list(struct mutate_out *o, struct mutate_random *r,
    const struct mutate_form *f, struct mutate_span in)
{
	struct item *item;
	size_t n = items_of(f, &item, in);
	size_t at = mutate_below(r, n), other = mutate_below(r, n);
	enum mutate_change what = n > 0 ? mutate_change(r) : MUTATE_INSERT;

	for (size_t i = 0; i < n; i++) {
		const struct item *is = &item[i];

		if (what == MUTATE_SWAP && (i == at || i == other))
			is = &item[at ^ other ^ i];
		if (what == MUTATE_INSERT && i == at)
			put_new_item(o, r, f);
		if (what == MUTATE_DROP && i == at)
			continue;
		if (what == MUTATE_VALUE && i == at)
			put_item(o, r, f, is);
		else
			mutate_put(o, is->all.p, is->all.len);
		if (what == MUTATE_TWICE && i == at)
			mutate_put(o, item[other].all.p, item[other].all.len);
	}
	/* More often than not a new one comes last. */
	if (n == 0 || (what == MUTATE_INSERT && !mutate_one_in(r, 3)))
		put_new_item(o, r, f);
	free(item);
}

/* The first items of one, the last of the other. */
static void
cross_list(struct mutate_out *o, struct mutate_random *r,
    const struct mutate_form *f, struct mutate_span a, struct mutate_span b)
{
	struct item *item, *more;
	size_t n = items_of(f, &item, a), m = items_of(f, &more, b);
	size_t keep = mutate_below(r, n + 1), from = mutate_below(r, m + 1);

	for (size_t i = 0; i < keep; i++)
		mutate_put(o, item[i].all.p, item[i].all.len);
	for (size_t j = from; j < m; j++)
		mutate_put(o, more[j].all.p, more[j].all.len);
	free(item);
	free(more);
}

/* ---- whole inputs ---- */

static bool
is_list(const struct mutate_form *f)
{
	return f->prefix + f->length > 0;
}

static void
put_whole(struct mutate_out *o, struct mutate_random *r,
    const struct mutate_form *f, struct mutate_span in)
{
	uint8_t head[64] = { 0 };
	size_t n = f->head < in.len ? f->head : in.len;

	if (n > 0)
		memcpy(head, in.p, n);
	in.p += n;
	in.len -= n;
	if (f->head > 0 && mutate_one_in(r, 12))
		head[mutate_below(r, f->head)] = (uint8_t)mutate_any(r);
	mutate_put(o, head, f->head);
	if (is_list(f))
		put_list(o, r, f, in);
	else
		put_body(o, r, message_at(f, head), in);
}

size_t
mutate(const struct mutate_form *f, uint8_t *data, size_t size, size_t max,
    unsigned seed)
{
	struct mutate_random r = random_of(f, seed);
	struct mutate_out o = { .cap = max };
	size_t times = 1 + (mutate_one_in(&r, 3) ? mutate_below(&r, 4) : 0);

	if (f->head > 64 || f->prefix > 64 || f->length > 4)
		abort();
	if (mutate_one_in(&r, 16) || (o.p = malloc(max + 1)) == NULL)
		return bytes_change(&r, data, size, max);
	while (times-- > 0) {
		o.len = 0;
		o.bad = false;
		put_whole(&o, &r, f, (struct mutate_span){ data, size });
		if (o.bad)
			break; /* too long: what it was */
		if (o.len > 0)
			memcpy(data, o.p, o.len);
		size = o.len;
	}
	free(o.p);
	return size;
}

size_t
mutate_cross(const struct mutate_form *f, const uint8_t *a, size_t a_len,
    const uint8_t *b, size_t b_len, uint8_t *out, size_t max, unsigned seed)
{
	struct mutate_random r = random_of(f, seed);
	struct mutate_out o = { .p = out, .cap = max };
	const ProtobufCMessageDescriptor *d;
	struct mutate_span in[2];

	if (a_len < f->head || b_len < f->head)
		return 0;
	in[0] = (struct mutate_span){ a + f->head, a_len - f->head };
	in[1] = (struct mutate_span){ b + f->head, b_len - f->head };
	mutate_put(&o, a, f->head);
	if (is_list(f))
		cross_list(&o, &r, f, in[0], in[1]);
	else if ((d = message_at(f, a)) != NULL)
		mutate_put_crossed(&o, &r, d, in[0], in[1]);
	else
		mutate_put(&o, in[mutate_below(&r, 2)].p,
		    mutate_below(
			&r, in[0].len < in[1].len ? in[0].len : in[1].len));
	return o.bad ? 0 : o.len;
}
