/* fuzz_attestation: attestation_decode, of both versions.
 *
 * What is accepted is within its bounds, and survives being written anew as
 * version 1, which then has one form. */
#include <string.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len &&
	    (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evidence a = { 0 }, b = { 0 };
	struct buf first = { 0 }, second = { 0 };
	uint8_t rd[64], rd2[64];

	if (attestation_decode(&a, rd, (struct bytes){ data, size }, NULL) !=
	    ERR_OK)
		return 0;
	must(a.tee == TEE_TDX);
	must(a.quote.len <= LIMIT_QUOTE);
	must(a.vm_config.len <= LIMIT_VM_CONFIG);
	must(attestation_v1_encode(&first, &a, rd, NULL) == ERR_OK);
	must(attestation_decode(&b, rd2, buf_view(&first), NULL) == ERR_OK);
	must(attestation_v1_encode(&second, &b, rd2, NULL) == ERR_OK);
	must(same(&a.quote, &b.quote) && same(&a.vm_config, &b.vm_config));
	must(memcmp(rd, rd2, sizeof rd) == 0 && same(&first, &second));
	evidence_fini(&a);
	evidence_fini(&b);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
