/* fake_amd: an AMD of one's own: ARK, ASK or ASVK, VCEK or VLEK, and a
 * signed report, all from one description that a test may bend. */
#ifndef TESTS_LIB_FAKE_AMD_H
#define TESTS_LIB_FAKE_AMD_H

#include "common/attest/snp.h"
#include "tests/lib/vendor_pki.h"

#define FAKE_AMD_NOW 1750000000
#define FAKE_AMD_EXTS 16

enum { FAKE_VEK, FAKE_ASK, FAKE_ARK, FAKE_AMD_CERTS };

struct fake_amd {
	EVP_PKEY *key[FAKE_AMD_CERTS]; /* owns */
	struct vendor_cert cert[FAKE_AMD_CERTS];
	struct vendor_ext ext[FAKE_AMD_EXTS]; /* the VEK's */
	uint8_t report[SNP_REPORT_LEN]; /* signed by fake_amd_build */
	/* Results. */
	struct buf der[FAKE_AMD_CERTS];
	struct buf crl; /* empty unless a test fills it */
	uint8_t ark_sha256[32];
	struct snp_evidence ev;
};

/* fake_amd_init describes a report that verifies: version 3 for `product`,
 * VMPL 0, policy bit 17, TCB 3.0.8.115 (and FMC 1 on Turin). */
void fake_amd_init(
    struct fake_amd *a, enum snp_product product, enum snp_key key);
void fake_amd_fini(struct fake_amd *a);
/* fake_amd_build issues the certificates and signs the report. */
void fake_amd_build(struct fake_amd *a);
/* fake_amd_sign signs the report again, with `key`. */
void fake_amd_sign(struct fake_amd *a, EVP_PKEY *key);

/* The VEK's extension with last arcs `arc`, e.g. "3.8"; it must exist. */
struct vendor_ext *fake_amd_ext(struct fake_amd *a, const char *arc);
void fake_amd_ext_add(
    struct fake_amd *a, const char *arc, const void *der, size_t len);
void fake_amd_ext_drop(struct fake_amd *a, const char *arc);
void fake_amd_spl(struct fake_amd *a, const char *arc, uint8_t v);

void fake_amd_le32(struct fake_amd *a, size_t off, uint32_t v);

#endif
