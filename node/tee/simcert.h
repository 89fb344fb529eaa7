/* simcert: certificates and CRLs of the simulator, over OpenSSL.
 *
 * The same shape as Intel's: tdx-dcap.md 2.2 (names, constraints) and 2.4
 * (the SGX extension).  The common names are those that a verifier demands;
 * the organization says whose they are. */
#ifndef NODE_TEE_SIMCERT_H
#define NODE_TEE_SIMCERT_H

#include "common/base/buf.h"
#include "common/crypto/p256.h"

#define SIM_ORGANIZATION "devproof-kms simulator"
#define SIM_SERIAL_LEN 16
#define SIM_REVOKED_MAX 1024

/* One platform type serves the whole simulator. */
#define SIM_FMSPC ((const uint8_t[6]){ 0x51, 0xD0, 0x51, 0xD0, 0, 0 })
#define SIM_PCEID ((const uint8_t[2]){ 0, 0 })

enum sim_cert_kind {
	SIM_CERT_ROOT,
	SIM_CERT_PCK_CA,
	SIM_CERT_TCB_SIGNING,
	SIM_CERT_PCK,
};

struct sim_serial {
	uint8_t b[SIM_SERIAL_LEN]; /* first byte 1 to 0x7f */
};

/* Who signs: a key and its certificate. */
struct sim_authority {
	struct p256_secret key;
	struct buf der; /* owns */
};
void sim_authority_fini(struct sim_authority *a); /* wipes */

/* What a PCK certificate says about its platform. */
struct sim_platform {
	uint8_t ppid[16];
	uint8_t instance_id[16];
	uint8_t sgx_svn[16]; /* TCB components, also the CPUSVN */
	uint16_t pce_svn;
	uint8_t tee_tcb_svn[16]; /* of a TD there: not in the certificate */
};

/* sim_cert_issue makes a certificate of `kind` for `key`, signed by
 * `issuer` (for a root: the authority that holds the same key; its `der` is
 * not looked at).  `platform` is for SIM_CERT_PCK, else NULL. */
enum err sim_cert_issue(struct buf *der, struct sim_serial *serial,
    enum sim_cert_kind kind, const struct p256_pub *key,
    const struct sim_authority *issuer, const struct sim_platform *platform,
    int64_t from, int64_t until);

/* sim_crl_issue signs a CRL that lists `n` serials. */
enum err sim_crl_issue(struct buf *der, const struct sim_authority *issuer,
    const struct sim_serial *revoked, size_t n, int64_t from, int64_t until);

/* sim_cert_pem appends the certificate as PEM. */
enum err sim_cert_pem(struct buf *pem, struct bytes der);

#endif
