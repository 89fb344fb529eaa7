/* nitro: steps of tdx-dcap.md 4.2, cheap before dear: bytes, pinned root,
 * chain, signature, and only then what the signed fields say.
 *
 * Unsigned bytes are refused wherever COSE would allow them: the unprotected
 * header is empty, the protected one has its only form, lengths are shortest
 * and nothing follows the signature. */
#include <assert.h>
#include <string.h>

#include "common/attest/cborrd.h"
#include "common/attest/certpath.h"
#include "common/attest/nitro.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "common/crypto/p384.h"

#define TAG_COSE_SIGN1 18
#define MS_PER_S 1000

static_assert(LIMIT_NITRO_DOC <= UINT16_MAX, "length of the payload");
static_assert(NITRO_CABUNDLE_MAX + 1 <= CERTPATH_MAX, "fits a path");

/* {1: -35}: ES384. */
static const uint8_t protected_es384[4] = { 0xa1, 0x01, 0x38, 0x22 };

/* "AWS Nitro Enclaves Root-G1", SHA-256 of the certificate's DER. */
static const uint8_t root_g1_sha256[32] = { 0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2,
	0x44, 0xef, 0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31, 0x7e, 0xd7,
	0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0, 0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79,
	0xbb, 0x5b };

#define FIELD_LIST(X) \
	X(MODULE_ID, "module_id") \
	X(DIGEST, "digest") \
	X(TIMESTAMP, "timestamp") \
	X(PCRS, "pcrs") \
	X(CERTIFICATE, "certificate") \
	X(CABUNDLE, "cabundle") \
	X(PUBLIC_KEY, "public_key") \
	X(USER_DATA, "user_data") \
	X(NONCE, "nonce")

enum field {
#define X(name, text) FIELD_##name,
	FIELD_LIST(X)
#undef X
	    FIELD_COUNT
};

static const char *const field_text[FIELD_COUNT] = {
#define X(name, text) [FIELD_##name] = text,
	FIELD_LIST(X)
#undef X
};

/* Those that every document has; the last three are optional. */
#define FIELDS_REQUIRED ((1u << FIELD_PUBLIC_KEY) - 1)

static bool
bytes_are(struct bytes a, const void *p, size_t len)
{
	return a.len == len && (len == 0 || memcmp(a.p, p, len) == 0);
}

static bool
read_module_id(struct nitro_doc *d, struct cborrd *r)
{
	struct cborrd_item it = cborrd_next(r);

	if (it.type != CBORRD_TEXT || it.str.len == 0 ||
	    it.str.len > NITRO_MODULE_ID_MAX)
		return false;
	for (size_t i = 0; i < it.str.len; i++)
		if (it.str.p[i] < 0x21 || it.str.p[i] > 0x7e)
			return false;
	d->module_id = it.str;
	return true;
}

static bool
read_digest(struct cborrd *r)
{
	struct cborrd_item it = cborrd_next(r);

	return it.type == CBORRD_TEXT && bytes_are(it.str, "SHA384", 6);
}

static bool
read_timestamp(struct nitro_doc *d, struct cborrd *r)
{
	struct cborrd_item it = cborrd_next(r);

	if (it.type != CBORRD_UINT || it.n == 0 || it.n > INT64_MAX)
		return false;
	d->timestamp_ms = it.n;
	return true;
}

static bool
read_pcrs(struct nitro_doc *d, struct cborrd *r)
{
	struct cborrd_list l = cborrd_open(r, CBORRD_MAP);

	while (cborrd_more(r, &l)) {
		struct cborrd_item k = cborrd_next(r), v = cborrd_next(r);

		if (k.type != CBORRD_UINT || k.n >= NITRO_N_PCRS ||
		    d->pcr[k.n] != NULL || v.type != CBORRD_BYTES ||
		    v.str.len != NITRO_PCR_LEN)
			return false;
		d->pcr[k.n] = v.str.p;
	}
	/* Without these nothing says which image runs. */
	return !r->bad && d->pcr[0] != NULL && d->pcr[1] != NULL &&
	    d->pcr[2] != NULL;
}

