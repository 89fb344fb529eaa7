#include <string.h>

#include <openssl/x509.h>
#include <zlib.h>

#include "common/attest/attestation.h"
#include "common/attest/certext.h"
#include "common/base/rd.h"

#define ARC "1.3.6.1.4.1.62397.1."
#define GZIP_MAGIC "ELGZv1"

/* By the last number of its OID. */
enum {
	EXT_QUOTE = 1,
	EXT_LOG = 2,
	EXT_APP_ID = 3,
	EXT_USAGE = 4,
	EXT_ATTESTATION = 8,
	EXT_INFO = 9,
	EXT_COUNT = 10
};

static enum err
bad(struct refusal *why, const char *what)
{
	return refuse(why, REASON_QUOTE_MALFORMED, "certificate: %s", what);
}

/* Its last number if the OID is one of ours, else 0. */
static int
number_of(X509_EXTENSION *x)
{
	char oid[64];
	int n = OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(x), 1);

	if (n != (int)sizeof ARC || strncmp(oid, ARC, sizeof ARC - 1) != 0)
		return 0;
	n = oid[sizeof ARC - 1] - '0';
	switch (n) {
	case EXT_QUOTE:
	case EXT_LOG:
	case EXT_APP_ID:
	case EXT_USAGE:
	case EXT_ATTESTATION:
	case EXT_INFO:
		return n;
	default:
		return 0;
	}
}

/* The OCTET STRING inside, borrowed; false: it is something else. */
static bool
unwrap(struct bytes *out, X509_EXTENSION *x)
{
	const ASN1_OCTET_STRING *s = X509_EXTENSION_get_data(x);
	const unsigned char *p = ASN1_STRING_get0_data(s);
	long all = ASN1_STRING_length(s), len = 0;
	int tag = 0, class = 0;
	const unsigned char *at = p;

	if (all <= 0 || ASN1_get_object(&at, &len, &tag, &class, all) != 0 ||
	    tag != V_ASN1_OCTET_STRING || class != V_ASN1_UNIVERSAL ||
	    len != all - (at - p))
		return false;
	*out = (struct bytes){ at, (size_t)len };
	return true;
}

/* ---- app info: MessagePack ---- */

/* A bin, or a str, of 0 to `max` bytes: 8 and 16 bit lengths. */
static struct bytes
get_bin(struct rd *r, size_t max)
{
	struct bytes b = { .len = 0 };

	switch (rd_u8(r)) {
	case 0xc4:
		b.len = rd_u8(r);
		break;
	case 0xc5:
		b.len = rd_be16(r);
		break;
	default:
		r->bad = true;
	}
	if (b.len > max)
		r->bad = true;
	b.p = r->bad ? NULL : rd_bytes(r, b.len);
	if (r->bad)
		return (struct bytes){ 0 };
	return b;
}

static void
get_fixed(struct rd *r, uint8_t *out, size_t len)
{
	struct bytes b = get_bin(r, len);

	if (b.len != len)
		r->bad = true;
	else
		memcpy(out, b.p, len);
}

/* nil, or an array of hashes, which nobody here looks at. */
static void
skip_scripts(struct rd *r)
{
	uint8_t head = rd_u8(r), hash[32];

	if (head == 0xc0)
		return;
	if ((head & 0xf0) != 0x90)
		r->bad = true;
	for (unsigned i = 0; !r->bad && i < (head & 0x0fu); i++)
		get_fixed(r, hash, sizeof hash);
}

static bool
read_info(struct certext_info *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct certext_info v = { .has_instance_id = false };
	struct bytes b;

	if (rd_u8(&r) != 0x99)
		return false;
	get_fixed(&r, v.app_id, 20);
	get_fixed(&r, v.compose_hash, 32);
	b = get_bin(&r, 20);
	v.has_instance_id = b.len == 20;
	if (b.len == 20)
		memcpy(v.instance_id, b.p, 20);
	else if (b.len != 0)
		r.bad = true;
	get_fixed(&r, v.device_id, 32);
	get_fixed(&r, v.mr_system, 32);
	get_fixed(&r, v.mr_aggregated, 32);
	get_fixed(&r, v.os_image_hash, 32);
	b = get_bin(&r, KEY_PROVIDER_MAX - 1);
	if (b.len > 0 && memchr(b.p, '\0', b.len) == NULL)
		memcpy(v.key_provider, b.p, b.len);
	else if (b.len > 0)
		r.bad = true;
	skip_scripts(&r);
	if (!rd_done(&r))
		return false;
	*out = v;
	return true;
}

/* ---- the event log of the older pair ---- */

