/* mutate: inputs changed by what they mean, where random bytes would stop at
 * the door.
 *
 * A target says what its inputs look like (struct mutate_form), and at its end
 * MUTATE_AS(&form): the two functions that libFuzzer finds by their names.
 * Without it (replay.c, AFL++) nobody calls them.  One mutation in sixteen is
 * of bytes, without regard for the form, so that no input is out of reach.
 *
 * Everything here is a function of its arguments (and of libFuzzer's own
 * mutator, where it is linked). */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include <protobuf-c/protobuf-c.h>

#include <stddef.h>
#include <stdint.h>

/* An input: a head, then either one body
 *
 *	head | body				(prefix and length are 0)
 *
 * or a list of items, each with a prefix and, if length is not 0, a body
 * behind its length (big-endian, in so many bytes: 1 to 4)
 *
 *	head | prefix | length | body | prefix | length | body | ...
 *
 * The last item may be cut short; its body is then what is there. */
struct mutate_form {
	size_t head, prefix, length;
	/* What message a body is; NULL: bytes.  `at` is the head (one body)
	 * or the item's prefix, of those sizes.  NULL: all are bytes. */
	const ProtobufCMessageDescriptor *(*message)(const uint8_t *at);
	/* The lengths of bodies that are bytes, or of fields, and numbers
	 * that matter to the target, 0 at the end; may be NULL. */
	const uint32_t *numbers;
};

/* mutate changes (data, size) in place, to at most `max` bytes, and returns
 * the new size. */
size_t mutate(const struct mutate_form *f, uint8_t *data, size_t size,
    size_t max, unsigned seed);

/* mutate_cross writes parts of `a` and parts of `b` to `out`, at most `max`
 * bytes, and returns their number. */
size_t mutate_cross(const struct mutate_form *f, const uint8_t *a, size_t a_len,
    const uint8_t *b, size_t b_len, uint8_t *out, size_t max, unsigned seed);

/* `form`: an expression, in which (data, size) is the input. */
#define MUTATE_AS(form) \
	size_t LLVMFuzzerCustomMutator( \
	    uint8_t *data, size_t size, size_t max, unsigned seed) \
	{ \
		return mutate((form), data, size, max, seed); \
	} \
	size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, \
	    const uint8_t *b, size_t b_len, uint8_t *out, size_t max, \
	    unsigned seed) \
	{ \
		return mutate_cross( \
		    (form), data, size, b, b_len, out, max, seed); \
	}

/* libFuzzer's names. */
size_t LLVMFuzzerCustomMutator(
    uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size,
    const uint8_t *b, size_t b_len, uint8_t *out, size_t max, unsigned seed);

#endif