static bool
read_cert(struct bytes *out, struct cborrd *r)
{
	struct cborrd_item it = cborrd_next(r);

	if (it.type != CBORRD_BYTES || it.str.len == 0 ||
	    it.str.len > NITRO_CERT_MAX)
		return false;
	*out = it.str;
	return true;
}

static bool
read_cabundle(struct nitro_doc *d, struct cborrd *r)
{
	struct cborrd_list l = cborrd_open(r, CBORRD_ARRAY);

	while (cborrd_more(r, &l)) {
		if (d->n_cabundle == NITRO_CABUNDLE_MAX ||
		    !read_cert(&d->cabundle[d->n_cabundle], r))
			return false;
		d->n_cabundle++;
	}
	return !r->bad && d->n_cabundle > 0;
}

static bool
read_opt(struct nitro_opt *out, struct cborrd *r)
{
	struct cborrd_item it = cborrd_next(r);

	if (it.type == CBORRD_NULL)
		return true;
	if (it.type != CBORRD_BYTES || it.str.len > NITRO_FIELD_MAX)
		return false;
	*out = (struct nitro_opt){ .present = true, .b = it.str };
	return true;
}

static bool
read_field(struct nitro_doc *d, struct cborrd *r, enum field f)
{
	switch (f) {
	case FIELD_MODULE_ID:
		return read_module_id(d, r);
	case FIELD_DIGEST:
		return read_digest(r);
	case FIELD_TIMESTAMP:
		return read_timestamp(d, r);
	case FIELD_PCRS:
		return read_pcrs(d, r);
	case FIELD_CERTIFICATE:
		return read_cert(&d->certificate, r);
	case FIELD_CABUNDLE:
		return read_cabundle(d, r);
	case FIELD_PUBLIC_KEY:
		return read_opt(&d->public_key, r);
	case FIELD_USER_DATA:
		return read_opt(&d->user_data, r);
	case FIELD_NONCE:
		return read_opt(&d->nonce, r);
	case FIELD_COUNT:
		break;
	}
	return false;
}

static enum err
refuse_cbor(const struct cborrd *r, const char *what, struct refusal *why)
{
	return refuse(why, REASON_QUOTE_MALFORMED, "%s: %s",
	    r->truncated ? "CBOR_TRUNC" : "CBOR", what);
}

static enum err
parse_payload(struct nitro_doc *d, struct refusal *why)
{
	struct cborrd r = { .p = d->payload.p, .left = d->payload.len };
	struct cborrd_list l = cborrd_open(&r, CBORRD_MAP);
	unsigned seen = 0, f;

	while (cborrd_more(&r, &l)) {
		struct cborrd_item k = cborrd_next(&r);

		if (k.type != CBORRD_TEXT)
			return refuse_cbor(&r, "payload key", why);
		for (f = 0; f < FIELD_COUNT; f++)
			if (bytes_are(
				k.str, field_text[f], strlen(field_text[f])))
				break;
		if (f == FIELD_COUNT)
			return refuse(why, REASON_QUOTE_UNSUPPORTED,
			    "UNKNOWN_FIELD: %.*s",
			    (int)(k.str.len < 32 ? k.str.len : 32),
			    (const char *)k.str.p);
		if ((seen & 1u << f) != 0)
			return refuse(why, REASON_QUOTE_MALFORMED,
			    "DUPLICATE %s", field_text[f]);
		seen |= 1u << f;
		if (!read_field(d, &r, (enum field)f))
			return refuse(why, REASON_QUOTE_MALFORMED, "FIELD %s",
			    field_text[f]);
	}
	if (r.bad)
		return refuse_cbor(&r, "payload", why);
	if (r.left != 0)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "TRAILING %zu in the payload", r.left);
	for (f = 0; f < FIELD_COUNT; f++)
		if ((FIELDS_REQUIRED & ~seen & 1u << f) != 0)
			return refuse(why, REASON_QUOTE_MALFORMED,
			    "FIELD %s: missing", field_text[f]);
	return ERR_OK;
}

