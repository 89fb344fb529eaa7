/* fuzz_quote: quote_parse and dcap_platform.
 *
 * What is accepted must lie inside the input and add up to it. */
#include <string.h>

#include "common/attest/dcap.h"
#include "common/attest/quote.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
inside(const uint8_t *p, size_t len, const uint8_t *data, size_t size)
{
	return p >= data && (size_t)(p - data) <= size &&
	    len <= size - (size_t)(p - data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	uint8_t fmspc[6];
	bool platform_ca;
	struct quote q;

	if (quote_parse(&q, in, NULL) != ERR_OK)
		return 0;
	must(q.canonical_len <= size);
	must(q.signed_part.p == data && q.signed_part.len < q.canonical_len);
	must(q.body.p + q.body.len == data + q.signed_part.len);
	must(inside(q.signature, 64, data, q.canonical_len));
	must(inside(q.att_key, 64, data, q.canonical_len));
	must(inside(q.qe_report, QUOTE_QE_REPORT_LEN, data, q.canonical_len));
	must(inside(q.qe_report_signature, 64, data, q.canonical_len));
	must(inside(q.qe_auth.p, q.qe_auth.len, data, q.canonical_len));
	must(q.cert_data.p + q.cert_data.len == data + q.canonical_len);
	/* The canonical part alone means the same. */
	in.len = q.canonical_len;
	must(quote_parse(&q, in, NULL) == ERR_OK);
	if (dcap_platform(fmspc, &platform_ca, in, NULL) == ERR_OK)
		must(q.cert_type == 5);
	return 0;
}