/* Exactly one gzip stream, of at most LIMIT_EVENT_LOG bytes inside. */
static enum err
gunzip(struct buf *out, struct bytes in)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p,
		.avail_in = (uInt)in.len };
	enum err e = buf_reserve(out, LIMIT_EVENT_LOG);
	int rc;

	if (e != ERR_OK)
		return e;
	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return ERR_NOMEM;
	z.next_out = out->p;
	z.avail_out = LIMIT_EVENT_LOG;
	rc = inflate(&z, Z_FINISH);
	out->len = LIMIT_EVENT_LOG - z.avail_out;
	out->p[out->len] = '\0';
	e = rc == Z_STREAM_END && z.avail_in == 0 ? ERR_OK : ERR_MALFORMED;
	(void)inflateEnd(&z);
	return e;
}

static enum err
read_log(struct buf *out, struct bytes in)
{
	const size_t n = sizeof GZIP_MAGIC - 1;

	if (in.len > LIMIT_EVENT_LOG)
		return ERR_LIMIT;
	if (in.len >= n && memcmp(in.p, GZIP_MAGIC, n) == 0)
		return gunzip(out, (struct bytes){ in.p + n, in.len - n });
	return buf_set(out, in.p, in.len);
}

static enum err
read_pair(struct certext *c, struct bytes quote, struct bytes log,
    struct refusal *why)
{
	enum err e;

	if (quote.len > LIMIT_QUOTE)
		return bad(why, "quote too long");
	c->ev.tee = TEE_TDX;
	c->legacy = true;
	c->has_evidence = true;
	if ((e = buf_set(&c->ev.quote, quote.p, quote.len)) != ERR_OK)
		return e;
	e = read_log(&c->ev.event_log, log);
	return e == ERR_MALFORMED || e == ERR_LIMIT
	    ? bad(why, "event log does not unpack")
	    : e;
}

/* ---- */

static enum err
collect(
    struct bytes ext[static EXT_COUNT], const X509 *cert, struct refusal *why)
{
	for (int i = 0; i < X509_get_ext_count(cert); i++) {
		X509_EXTENSION *x = X509_get_ext(cert, i);
		int n = number_of(x);

		if (n == 0)
			continue;
		if (ext[n].p != NULL)
			return bad(why, "an extension is there twice");
		if (!unwrap(&ext[n], x) || ext[n].len == 0)
			return bad(why, "an extension is no OCTET STRING");
	}
	return ERR_OK;
}

static enum err
fill(struct certext *c, const struct bytes ext[static EXT_COUNT],
    struct refusal *why)
{
	const struct bytes *usage = &ext[EXT_USAGE];

	if (ext[EXT_APP_ID].p != NULL && ext[EXT_APP_ID].len != 20)
		return bad(why, "app id");
	c->has_app_id = ext[EXT_APP_ID].p != NULL;
	if (c->has_app_id)
		memcpy(c->app_id, ext[EXT_APP_ID].p, 20);
	if (usage->len >= CERTEXT_USAGE_MAX)
		return bad(why, "usage");
	for (size_t i = 0; i < usage->len; i++)
		if (usage->p[i] < 0x20 || usage->p[i] > 0x7e)
			return bad(why, "usage");
	if (usage->len > 0)
		memcpy(c->usage, usage->p, usage->len);
	c->has_info = ext[EXT_INFO].p != NULL;
	if (c->has_info && !read_info(&c->info, ext[EXT_INFO]))
		return bad(why, "app info");
	if ((ext[EXT_QUOTE].p != NULL) != (ext[EXT_LOG].p != NULL) ||
	    (ext[EXT_QUOTE].p != NULL && ext[EXT_ATTESTATION].p != NULL))
		return bad(why, "two kinds of attestation, or half of one");
	if (ext[EXT_QUOTE].p != NULL)
		return read_pair(c, ext[EXT_QUOTE], ext[EXT_LOG], why);
	if (ext[EXT_ATTESTATION].p == NULL)
		return ERR_OK;
	c->has_evidence = true;
	return attestation_decode(
	    &c->ev, c->report_data, ext[EXT_ATTESTATION], why);
}

enum err
certext_read(struct certext *out, const X509 *cert, struct refusal *why)
{
	struct bytes ext[EXT_COUNT] = { { 0 } };
	struct certext c = { .has_app_id = false };
	enum err e = collect(ext, cert, why);

	if (e == ERR_OK)
		e = fill(&c, ext, why);
	if (e == ERR_OK)
		*out = c;
	else
		certext_fini(&c);
	return e;
}

void
certext_fini(struct certext *c)
{
	evidence_fini(&c->ev);
}

enum err
certext_parse(struct certext *out, struct bytes der, struct refusal *why)
{
	const unsigned char *at = der.p;
	X509 *x = NULL;
	enum err e;

	if (der.len <= CERTEXT_CERT_MAX)
		x = d2i_X509(NULL, &at, (long)der.len);
	if (x == NULL || at != der.p + der.len)
		e = bad(why, "not one DER certificate");
	else
		e = certext_read(out, x, why);
	X509_free(x);
	return e;
}
