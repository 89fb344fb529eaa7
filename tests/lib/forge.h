/* forge: quotes and collateral under a root made in the test, where every key
 * is at hand: all is properly signed but for what the test changes. */
#ifndef TESTS_LIB_FORGE_H
#define TESTS_LIB_FORGE_H

#include "common/attest/dcap.h"
#include "node/tee/simdocs.h"
#include "node/tee/simquote.h"

#define FORGE_NOW 1900000000
#define FORGE_DAY 86400

/* Offsets in a version 4 quote: tdx-dcap.md 1.5. */
enum {
	Q_SIGNATURE = 636,
	Q_KEY = 700,
	Q_QE = 770,
	Q_QE_SIGNATURE = 1154,
	Q_QE_AUTH = 1220,
};
/* Offsets in the QE report: 1.3. */
enum {
	QE_MISCSELECT = 16,
	QE_ATTRIBUTES = 48,
	QE_MRSIGNER = 128,
	QE_PRODID = 256,
	QE_SVN = 258,
	QE_DATA = 320,
};

struct forge {
	struct sim_authority root, pck_ca, signing, signing2;
	struct p256_secret pck;
	struct sim_platform platform;
	struct sim_serial pck_serial;
	struct sim_qe qe;
	struct td_report td;
	struct buf quote;
	struct collateral c;
	struct dcap_root *anchor;
};

/* A platform at `level` (as for sim_platform_svns) with a version 4 TDX quote,
 * and collateral in date at FORGE_NOW. */
void forge_lay(struct forge *w, unsigned level);
void forge_tear(struct forge *w);

/* forge_sgx makes it an SGX platform: the quote is one of an enclave, of
 * version 3, 4 or 5, and the documents are those of SGX. */
void forge_sgx(struct forge *w, unsigned version);

/* forge_quote replaces the quote by one with this certification data.
 * `report` is an enclave's, 384 bytes, or NULL for the TD's. */
void forge_quote(struct forge *w, unsigned version, const uint8_t *report,
    unsigned cert_type, struct bytes cert_data);

/* Signs the document anew, with `from` in it changed to `to`, unless NULL. */
void forge_tcb_info(struct forge *w, const char *from, const char *to);
void forge_qe_identity(struct forge *w, const char *from, const char *to);
void forge_document(struct buf *text, uint8_t signature[static 64],
    const struct p256_secret *key, const char *from, const char *to);

/* Issues both CRLs anew; the PCK CA's lists `n` serials. */
void forge_crls(struct forge *w, const struct sim_serial *revoked, size_t n);

/* PEM text of up to three certificates. */
void forge_pem(struct buf *out, const struct buf *a, const struct buf *b,
    const struct buf *c);

/* forge_qe_auth gives the QE in a (v4 TDX) quote auth data of another length,
 * properly bound. */
void forge_qe_auth(struct forge *w, size_t len);

/* The PCK key signs what the QE report in the (v4 TDX) quote now says. */
void forge_resign_qe(struct forge *w);

#endif
