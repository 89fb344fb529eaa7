/* quote: layouts of tdx-dcap.md 1.1 to 1.5.
 *
 *   header[48]  v5: u16 body type, u32 body size  body  u32 auth size  auth
 *
 * Three sizes nest in the auth data (auth, outer certification data, inner
 * certification data); each must use up the one around it exactly, since
 * none of those bytes is covered by the quote's signature. */
#include <assert.h>
#include <string.h>

#include "common/attest/quote.h"
#include "common/base/limits.h"
#include "common/base/rd.h"

#define TEE_TYPE_SGX 0x00u
#define TEE_TYPE_TDX 0x81u
#define ATT_KEY_P256 2u
#define SGX_REPORT_LEN 384u
#define CERT_QE_REPORT 6u
#define CERT_TYPE_MIN 1u
#define CERT_TYPE_MAX 5u

/* tdx-dcap.md 1.2: body types of a version 5 quote. */
enum body_type {
	BODY_SGX = 1,
	BODY_TD10 = 2,
	BODY_TD15 = 3,
};

static const uint8_t intel_qe_vendor[16] = { 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c,
	0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07 };

static_assert(QUOTE_HEADER_LEN + 520 == QUOTE_V4_REPORT_DATA, "1.4");
static_assert(QUOTE_TD10_LEN + 64 == QUOTE_TD15_LEN, "1.4");
static_assert(QUOTE_QE_REPORT_LEN == SGX_REPORT_LEN, "1.3");

static enum err
truncated(struct refusal *why, const char *where)
{
	return refuse(
	    why, REASON_QUOTE_MALFORMED, "QUOTE_TRUNCATED: %s", where);
}

static void
take(struct rd *r, uint8_t *out, size_t len)
{
	const uint8_t *p = rd_bytes(r, len);

	if (p != NULL)
		memcpy(out, p, len);
}

/* tdx-dcap.md 1.4; `len` is one of the two lengths. */
static void
td_parse(struct td_report *td, const uint8_t *body, size_t len)
{
	struct rd r = { .p = body, .left = len };

	memset(td, 0, sizeof *td);
	take(&r, td->tee_tcb_svn, sizeof td->tee_tcb_svn);
	take(&r, td->mrseam, sizeof td->mrseam);
	take(&r, td->mrsignerseam, sizeof td->mrsignerseam);
	take(&r, td->seam_attributes, sizeof td->seam_attributes);
	take(&r, td->td_attributes, sizeof td->td_attributes);
	take(&r, td->xfam, sizeof td->xfam);
	take(&r, td->mrtd, sizeof td->mrtd);
	take(&r, td->mrconfigid, sizeof td->mrconfigid);
	take(&r, td->mrowner, sizeof td->mrowner);
	take(&r, td->mrownerconfig, sizeof td->mrownerconfig);
	for (int i = 0; i < 4; i++)
		take(&r, td->rtmr[i], sizeof td->rtmr[i]);
	take(&r, td->report_data, sizeof td->report_data);
	td->has_15 = len == QUOTE_TD15_LEN;
	if (td->has_15) {
		take(&r, td->tee_tcb_svn_2, sizeof td->tee_tcb_svn_2);
		take(&r, td->mrservicetd, sizeof td->mrservicetd);
	}
	assert(rd_done(&r));
}

void
quote_sgx_report(
    struct sgx_report *out, const uint8_t body[static QUOTE_QE_REPORT_LEN])
{
	struct rd r = { .p = body, .left = SGX_REPORT_LEN };

	take(&r, out->cpusvn, sizeof out->cpusvn);
	take(&r, out->miscselect, sizeof out->miscselect);
	(void)rd_bytes(&r, 28);
	take(&r, out->attributes, sizeof out->attributes);
	take(&r, out->mrenclave, sizeof out->mrenclave);
	(void)rd_bytes(&r, 32);
	take(&r, out->mrsigner, sizeof out->mrsigner);
	(void)rd_bytes(&r, 96);
	out->isvprodid = rd_le16(&r);
	out->isvsvn = rd_le16(&r);
	(void)rd_bytes(&r, 60);
	take(&r, out->report_data, sizeof out->report_data);
	assert(rd_done(&r));
}

static enum err
header_parse(struct quote *q, struct rd *r, struct refusal *why)
{
	uint16_t version = rd_le16(r);
	uint16_t key_type = rd_le16(r);
	uint32_t tee_type = rd_le32(r);
	(void)rd_le32(r); /* v3: SVNs, informational only; else reserved */
	const uint8_t *vendor = rd_bytes(r, sizeof intel_qe_vendor);

	(void)rd_bytes(r, 20); /* user data: names the QE, proves nothing */
	if (r->bad)
		return truncated(why, "header");
	if (version < 3 || version > 5)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "QUOTE_VERSION: %u", version);
	if (key_type != ATT_KEY_P256)
		return refuse(why, REASON_QUOTE_UNSUPPORTED, "ATT_KEY_TYPE: %u",
		    key_type);
	if (tee_type != TEE_TYPE_SGX &&
	    (tee_type != TEE_TYPE_TDX || version == 3))
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "TEE_TYPE: 0x%x in version %u", tee_type, version);
	if (memcmp(vendor, intel_qe_vendor, sizeof intel_qe_vendor) != 0)
		return refuse(
		    why, REASON_QUOTE_UNSUPPORTED, "QE_VENDOR_ID: not Intel's");
	q->version = version;
	q->tee = tee_type == TEE_TYPE_TDX ? TEE_TDX : TEE_SGX;
	return ERR_OK;
}

