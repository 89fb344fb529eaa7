/* simquote: quotes in the genuine v4 format, signed by a simulated QE.
 *
 * tdx-dcap.md 1.1 to 1.5: header, TD 1.0 body, signature by the attestation
 * key, QE report signed by the PCK key, PCK chain as PEM. */
#ifndef NODE_TEE_SIMQUOTE_H
#define NODE_TEE_SIMQUOTE_H

#include "common/attest/verdict.h"
#include "node/tee/simcert.h"

#define SIM_QE_AUTH_LEN 32

/* The quoting enclave of one host.  Holds a secret: sim_qe_fini. */
struct sim_qe {
	struct p256_secret att_key;
	uint8_t id[16];
	uint8_t report[384];
	uint8_t report_signature[64];
	uint8_t auth[SIM_QE_AUTH_LEN];
	struct buf pck_chain; /* owns; PEM: leaf, CA, root */
};

/* sim_qe_provision makes a new attestation key and has its QE report signed
 * by the platform's PCK key.  `pck_chain` is set by the caller. */
enum err sim_qe_provision(struct sim_qe *qe, const struct p256_secret *pck,
    const struct sim_platform *platform);
void sim_qe_fini(struct sim_qe *qe);

/* sim_quote replaces `out` by a quote over the report. */
enum err sim_quote(
    struct buf *out, const struct sim_qe *qe, const struct td_report *td);

#endif