/* COSE_Sign1 = [protected bstr, unprotected map, payload bstr, signature
 * bstr]: RFC 9052 4.2. */
static enum err
parse_cose(struct nitro_doc *d, bool *null_header, struct bytes in,
    struct refusal *why)
{
	struct cborrd r = { .p = in.p, .left = in.len };
	struct cborrd_item head = cborrd_next(&r), prot, unprot, payload, sig;

	if (head.type == CBORRD_TAG && head.n == TAG_COSE_SIGN1)
		head = cborrd_next(&r);
	if (!r.bad &&
	    (head.type != CBORRD_ARRAY || head.indefinite || head.n != 4))
		return refuse(
		    why, REASON_QUOTE_MALFORMED, "COSE: not a COSE_Sign1");
	prot = cborrd_next(&r);
	unprot = cborrd_next(&r);
	/* A map with content would have to be read to find the payload.  Null,
	 * which some write here, is one byte: the caller refuses it, once what
	 * the document says has been looked at. */
	*null_header = unprot.type == CBORRD_NULL;
	if (!r.bad && !*null_header &&
	    (unprot.type != CBORRD_MAP || unprot.indefinite || unprot.n != 0))
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "UNPROTECTED: not an empty map");
	payload = cborrd_next(&r);
	sig = cborrd_next(&r);
	if (r.bad)
		return refuse_cbor(&r, "COSE_Sign1", why);
	if (r.left != 0)
		return refuse(
		    why, REASON_QUOTE_MALFORMED, "TRAILING %zu", r.left);
	if (prot.type != CBORRD_BYTES ||
	    !bytes_are(prot.str, protected_es384, sizeof protected_es384))
		return refuse(
		    why, REASON_QUOTE_UNSUPPORTED, "PROTECTED: not ES384");
	if (payload.type != CBORRD_BYTES)
		return refuse(why, REASON_QUOTE_MALFORMED, "COSE: payload");
	if (sig.type != CBORRD_BYTES || sig.str.len != P384_SIG_LEN)
		return refuse(why, REASON_QUOTE_MALFORMED, "SIGNATURE_LEN: %zu",
		    sig.str.len);
	d->payload = payload.str;
	d->signature = sig.str.p;
	return ERR_OK;
}

enum err
nitro_parse(struct nitro_doc *out, struct bytes in, struct refusal *why)
{
	struct nitro_doc d = { 0 };
	bool null_header = false;
	enum err e;

	if (in.len == 0)
		return refuse(why, REASON_QUOTE_MALFORMED, "CBOR: empty");
	if (in.len > LIMIT_NITRO_DOC)
		return refuse(
		    why, REASON_QUOTE_MALFORMED, "DOC_SIZE %zu", in.len);
	if ((e = parse_cose(&d, &null_header, in, why)) != ERR_OK ||
	    (e = parse_payload(&d, why)) != ERR_OK)
		return e;
	if (null_header)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "UNPROTECTED: null, not an empty map");
	*out = d;
	return ERR_OK;
}

/* P31: the root in the document is believed because of its fingerprint. */
static enum err
check_root(struct nitro_verdict *v, const struct nitro_doc *d,
    const struct nitro_options *o, struct refusal *why)
{
	sha256(v->root_fingerprint, d->cabundle[0].p, d->cabundle[0].len);
	if (memcmp(v->root_fingerprint, root_g1_sha256, 32) == 0)
		return ERR_OK;
	if (o->simulated_root == NULL ||
	    memcmp(v->root_fingerprint, o->simulated_root, 32) != 0)
		return refuse(why, REASON_VENDOR_CHAIN, "ROOT: not AWS's");
	v->simulated = true;
	return ERR_OK;
}

