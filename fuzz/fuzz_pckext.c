/* fuzz_pckext: pckext_parse, the SGX extension of a PCK certificate.
 *
 * What is accepted is whole: no shorter part of it and no longer whole is
 * accepted, and the facts are within their ranges. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/pckext.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pckext x, y;
	uint8_t *longer;

	if (pckext_parse(&x, (struct bytes){ data, size }) != ERR_OK)
		return 0;
	must(x.sgx_type <= 2);
	must(pckext_parse(&y, (struct bytes){ data, size - 1 }) ==
	    ERR_MALFORMED);
	longer = malloc(size + 1);
	must(longer != NULL);
	memcpy(longer, data, size);
	longer[size] = 0;
	must(pckext_parse(&y, (struct bytes){ longer, size + 1 }) ==
	    ERR_MALFORMED);
	free(longer);
	return 0;
}
