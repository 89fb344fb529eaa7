/* nitro: attestation documents of AWS Nitro Enclaves: tdx-dcap.md 4.2.
 *
 *   root G1 --> region --> zone --> instance --> enclave --> document
 *
 * A document is a COSE_Sign1 over a CBOR map.  nitro_verify states facts that
 * were all signed and checked; only nitro_accept, with a policy, says yes.
 * Any thread may call; nothing reads a clock. */
#ifndef COMMON_ATTEST_NITRO_H
#define COMMON_ATTEST_NITRO_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

#define NITRO_N_PCRS 32
#define NITRO_PCR_LEN 48
#define NITRO_MODULE_ID_MAX 128 /* "i-<17 hex>-enc<16 hex>" is 39 */
#define NITRO_CERT_MAX 1024
#define NITRO_CABUNDLE_MAX 7 /* four in the field */
#define NITRO_FIELD_MAX 1024 /* AWS says 512 in one place; 1024 occurs */
/* A document is made on demand: five minutes are for slow networks. */
#define NITRO_MAX_AGE_DEFAULT_S 300
/* How far the enclave's clock may be ahead of ours. */
#define NITRO_SKEW_S 60

/* A field that may be absent, null (the same), or empty (not the same). */
struct nitro_opt {
	bool present;
	struct bytes b; /* borrows the document */
};

/* The parts of a document, nothing verified.  Everything borrows. */
struct nitro_doc {
	struct bytes payload;
	const uint8_t *signature; /* 96 bytes */
	struct bytes module_id;
	uint64_t timestamp_ms;
	const uint8_t *pcr[NITRO_N_PCRS]; /* 48 bytes each, or NULL */
	struct bytes certificate;
	struct bytes cabundle[NITRO_CABUNDLE_MAX]; /* root first */
	size_t n_cabundle;
	struct nitro_opt public_key, user_data, nonce;
};

/* nitro_parse recognises exactly one document, tagged (18) or not.
 * ERR_DENIED with a detail that begins DOC_SIZE, CBOR, CBOR_TRUNC, TRAILING,
 * COSE, PROTECTED, UNPROTECTED, SIGNATURE_LEN, FIELD <name>,
 * DUPLICATE <name> or UNKNOWN_FIELD. */
enum err nitro_parse(
    struct nitro_doc *out, struct bytes in, struct refusal *why);

struct nitro_options {
	int64_t now; /* unix seconds */
	int64_t max_age_s; /* 0: NITRO_MAX_AGE_DEFAULT_S */
	/* SHA-256 of one more root that a simulator or test made; NULL: AWS's
	 * only.  Verdicts under it are marked `simulated`. */
	const uint8_t *simulated_root;
	/* Values to be found; {NULL, 0}: not asked for.  A nonce of the
	 * caller's own is what makes a document fresh beyond doubt. */
	struct bytes nonce;
	struct bytes user_data;
	struct bytes public_key;
};

struct nitro_field {
	bool present;
	uint16_t len;
	uint8_t b[NITRO_FIELD_MAX];
};

struct nitro_verdict {
	char module_id[NITRO_MODULE_ID_MAX + 1];
	uint64_t timestamp_ms;
	uint32_t pcr_mask; /* bit i: PCR i is there */
	uint8_t pcr[NITRO_N_PCRS][NITRO_PCR_LEN];
	bool debug; /* one of PCR 0, 1, 2 is zero: nothing was measured */
	struct nitro_field public_key, user_data, nonce;
	int64_t valid_from; /* window of the chain */
	int64_t valid_until;
	uint8_t root_fingerprint[32];
	bool simulated;
};

/* nitro_verify checks a document in full: chain from the pinned root,
 * signature, dates (the chain must be in date at the document's time and at
 * `now`: a leaf lives for three hours), freshness, asked-for values.
 * ERR_DENIED: `*why`, whose detail begins with a code of nitro_parse or
 * ROOT, CERT_PARSE i, CERT_ALGO i, CHAIN_ISSUER i, CHAIN_SIG i,
 * CHAIN_SHAPE i, CERT_TIME i (i counts from the leaf), COSE_SIG,
 * TIMESTAMP_OLD, TIMESTAMP_FUTURE, NONCE, USER_DATA, PUBLIC_KEY.
 * ERR_NOMEM. */
enum err nitro_verify(struct nitro_verdict *out, struct bytes doc,
    const struct nitro_options *o, struct refusal *why);

/* What is acceptable.  Zeroed = AWS's root and no debug enclave. */
struct nitro_policy {
	bool allow_debug;
	bool allow_simulated;
};

/* ERR_OK or ERR_DENIED; the detail begins POLICY_SIMULATED or
 * DEBUG_PCR0_ZERO. */
enum err nitro_accept(const struct nitro_verdict *v,
    const struct nitro_policy *p, struct refusal *why);

#endif