static const char *
fault_name(enum certpath_fault f)
{
	switch (f) {
	case CERTPATH_ISSUER:
		return "CHAIN_ISSUER";
	case CERTPATH_SIGNATURE:
		return "CHAIN_SIG";
	case CERTPATH_TIME:
		return "CERT_TIME";
	case CERTPATH_OK:
	case CERTPATH_SHAPE:
	case CERTPATH_REVOKED:
		break;
	}
	return "CHAIN_SHAPE";
}

static int64_t
doc_time(const struct nitro_doc *d)
{
	return (int64_t)(d->timestamp_ms / MS_PER_S); /* P31: milliseconds */
}

static enum err
check_path(struct nitro_verdict *v, const struct certpath *path,
    const struct nitro_doc *d, int64_t now, struct refusal *why)
{
	const char *text = "out of date";
	enum certpath_fault f;
	size_t at = 0;

	for (size_t i = 0; i <= d->n_cabundle; i++)
		if (!certpath_signed_with(path, i, CERTPATH_ECDSA_SHA384))
			return refuse(
			    why, REASON_VENDOR_CHAIN, "CERT_ALGO %zu", i);
	f = certpath_verify(path, &at, &text);
	if (f == CERTPATH_OK) {
		text = "out of date";
		f = certpath_in_date(path, &at, doc_time(d));
	}
	if (f == CERTPATH_OK)
		f = certpath_in_date(path, &at, now);
	if (f != CERTPATH_OK)
		return refuse(why, REASON_VENDOR_CHAIN, "%s %zu: %s",
		    fault_name(f), at, text);
	certpath_window(path, &v->valid_from, &v->valid_until);
	return ERR_OK;
}

/* Sig_structure: RFC 9052 4.4; external_aad is empty. */
static enum err
check_signature(
    const struct certpath *path, const struct nitro_doc *d, struct refusal *why)
{
	static const uint8_t head[] = { 0x84, 0x6a, 'S', 'i', 'g', 'n', 'a',
		't', 'u', 'r', 'e', '1', 0x44, 0xa1, 0x01, 0x38, 0x22, 0x40 };
	size_t n = d->payload.len;
	/* The payload's head, in its shortest form: there are certificates in
	 * it, so it is longer than a byte tells, and LIMIT_NITRO_DOC is below
	 * 2^16. */
	const uint8_t len[3] = { 0x59, (uint8_t)(n >> 8), (uint8_t)n };
	uint8_t digest[SHA384_LEN];
	struct bytes part[3];
	enum err e;

	part[0] = BYTES_OF(head);
	part[1] = BYTES_OF(len);
	part[2] = d->payload;
	sha384_v(digest, part, 3);
	e = p384_verify_digest(certpath_leaf_key(path), d->signature, digest);
	return e == ERR_AUTH ? refuse(why, REASON_QUOTE_SIGNATURE,
				   "COSE_SIG: document signature")
			     : e;
}

static enum err
check_fresh(const struct nitro_doc *d, const struct nitro_options *o,
    struct refusal *why)
{
	int64_t t = doc_time(d);
	int64_t max = o->max_age_s > 0 ? o->max_age_s : NITRO_MAX_AGE_DEFAULT_S;

	/* Neither difference can overflow: t and now are inside a chain's
	 * window, which was checked. */
	if (t - o->now > NITRO_SKEW_S)
		return refuse(why, REASON_EVIDENCE_EXPIRED,
		    "TIMESTAMP_FUTURE: %lld s", (long long)(t - o->now));
	if (o->now - t > max)
		return refuse(why, REASON_EVIDENCE_EXPIRED,
		    "TIMESTAMP_OLD: %lld s", (long long)(o->now - t));
	return ERR_OK;
}

