/* snp: AMD SEV-SNP attestation reports: tdx-dcap.md 4.1.
 *
 *   ARK --> ASK  --> VCEK --> report     the key of one chip
 *      \--> ASVK --> VLEK --> report     the key of one cloud
 *
 * snp_verify states facts that were all signed and checked; only snp_accept,
 * with a policy, says yes.  Any thread may call; nothing reads a clock. */
#ifndef COMMON_ATTEST_SNP_H
#define COMMON_ATTEST_SNP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

#define SNP_REPORT_LEN 1184
#define SNP_SIGNED_LEN 0x2a0
#define SNP_N_VMPL 4

enum snp_product {
	SNP_MILAN,
	SNP_GENOA, /* Bergamo and Siena too */
	SNP_TURIN,
	SNP_PRODUCT_COUNT
};

const char *snp_product_text(enum snp_product p);

enum snp_key {
	SNP_VCEK = 0,
	SNP_VLEK = 1,
	SNP_KEY_NONE = 7,
};

/* The report as its bytes say; TCBs are raw, since their layout depends on
 * the product (snp_tcb_read). */
struct snp_report {
	uint32_t version; /* 2, 3 or 5 */
	uint32_t guest_svn;
	uint64_t policy;
	uint8_t family_id[16];
	uint8_t image_id[16];
	uint32_t vmpl;
	uint8_t current_tcb[8];
	uint64_t platform_info;
	uint32_t key_info;
	uint8_t report_data[64];
	uint8_t measurement[48];
	uint8_t host_data[32];
	uint8_t id_key_digest[48];
	uint8_t author_key_digest[48];
	uint8_t report_id[32];
	uint8_t report_id_ma[32];
	uint8_t reported_tcb[8];
	bool has_cpuid; /* version 3 and later */
	uint8_t cpuid_family, cpuid_model, cpuid_stepping;
	uint8_t chip_id[64];
	uint8_t committed_tcb[8];
	uint8_t current_version[3]; /* major, minor, build */
	uint8_t committed_version[3];
	uint8_t launch_tcb[8];
	bool has_mitigation; /* version 5 */
	uint64_t launch_mitigation, current_mitigation;
};

struct snp_tcb {
	uint8_t fmc; /* Turin; 0 elsewhere */
	uint8_t bootloader;
	uint8_t tee;
	uint8_t snp;
	uint8_t microcode;
};

struct snp_tcb snp_tcb_read(enum snp_product p, const uint8_t raw[static 8]);

/* snp_report_parse checks what needs no key: size, version, signature
 * algorithm, zeros behind the signature.  `sig` gets r || s, big-endian.
 * ERR_DENIED with a detail that begins REPORT_SIZE, REPORT_VERSION,
 * SIG_ALGO, SIG_RESERVED or REPORT_SIG. */
enum err snp_report_parse(struct snp_report *out, uint8_t sig[static 96],
    struct bytes in, struct refusal *why);

/* Everything from outside; certificates and CRL in DER. */
struct snp_evidence {
	struct bytes report;
	struct bytes vek;
	struct bytes ask; /* or ASVK */
	struct bytes ark;
	struct bytes crl; /* the ARK's; may be empty, policy decides */
};

struct snp_options {
	int64_t now; /* unix seconds */
	/* SHA-256 of one more ARK that a simulator or test made; NULL: AMD's
	 * only.  Verdicts under it are marked `simulated`. */
	const uint8_t *simulated_ark;
	const uint8_t *report_data; /* 64 bytes to be found, or NULL */
};

struct snp_verdict {
	struct snp_report report;
	enum snp_product product; /* by the pinned ARK, checked three times */
	enum snp_key key;
	struct snp_tcb current, reported, committed, launch;
	/* What the VCEK's certificate says; none with a VLEK. */
	size_t hwid_len;
	uint8_t hwid[64];
	char csp_id[64]; /* the cloud that a VLEK belongs to; "" with a VCEK */
	bool chip_masked; /* chip_id is zero: only the VCEK names the chip */
	bool crl_checked;
	int64_t valid_from; /* window of the chain */
	int64_t valid_until;
	uint8_t ark_fingerprint[32];
	bool simulated;
};

/* snp_verify checks evidence in full: chain and roles under a pinned ARK,
 * CRL if there is one, signature, and that certificate and report speak of
 * the same key, product, TCB and chip.
 * ERR_DENIED: `*why`, whose detail begins with a reject code: those of
 * snp_report_parse; VEK_, ASK_ or ARK_ with PARSE, ROLE, ALGO, ISSUER, SIG,
 * SHAPE, TIME; ARK_PIN, ASK_REVOKED, CRL, REPORT_SIG, KEY_INFO, SIGNING_KEY,
 * VMPL, VEK_EXT, PRODUCT, TCB_MISMATCH, CHIP_ID, REPORT_DATA.  ERR_NOMEM. */
enum err snp_verify(struct snp_verdict *out, const struct snp_evidence *in,
    const struct snp_options *o, struct refusal *why);

/* What is acceptable.  Zeroed = nothing. */
struct snp_policy {
	bool product[SNP_PRODUCT_COUNT];
	/* Floor for reported and committed TCB, part by part. */
	struct snp_tcb min_tcb[SNP_PRODUCT_COUNT];
	bool vmpl[SNP_N_VMPL];
	bool allow_vlek;
	bool allow_masked_chip;
	bool allow_debug;
	bool allow_migration;
	bool allow_no_alias_check; /* BadRAM: platform_info bit 5 not set */
	bool allow_no_crl;
	bool allow_simulated;
};

/* snp_policy_default: Genoa and Turin at VMPL 0 under a VCEK, with a CRL and
 * the alias check.  Not Milan: its root seed was extracted by software
 * (arXiv 2605.12990), so its evidence is weak. */
void snp_policy_default(struct snp_policy *out);

/* ERR_OK or ERR_DENIED; the detail begins POLICY_SIMULATED, POLICY_PRODUCT,
 * POLICY_RESERVED, POLICY_DEBUG, POLICY_MIGRATION, POLICY_VMPL, POLICY_VLEK,
 * POLICY_CHIP_MASKED, POLICY_ALIAS_CHECK, POLICY_CRL or POLICY_TCB. */
enum err snp_accept(const struct snp_verdict *v, const struct snp_policy *p,
    struct refusal *why);

#endif
