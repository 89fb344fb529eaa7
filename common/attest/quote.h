/* quote: the bytes of an Intel quote, versions 3, 4 and 5: tdx-dcap.md 1.
 *
 * Parsing checks structure only and verifies nothing.  All pointers borrow
 * from the input. */
#ifndef COMMON_ATTEST_QUOTE_H
#define COMMON_ATTEST_QUOTE_H

#include "common/attest/verdict.h"

#define QUOTE_HEADER_LEN 48
#define QUOTE_TD10_LEN 584
#define QUOTE_TD15_LEN 648
#define QUOTE_QE_REPORT_LEN 384
/* Absolute offset of report_data in a v4 TDX quote. */
#define QUOTE_V4_REPORT_DATA 568

struct quote {
	uint16_t version;
	enum tee_kind tee; /* TEE_TDX or TEE_SGX */
	struct bytes signed_part; /* what the attestation key signed */
	struct bytes body; /* report body inside signed_part */
	struct td_report td; /* when TEE_TDX */
	struct sgx_report sgx; /* when TEE_SGX */
	const uint8_t *signature; /* 64 bytes r || s */
	const uint8_t *att_key; /* 64 bytes x || y */
	const uint8_t *qe_report; /* 384 bytes */
	const uint8_t *qe_report_signature; /* 64 bytes */
	struct bytes qe_auth;
	uint16_t cert_type; /* 1 to 5 */
	struct bytes cert_data; /* type 5: PEM, maybe with a NUL */
	size_t canonical_len; /* bytes up to the end of the auth data */
};

/* quote_parse recognises the whole input.
 * ERR_DENIED with REASON_QUOTE_MALFORMED or _UNSUPPORTED.  Bytes behind the
 * auth data, up to LIMIT_QUOTE in all, are ignored: store or hash no more
 * than canonical_len. */
enum err quote_parse(struct quote *out, struct bytes in, struct refusal *why);

/* quote_sgx_report reads an SGX report body: an enclave's or the QE's. */
void quote_sgx_report(
    struct sgx_report *out, const uint8_t body[static QUOTE_QE_REPORT_LEN]);

#endif
