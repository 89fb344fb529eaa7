/* simpki: the simulator's vendor: root CA, PCK CA, TCB signing, CRLs, TCB
 * info and QE identity, in files below <dir>/pki.
 *
 * Certificates live for 20 years; CRLs and signed JSON for `life_s`, from a
 * little before their issue, and are issued anew by sim_pki_refresh.  The
 * functions lock the folder, so that a tool and a server may work on it at
 * once.  Nothing here is secret from the machine's owner: it simulates. */
#ifndef NODE_TEE_SIMPKI_H
#define NODE_TEE_SIMPKI_H

#include "node/tee/simcert.h"

#define SIM_LIFE_DEFAULT_S (30 * 24 * 3600)

enum sim_document {
	SIM_DOC_ROOT, /* the root certificate, DER: a verifier's anchor */
	SIM_DOC_ROOT_CRL, /* DER */
	SIM_DOC_PCK_CRL, /* DER */
	SIM_DOC_TCB_INFO, /* the reply of a PCS, exact bytes */
	SIM_DOC_QE_IDENTITY, /* the same */
	SIM_DOC_SIGNING_CHAIN, /* PEM: TCB signing, root */
	SIM_DOC_PCK_CA_CHAIN, /* PEM: PCK platform CA, root */
};

/* sim_pki_init makes a new PKI and all documents.  `life_s` 0 means
 * SIM_LIFE_DEFAULT_S; at least 60.  ERR_EXISTS: there is one already. */
enum err sim_pki_init(const char *dir, int64_t life_s, int64_t now);

/* sim_pki_refresh issues CRLs and JSON anew if half their life has passed,
 * or if `force`. */
enum err sim_pki_refresh(const char *dir, bool force, int64_t now);

/* sim_pki_document reads one document.  ERR_NOTFOUND: no PKI there. */
enum err sim_pki_document(
    struct buf *out, const char *dir, enum sim_document what);

/* sim_pki_issue_pck certifies a platform's key: PEM of leaf, CA, root. */
enum err sim_pki_issue_pck(struct buf *chain, struct sim_serial *serial,
    const char *dir, const struct p256_pub *key,
    const struct sim_platform *platform, int64_t now);

/* sim_pki_revoke puts a PCK serial on the CRL, which is issued anew. */
enum err sim_pki_revoke(
    const char *dir, const struct sim_serial *serial, int64_t now);

#endif
