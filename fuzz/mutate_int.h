/* mutate_int: what the files of the mutator share.
 *
 *   mutate.c      chance, bytes, lists, whole inputs
 *   mutate_msg.c  messages as they are on the wire */
#ifndef FUZZ_MUTATE_INT_H
#define FUZZ_MUTATE_INT_H

#include <stdbool.h>

#include "fuzz/mutate.h"

#define MUTATE_PARTS_MAX 512u /* records of a message, items of a list */

struct mutate_random {
	uint64_t state;
	const uint32_t *numbers;
	size_t n_numbers;
};

struct mutate_span {
	const uint8_t *p;
	size_t len;
};

/* Output; what does not fit makes it bad. */
struct mutate_out {
	uint8_t *p;
	size_t len, cap;
	bool bad;
};

/* What happens to a list of parts; VALUE is as likely as all the others. */
enum mutate_change {
	MUTATE_DROP,
	MUTATE_TWICE,
	MUTATE_SWAP,
	MUTATE_INSERT,
	MUTATE_VALUE,
};

uint64_t mutate_any(struct mutate_random *r);
/* 0 to n - 1; 0 if n is 0. */
size_t mutate_below(struct mutate_random *r, size_t n);
bool mutate_one_in(struct mutate_random *r, size_t n);
enum mutate_change mutate_change(struct mutate_random *r);
/* A number that may matter: near 0, near a power of two, near one that the
 * target named, or any. */
uint64_t mutate_number(struct mutate_random *r);
/* Sizes of keys, hashes and signatures, and those beside them. */
size_t mutate_length(struct mutate_random *r, size_t max);

void mutate_put(struct mutate_out *o, const void *p, size_t len);
void mutate_put_u8(struct mutate_out *o, uint8_t v);
/* Bytes that were changed without regard for their meaning. */
void mutate_put_changed(
    struct mutate_out *o, struct mutate_random *r, struct mutate_span in);

/* A part of `o` that is written before its length is known: in room of its
 * own (free it), at most what is left. */
struct mutate_out mutate_room(const struct mutate_out *o);

/* mutate_put_message writes the message `in` with something changed. */
void mutate_put_message(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, struct mutate_span in, unsigned depth);
/* Some fields of both. */
void mutate_put_crossed(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, struct mutate_span a,
    struct mutate_span b);

#endif
