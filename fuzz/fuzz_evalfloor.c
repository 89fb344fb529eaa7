/* fuzz_evalfloor: evalfloor_merge, evalfloor_write.
 *
 * A list that is taken is written again byte for byte, and merging it a
 * second time changes nothing. */
#include <string.h>

#include "common/attest/evalfloor.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct evalfloor *f = NULL;
	struct buf out = { 0 };
	uint64_t changes;
	enum err e;

	if (evalfloor_new(&f) != ERR_OK)
		return 0;
	e = evalfloor_merge(f, in);
	changes = evalfloor_changes(f);
	if (e != ERR_OK) {
		must(e == ERR_MALFORMED && changes == 0);
	} else {
		must(evalfloor_write(&out, f) == ERR_OK);
		must(out.len == size && memcmp(out.p, data, size) == 0);
		must(evalfloor_merge(f, in) == ERR_OK);
		must(evalfloor_changes(f) == changes);
	}
	buf_fini(&out);
	evalfloor_free(f);
	return 0;
}
