/* pckext: the SGX extension of a PCK certificate: tdx-dcap.md 2.4.
 *
 * Says which platform the certificate is for and at which TCB.  The bytes
 * come from inside a certificate; whether to believe them is the caller's
 * question. */
#ifndef COMMON_ATTEST_PCKEXT_H
#define COMMON_ATTEST_PCKEXT_H

#include <stdint.h>

#include "common/base/buf.h"

#define PCKEXT_OID "1.2.840.113741.1.13.1"

struct pckext {
	uint8_t ppid[16];
	uint8_t cpusvn[16]; /* equal to the 16 components: checked */
	uint16_t pcesvn;
	uint8_t pceid[2];
	uint8_t fmspc[6];
	uint8_t sgx_type; /* 0 standard, 1 scalable, 2 with integrity */
};

/* pckext_parse reads the extension's value, strictly DER.
 * ERR_MALFORMED unless each of the six facts is there exactly once with its
 * length, and CPUSVN equals the components. */
enum err pckext_parse(struct pckext *out, struct bytes value);

#endif
