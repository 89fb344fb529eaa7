#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "tests/lib/forge.h"

static void
authority(struct sim_authority *a, enum sim_cert_kind kind,
    const struct sim_authority *issuer)
{
	struct sim_serial serial;
	struct p256_pub pub;

	p256_generate(&a->key);
	cr_assert(p256_pubkey(&pub, &a->key) == ERR_OK);
	cr_assert(
	    sim_cert_issue(&a->der, &serial, kind, &pub,
		issuer != NULL ? issuer : a, NULL, FORGE_NOW - 9 * FORGE_DAY,
		FORGE_NOW + 900 * FORGE_DAY) == ERR_OK);
}

void
forge_pem(struct buf *out, const struct buf *a, const struct buf *b,
    const struct buf *c)
{
	const struct buf *der[] = { a, b, c };

	out->len = 0;
	for (size_t i = 0; i < 3; i++)
		if (der[i] != NULL)
			cr_assert(
			    sim_cert_pem(out, buf_view(der[i])) == ERR_OK);
}

/* Signs a document's text, in which `from` became `to` (or NULL). */
void
forge_document(struct buf *text, uint8_t signature[static 64],
    const struct p256_secret *key, const char *from, const char *to)
{
	if (from != NULL) {
		struct buf b = { 0 };
		const char *all = (const char *)text->p;
		const char *at = strstr(all, from);

		cr_assert_not_null(at, "%s", from);
		cr_assert(buf_printf(&b, "%.*s%s%s", (int)(at - all), all, to,
			      at + strlen(from)) == ERR_OK);
		buf_fini(text);
		*text = b;
	}
	cr_assert(p256_sign_raw(signature, key, text->p, text->len) == ERR_OK);
}

void
forge_tcb_info(struct forge *w, const char *from, const char *to)
{
	forge_document(
	    &w->c.tcb_info, w->c.tcb_info_signature, &w->signing.key, from, to);
}

void
forge_qe_identity(struct forge *w, const char *from, const char *to)
{
	forge_document(&w->c.qe_identity, w->c.qe_identity_signature,
	    &w->signing.key, from, to);
}

void
forge_crls(struct forge *w, const struct sim_serial *revoked, size_t n)
{
	w->c.root_ca_crl.len = w->c.pck_crl.len = 0;
	cr_assert(
	    sim_crl_issue(&w->c.root_ca_crl, &w->root, NULL, 0,
		FORGE_NOW - FORGE_DAY, FORGE_NOW + 30 * FORGE_DAY) == ERR_OK);
	cr_assert(
	    sim_crl_issue(&w->c.pck_crl, &w->pck_ca, revoked, n,
		FORGE_NOW - FORGE_DAY, FORGE_NOW + 30 * FORGE_DAY) == ERR_OK);
}

/* `level` as for sim_platform_svns. */
void
forge_lay(struct forge *w, unsigned level)
{
	struct buf leaf = { 0 };
	struct p256_pub pub;

	*w = (struct forge){ 0 };
	authority(&w->root, SIM_CERT_ROOT, NULL);
	authority(&w->pck_ca, SIM_CERT_PCK_CA, &w->root);
	authority(&w->signing, SIM_CERT_TCB_SIGNING, &w->root);
	authority(&w->signing2, SIM_CERT_TCB_SIGNING, &w->root);
	cr_assert(dcap_root_new(&w->anchor, buf_view(&w->root.der)) == ERR_OK);

	sim_platform_svns(&w->platform, level);
	p256_generate(&w->pck);
	cr_assert(p256_pubkey(&pub, &w->pck) == ERR_OK);
	cr_assert(sim_cert_issue(&leaf, &w->pck_serial, SIM_CERT_PCK, &pub,
		      &w->pck_ca, &w->platform, FORGE_NOW - FORGE_DAY,
		      FORGE_NOW + 90 * FORGE_DAY) == ERR_OK);
	forge_pem(&w->qe.pck_chain, &leaf, &w->pck_ca.der, &w->root.der);
	cr_assert(sim_qe_provision(&w->qe, &w->pck, &w->platform) == ERR_OK);
	memcpy(w->td.tee_tcb_svn, w->platform.tee_tcb_svn, 16);
	w->td.td_attributes[3] = 0x10;
	w->td.xfam[0] = 0xe7;
	cr_assert(sim_quote(&w->quote, &w->qe, &w->td) == ERR_OK);

	cr_assert(sim_tcb_info_text(&w->c.tcb_info, FORGE_NOW - FORGE_DAY,
		      FORGE_NOW + 20 * FORGE_DAY) == ERR_OK);
	cr_assert(
	    sim_qe_identity_text(&w->c.qe_identity, FORGE_NOW - 2 * FORGE_DAY,
		FORGE_NOW + 25 * FORGE_DAY) == ERR_OK);
	forge_tcb_info(w, NULL, NULL);
	forge_qe_identity(w, NULL, NULL);
	forge_pem(&w->c.tcb_info_chain, &w->signing.der, &w->root.der, NULL);
	forge_pem(&w->c.qe_identity_chain, &w->signing.der, &w->root.der, NULL);
	forge_crls(w, NULL, 0);
	buf_fini(&leaf);
}

void
forge_tear(struct forge *w)
{
	sim_authority_fini(&w->root);
	sim_authority_fini(&w->pck_ca);
	sim_authority_fini(&w->signing);
	sim_authority_fini(&w->signing2);
	p256_secret_wipe(&w->pck);
	sim_qe_fini(&w->qe);
	buf_fini(&w->quote);
	collateral_fini(&w->c);
	dcap_root_free(w->anchor);
}