static enum err
check_asked(const struct nitro_doc *d, const struct nitro_options *o,
    struct refusal *why)
{
	const struct {
		const char *code;
		const struct nitro_opt *got;
		struct bytes want;
	} list[] = {
		{ "NONCE", &d->nonce, o->nonce },
		{ "USER_DATA", &d->user_data, o->user_data },
		{ "PUBLIC_KEY", &d->public_key, o->public_key },
	};

	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
		if (list[i].want.p != NULL &&
		    (!list[i].got->present ||
			!bytes_are(
			    list[i].got->b, list[i].want.p, list[i].want.len)))
			return refuse(why, REASON_REPORT_DATA,
			    "%s: made for something else", list[i].code);
	return ERR_OK;
}

static void
keep_field(struct nitro_field *out, const struct nitro_opt *in)
{
	out->present = in->present;
	out->len = (uint16_t)in->b.len;
	if (in->b.len > 0)
		memcpy(out->b, in->b.p, in->b.len);
}

static bool
is_zero(const uint8_t p[static NITRO_PCR_LEN])
{
	static const uint8_t zero[NITRO_PCR_LEN];

	return memcmp(p, zero, sizeof zero) == 0;
}

static void
keep(struct nitro_verdict *v, const struct nitro_doc *d)
{
	memcpy(v->module_id, d->module_id.p, d->module_id.len);
	v->timestamp_ms = d->timestamp_ms;
	for (unsigned i = 0; i < NITRO_N_PCRS; i++)
		if (d->pcr[i] != NULL) {
			v->pcr_mask |= UINT32_C(1) << i;
			memcpy(v->pcr[i], d->pcr[i], NITRO_PCR_LEN);
		}
	v->debug =
	    is_zero(d->pcr[0]) || is_zero(d->pcr[1]) || is_zero(d->pcr[2]);
	keep_field(&v->public_key, &d->public_key);
	keep_field(&v->user_data, &d->user_data);
	keep_field(&v->nonce, &d->nonce);
}

enum err
nitro_verify(struct nitro_verdict *out, struct bytes in,
    const struct nitro_options *o, struct refusal *why)
{
	struct bytes der[NITRO_CABUNDLE_MAX + 1];
	struct certpath *path = NULL;
	struct nitro_verdict v = { 0 };
	struct nitro_doc d;
	size_t at = 0;
	enum err e;

	if ((e = nitro_parse(&d, in, why)) != ERR_OK ||
	    (e = check_root(&v, &d, o, why)) != ERR_OK)
		return e;
	der[0] = d.certificate; /* then the bundle, backwards */
	for (size_t i = 0; i < d.n_cabundle; i++)
		der[1 + i] = d.cabundle[d.n_cabundle - 1 - i];
	e = certpath_new(&path, &at, der, d.n_cabundle + 1);
	if (e == ERR_MALFORMED)
		return refuse(why, REASON_VENDOR_CHAIN, "CERT_PARSE %zu", at);
	if (e != ERR_OK)
		return e;
	if ((e = check_path(&v, path, &d, o->now, why)) == ERR_OK &&
	    (e = check_signature(path, &d, why)) == ERR_OK &&
	    (e = check_fresh(&d, o, why)) == ERR_OK &&
	    (e = check_asked(&d, o, why)) == ERR_OK) {
		keep(&v, &d);
		*out = v;
	}
	certpath_free(path);
	return e;
}

enum err
nitro_accept(const struct nitro_verdict *v, const struct nitro_policy *p,
    struct refusal *why)
{
	if (v->simulated && !p->allow_simulated)
		return refuse(why, REASON_SIMULATED,
		    "POLICY_SIMULATED: the root is not AWS's");
	if (v->debug && !p->allow_debug)
		return refuse(
		    why, REASON_TD_DEBUG, "DEBUG_PCR0_ZERO: a debug enclave");
	return ERR_OK;
}
