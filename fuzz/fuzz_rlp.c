/* fuzz_rlp: RLP that an endpoint may send.
 *
 * Targets: rlprd_item, rlprd_list, rlprd_u64, rlprd_u256.
 *
 * Asserted: what is accepted, at whatever depth, is the one encoding of its
 * value, so that writing it again gives the same bytes. */
#include <assert.h>
#include <string.h>

#include "common/eth/rlp.h"
#include "common/eth/rlprd.h"

#define MAX (1u << 18)
#define DEPTH_MAX 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
numbers(struct bytes whole)
{
	struct rlp again = { .max = MAX };
	struct rd r = { .p = whole.p, .left = whole.len }, r2 = r;
	uint8_t word[32] = { 0 };
	uint64_t v = rlprd_u64(&r);

	rlprd_u256(&r2, word);
	if (!r.bad) {
		assert(!r2.bad);
		rlp_u64(&again, v);
		assert(again.out.len == whole.len &&
		    memcmp(again.out.p, whole.p, whole.len) == 0);
		rlp_fini(&again);
		again = (struct rlp){ .max = MAX };
	}
	if (!r2.bad) {
		rlp_uint(&again, word, 32);
		assert(again.out.len == whole.len &&
		    memcmp(again.out.p, whole.p, whole.len) == 0);
	}
	rlp_fini(&again);
}

/* False if some list inside does not hold whole items. */
static bool
copy(struct rlp *out, struct rd *r, unsigned depth)
{
	while (r->left > 0) {
		struct rlprd_item it = rlprd_item(r);
		struct rlp inner = { .max = MAX };
		struct rd m = { .p = it.body.p, .left = it.body.len };
		bool good;

		if (r->bad)
			return false;
		assert(it.whole.p + it.whole.len == r->p);
		if (!it.is_list) {
			numbers(it.whole);
			rlp_str(out, it.body.p, it.body.len);
			continue;
		}
		good = depth < DEPTH_MAX && copy(&inner, &m, depth + 1);
		rlp_list(out, &inner);
		rlp_fini(&inner);
		if (!good)
			return false;
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = { .p = data, .left = size };
	struct rlp out = { .max = MAX };

	if (size > MAX / 4)
		return 0;
	if (copy(&out, &r, 0)) {
		assert(out.err == ERR_OK && out.out.len == size);
		assert(size == 0 || memcmp(out.out.p, data, size) == 0);
	}
	rlp_fini(&out);
	return 0;
}