/* The PCK key signs what the QE report in the quote now says. */
void
forge_resign_qe(struct forge *w)
{
	cr_assert(p256_sign_raw(w->quote.p + Q_QE_SIGNATURE, &w->pck,
		      w->quote.p + Q_QE, 384) == ERR_OK);
}

/* The inner part of the auth data, the same in all versions: 1.5. */
static void
write_qe(struct wr *w, const struct forge *f, unsigned cert_type,
    struct bytes cert_data)
{
	wr_bytes(w, f->qe.report, sizeof f->qe.report);
	wr_bytes(w, f->qe.report_signature, 64);
	wr_le16(w, SIM_QE_AUTH_LEN);
	wr_bytes(w, f->qe.auth, SIM_QE_AUTH_LEN);
	wr_le16(w, (uint16_t)cert_type);
	wr_le32(w, (uint32_t)cert_data.len);
	wr_bytes(w, cert_data.p, cert_data.len);
}

void
forge_quote(struct forge *f, unsigned version, const uint8_t *report,
    unsigned cert_type, struct bytes cert_data)
{
	uint8_t body[QUOTE_TD10_LEN], sig[64], head[12];
	size_t body_len = report != NULL ? QUOTE_QE_REPORT_LEN : sizeof body;
	size_t qe_len = 384 + 64 + 2 + SIM_QE_AUTH_LEN + 6 + cert_data.len;
	struct p256_pub pub;
	struct buf out = { 0 };
	struct wr w;

	cr_assert(buf_reserve(&out, 2000 + cert_data.len) == ERR_OK);
	w = (struct wr){ .p = out.p, .cap = 2000 + cert_data.len };
	/* Vendor, QE id and body are as in the quote that is there. */
	memcpy(head, f->quote.p, sizeof head);
	memcpy(body, report != NULL ? report : f->quote.p + QUOTE_HEADER_LEN,
	    body_len);
	head[0] = (uint8_t)version;
	head[4] = report != NULL ? 0 : 0x81;
	wr_bytes(&w, head, sizeof head);
	wr_bytes(&w, f->quote.p + sizeof head, QUOTE_HEADER_LEN - sizeof head);
	if (version == 5) {
		wr_le16(&w, report != NULL ? 1 : 2);
		wr_le32(&w, (uint32_t)body_len);
	}
	wr_bytes(&w, body, body_len);
	cr_assert(p256_sign_raw(sig, &f->qe.att_key, out.p, w.len) == ERR_OK);
	cr_assert(p256_pubkey(&pub, &f->qe.att_key) == ERR_OK);
	wr_le32(&w, (uint32_t)(qe_len + 128 + (version == 3 ? 0u : 6u)));
	wr_bytes(&w, sig, sizeof sig);
	wr_bytes(&w, pub.xy, sizeof pub.xy);
	if (version != 3) {
		wr_le16(&w, 6);
		wr_le32(&w, (uint32_t)qe_len);
	}
	write_qe(&w, f, cert_type, cert_data);
	cr_assert(wr_ok(&w));
	out.len = w.len;
	buf_fini(&f->quote);
	f->quote = out;
}

/* Puts `v` where a little-endian u32 stands. */
static void
put_le32(uint8_t *p, size_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

void
forge_qe_auth(struct forge *f, size_t len)
{
	const size_t old_end = Q_QE_AUTH + SIM_QE_AUTH_LEN;
	struct bytes bound[2] = { { f->quote.p + Q_KEY, 64 }, { 0 } };
	struct buf out = { 0 };
	uint8_t *auth = calloc(1, len + 1);

	cr_assert_not_null(auth);
	memset(auth, 0x3c, len);
	bound[1] = (struct bytes){ auth, len };
	sha256_v(f->quote.p + Q_QE + QE_DATA, bound, 2);
	forge_resign_qe(f);
	cr_assert(buf_append(&out, f->quote.p, Q_QE_AUTH, 1u << 20) == ERR_OK);
	cr_assert(buf_append(&out, auth, len, 1u << 20) == ERR_OK);
	cr_assert(buf_append(&out, f->quote.p + old_end, f->quote.len - old_end,
		      1u << 20) == ERR_OK);
	out.p[Q_QE_AUTH - 2] = (uint8_t)len;
	out.p[Q_QE_AUTH - 1] = (uint8_t)(len >> 8);
	put_le32(out.p + Q_SIGNATURE - 4, out.len - Q_SIGNATURE);
	put_le32(out.p + Q_QE - 4, out.len - Q_QE);
	free(auth);
	buf_fini(&f->quote);
	f->quote = out;
}

void
forge_sgx(struct forge *w, unsigned version)
{
	uint8_t report[QUOTE_QE_REPORT_LEN];

	/* Bytes that differ by place, so that a wrong offset shows. */
	for (size_t i = 0; i < sizeof report; i++)
		report[i] = (uint8_t)(i * 7 + 1);
	memset(report + QE_ATTRIBUTES, 0, 16);
	report[QE_ATTRIBUTES] = 0x05; /* INIT, MODE64 */
	forge_quote(w, version, report, 5, buf_view(&w->qe.pck_chain));
	forge_tcb_info(w, "\"id\":\"TDX\"", "\"id\":\"SGX\"");
	forge_qe_identity(w, "\"id\":\"TD_QE\"", "\"id\":\"QE\"");
}