/* The length of the body; in version 5 its descriptor says so twice. */
static enum err
body_len(size_t *out, const struct quote *q, struct rd *r, struct refusal *why)
{
	uint16_t type;
	uint32_t size;

	if (q->version != 5) {
		*out = q->tee == TEE_TDX ? QUOTE_TD10_LEN : SGX_REPORT_LEN;
		return ERR_OK;
	}
	type = rd_le16(r);
	size = rd_le32(r);
	if (r->bad)
		return truncated(why, "body descriptor");
	if (type < BODY_SGX || type > BODY_TD15)
		return refuse(
		    why, REASON_QUOTE_UNSUPPORTED, "BODY_TYPE: %u", type);
	if ((type == BODY_SGX) != (q->tee == TEE_SGX))
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "BODY_TYPE: %u does not fit the TEE type", type);
	*out = type == BODY_SGX ? SGX_REPORT_LEN
	    : type == BODY_TD10 ? QUOTE_TD10_LEN
				: QUOTE_TD15_LEN;
	if (size != *out)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "BODY_SIZE: %u for type %u", size, type);
	return ERR_OK;
}

/* From the QE report on, the auth data is the same in all versions. */
static enum err
qe_parse(struct quote *q, struct rd *r, const char *name, struct refusal *why)
{
	uint32_t len;

	q->qe_report = rd_bytes(r, QUOTE_QE_REPORT_LEN);
	q->qe_report_signature = rd_bytes(r, 64);
	q->qe_auth.len = rd_le16(r);
	if (r->bad)
		return truncated(why, "QE report");
	if (q->qe_auth.len > LIMIT_QE_AUTH)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "QUOTE_TRUNCATED: QE auth of %zu bytes", q->qe_auth.len);
	q->qe_auth.p = rd_bytes(r, q->qe_auth.len);
	if (r->bad)
		return truncated(why, "QE auth");
	q->cert_type = rd_le16(r);
	len = rd_le32(r);
	q->cert_data.p = rd_bytes(r, len);
	q->cert_data.len = len;
	if (r->bad)
		return truncated(why, "cert data");
	if (q->cert_type < CERT_TYPE_MIN || q->cert_type > CERT_TYPE_MAX)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "CERT_DATA_TYPE: inner %u", q->cert_type);
	if (!rd_done(r))
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "AUTH_TRAILING: %s, %zu bytes", name, r->left);
	return ERR_OK;
}

static enum err
auth_parse(struct quote *q, struct rd *r, struct refusal *why)
{
	struct rd outer = { 0 };
	uint16_t type;
	uint32_t len;

	q->signature = rd_bytes(r, 64);
	q->att_key = rd_bytes(r, 64);
	if (r->bad)
		return truncated(why, "signature");
	if (q->version == 3)
		return qe_parse(q, r, "auth", why);
	type = rd_le16(r);
	len = rd_le32(r);
	if (!r->bad && type != CERT_QE_REPORT)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "CERT_DATA_TYPE: outer %u", type);
	outer.p = rd_bytes(r, len);
	outer.left = len;
	if (r->bad)
		return truncated(why, "outer cert data");
	if (!rd_done(r))
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "AUTH_TRAILING: outer, %zu bytes", r->left);
	return qe_parse(q, &outer, "inner", why);
}

enum err
quote_parse(struct quote *out, struct bytes in, struct refusal *why)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct rd auth = { 0 };
	struct quote q = { 0 };
	size_t len = 0;
	enum err e;

	if (in.len > LIMIT_QUOTE)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "QUOTE_SIZE: %zu bytes", in.len);
	if ((e = header_parse(&q, &r, why)) != ERR_OK ||
	    (e = body_len(&len, &q, &r, why)) != ERR_OK)
		return e;
	q.body.p = rd_bytes(&r, len);
	q.body.len = len;
	if (r.bad)
		return truncated(why, "body");
	q.signed_part = (struct bytes){ in.p, in.len - r.left };
	auth.left = rd_le32(&r);
	if (r.bad)
		return truncated(why, "auth size");
	auth.p = rd_bytes(&r, auth.left);
	if (r.bad)
		return truncated(why, "auth data");
	q.canonical_len = in.len - r.left;
	if ((e = auth_parse(&q, &auth, why)) != ERR_OK)
		return e;
	/* Buffers of fixed size are handed on whole, mostly zeros (P17); some
	 * kernels leave there what a host chose (P28).  Nothing covers these
	 * bytes and nothing looks at them. */
	if (q.tee == TEE_TDX)
		td_parse(&q.td, q.body.p, q.body.len);
	else
		quote_sgx_report(&q.sgx, q.body.p);
	*out = q;
	return ERR_OK;
}
