#include <assert.h>
#include <string.h>

#include "common/attest/quote.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "node/tee/simdocs.h"
#include "node/tee/simquote.h"

#define VERSION 4
#define ATT_KEY_P256 2
#define TEE_TYPE_TDX 0x81
#define CERT_PCK_CHAIN 5
#define CERT_QE_REPORT 6
#define SIGNED_LEN (QUOTE_HEADER_LEN + QUOTE_TD10_LEN)
/* Auth data but for the chain: signature, key, two headers, QE parts. */
#define AUTH_FIXED \
	(64 + 64 + 6 + QUOTE_QE_REPORT_LEN + 64 + 2 + SIM_QE_AUTH_LEN + 6)

static const uint8_t qe_vendor[16] = { 0x93, 0x9A, 0x72, 0x33, 0xF7, 0x9C, 0x4C,
	0xA9, 0x94, 0x0A, 0x0D, 0xB3, 0x95, 0x7F, 0x06, 0x07 };

/* ERR_NOMEM; else a generated key is valid. */
static enum err
att_pub(uint8_t out[static 64], const struct sim_qe *qe)
{
	struct p256_pub pub;
	enum err e = p256_pubkey(&pub, &qe->att_key);

	if (e == ERR_OK)
		memcpy(out, pub.xy, 64);
	return e;
}

/* tdx-dcap.md 1.3.  INIT, MODE64 and PROVISIONKEY are set, DEBUG is not. */
static enum err
write_qe_report(struct sim_qe *qe, const struct sim_platform *platform)
{
	static const char code[] = SIM_ORGANIZATION " TD QE code";
	struct wr w = { .p = qe->report, .cap = sizeof qe->report };
	uint8_t pub[64], h[32];
	enum err e = att_pub(pub, qe);

	if (e != ERR_OK)
		return e;
	wr_bytes(&w, platform->sgx_svn, 16);
	wr_zero(&w, 4 + 28);
	wr_le64(&w, 0x15);
	wr_le64(&w, 0xe7);
	sha256(h, code, sizeof code - 1);
	wr_bytes(&w, h, 32);
	wr_zero(&w, 32);
	sim_qe_mrsigner(h);
	wr_bytes(&w, h, 32);
	wr_zero(&w, 96);
	wr_le16(&w, SIM_QE_ISVPRODID);
	wr_le16(&w, SIM_QE_ISVSVN);
	wr_zero(&w, 60);
	sha256_v(
	    h, (const struct bytes[]){ BYTES_OF(pub), BYTES_OF(qe->auth) }, 2);
	wr_bytes(&w, h, 32);
	wr_zero(&w, 32);
	assert(wr_ok(&w) && w.len == QUOTE_QE_REPORT_LEN);
	return ERR_OK;
}

enum err
sim_qe_provision(struct sim_qe *qe, const struct p256_secret *pck,
    const struct sim_platform *platform)
{
	enum err e;

	p256_generate(&qe->att_key);
	secret_random(qe->id, sizeof qe->id);
	for (size_t i = 0; i < SIM_QE_AUTH_LEN; i++)
		qe->auth[i] = (uint8_t)i; /* as Intel's own */
	if ((e = write_qe_report(qe, platform)) != ERR_OK)
		return e;
	return p256_sign_raw(
	    qe->report_signature, pck, qe->report, sizeof qe->report);
}

void
sim_qe_fini(struct sim_qe *qe)
{
	p256_secret_wipe(&qe->att_key);
	buf_fini(&qe->pck_chain);
}

static void
write_body(struct wr *w, const struct td_report *td)
{
	wr_bytes(w, td->tee_tcb_svn, 16);
	wr_bytes(w, td->mrseam, 48);
	wr_bytes(w, td->mrsignerseam, 48);
	wr_bytes(w, td->seam_attributes, 8);
	wr_bytes(w, td->td_attributes, 8);
	wr_bytes(w, td->xfam, 8);
	wr_bytes(w, td->mrtd, 48);
	wr_bytes(w, td->mrconfigid, 48);
	wr_bytes(w, td->mrowner, 48);
	wr_bytes(w, td->mrownerconfig, 48);
	for (size_t i = 0; i < 4; i++)
		wr_bytes(w, td->rtmr[i], 48);
	wr_bytes(w, td->report_data, 64);
}

enum err
sim_quote(struct buf *out, const struct sim_qe *qe, const struct td_report *td)
{
	size_t chain_len = qe->pck_chain.len;
	size_t total = SIGNED_LEN + 4 + AUTH_FIXED + chain_len;
	struct buf b = { 0 };
	struct wr w;
	uint8_t sig[64], pub[64];
	enum err e;

	if (chain_len > LIMIT_QUOTE || total > LIMIT_QUOTE)
		return ERR_LIMIT;
	if ((e = buf_reserve(&b, total)) != ERR_OK)
		return e;
	w = (struct wr){ .p = b.p, .cap = total };
	wr_le16(&w, VERSION);
	wr_le16(&w, ATT_KEY_P256);
	wr_le32(&w, TEE_TYPE_TDX);
	wr_zero(&w, 4);
	wr_bytes(&w, qe_vendor, 16);
	wr_bytes(&w, qe->id, 16);
	wr_zero(&w, 4);
	write_body(&w, td);
	assert(w.len == SIGNED_LEN);
	if ((e = p256_sign_raw(sig, &qe->att_key, b.p, SIGNED_LEN)) != ERR_OK ||
	    (e = att_pub(pub, qe)) != ERR_OK)
		goto done;
	wr_le32(&w, (uint32_t)(AUTH_FIXED + chain_len));
	wr_bytes(&w, sig, 64);
	wr_bytes(&w, pub, 64);
	wr_le16(&w, CERT_QE_REPORT);
	wr_le32(&w, (uint32_t)(AUTH_FIXED - 64 - 64 - 6 + chain_len));
	wr_bytes(&w, qe->report, sizeof qe->report);
	wr_bytes(&w, qe->report_signature, 64);
	wr_le16(&w, SIM_QE_AUTH_LEN);
	wr_bytes(&w, qe->auth, SIM_QE_AUTH_LEN);
	wr_le16(&w, CERT_PCK_CHAIN);
	wr_le32(&w, (uint32_t)chain_len);
	wr_bytes(&w, qe->pck_chain.p, chain_len);
	assert(wr_ok(&w) && w.len == total);
	b.len = total;
	b.p[total] = 0;
	buf_fini(out);
	*out = b;
	b = (struct buf){ 0 };
done:
	buf_fini(&b);
	return e;
}
