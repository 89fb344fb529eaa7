/* dstack's extensions in certificates: what is read is what stands there, once
 * and whole; and the older pair does not unpack without end. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <zlib.h>

#include "common/attest/attestation.h"
#include "common/attest/certext.h"
#include "common/attest/certmake.h"
#include "common/base/wr.h"
#include "kms/keys/certs.h"
#include "tests/lib/facts.h"
#include "tests/lib/guest.h"

static void
init(void)
{
	cr_assert_geq(sodium_init(), 0);
}

TestSuite(certext, .init = init, .timeout = 60);

/* One extension of a certificate: the number of its OID, its bytes, and how
 * they are wrapped. */
struct ext {
	const char *oid; /* the last part; behind "=": value as it is, not
			  * in an OCTET STRING of its own */
	struct bytes value;
};

static void
add(X509 *x, const struct ext *e)
{
	char oid[64];
	ASN1_OBJECT *obj;
	ASN1_OCTET_STRING *inner = ASN1_OCTET_STRING_new(),
			  *outer = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;
	unsigned char *der = NULL;
	int n;

	bool bare = e->oid[0] == '=';

	(void)snprintf(
	    oid, sizeof oid, "1.3.6.1.4.1.62397.1.%s", e->oid + bare);
	obj = OBJ_txt2obj(oid, 1);
	cr_assert(ASN1_OCTET_STRING_set(inner, e->value.p, (int)e->value.len));
	n = i2d_ASN1_OCTET_STRING(inner, &der);
	cr_assert(bare
		? ASN1_OCTET_STRING_set(outer, e->value.p, (int)e->value.len)
		: ASN1_OCTET_STRING_set(outer, der, n));
	cr_assert_not_null(
	    ext = X509_EXTENSION_create_by_OBJ(NULL, obj, 0, outer));
	cr_assert_eq(X509_add_ext(x, ext, -1), 1);
	X509_EXTENSION_free(ext);
	OPENSSL_free(der);
	ASN1_OCTET_STRING_free(inner);
	ASN1_OCTET_STRING_free(outer);
	ASN1_OBJECT_free(obj);
}

static enum err
read_exts(
    struct certext *out, const struct ext *e, size_t n, struct refusal *why)
{
	X509 *x = X509_new();
	enum err err;

	for (size_t i = 0; i < n; i++)
		add(x, &e[i]);
	err = certext_read(out, x, why);
	X509_free(x);
	return err;
}

#define READ(out, why, ...) \
	read_exts(out, (const struct ext[]){ __VA_ARGS__ }, \
	    sizeof((const struct ext[]){ __VA_ARGS__ }) / sizeof(struct ext), \
	    why)

static void
refused(const struct ext *e, size_t n)
{
	struct certext c = { .usage = "before" };
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(read_exts(&c, e, n, &why), ERR_DENIED);
	cr_assert_neq(why.code, REASON_NONE);
	cr_assert_str_eq(c.usage, "before");
}

#define REFUSED(...) \
	refused((const struct ext[]){ __VA_ARGS__ }, \
	    sizeof((const struct ext[]){ __VA_ARGS__ }) / sizeof(struct ext))

static const uint8_t id[20] = { 1, 2, 3 };
static uint8_t zeros[600];

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

Test(certext, refusals)
{
	const struct bytes log = BYTES_STR("[]");

	REFUSED({ "3", { id, 19 } });
	REFUSED({ "3", { zeros, 21 } });
	REFUSED({ "3", { id, 20 } }, { "3", { id, 20 } });
	REFUSED({ "=3", { id, 20 } });
	/* A tag and a length that lie, or end behind the bytes. */
	REFUSED({ "=3", BYTES_STR("\x04\x81") });
	REFUSED({ "=3", BYTES_STR("\x04\x02\x01") });
	REFUSED({ "=3", BYTES_STR("\x04\x01\x01\x01") });
	REFUSED({ "=3", BYTES_STR("\x24\x80\x04\x01\x01\x00\x00") });
	REFUSED({ "=3", BYTES_STR("\x30\x01\x01") });
	REFUSED({ "=3", BYTES_STR("\x04\x00") });
	REFUSED({ "4", { zeros, CERTEXT_USAGE_MAX } });
	REFUSED({ "4", BYTES_STR("a\nb") });
	REFUSED({ "4", BYTES_STR("a\0b") });
	REFUSED({ "8", BYTES_STR("x") });
	REFUSED({ "8", BYTES_STR("\0\0") });
	REFUSED({ "1", { zeros, 10 } });
	REFUSED({ "2", log });
	REFUSED(
	    { "1", { zeros, 10 } }, { "2", log }, { "8", BYTES_STR("\0\0") });
	REFUSED({ "9", BYTES_STR("\x99") });
	REFUSED({ "9", BYTES_STR("\x90") });
}

/* What nobody asked for is left alone. */
Test(certext, none)
{
	struct certext c;
	struct refusal why;

	cr_assert_eq(READ(&c, &why, { "33", BYTES_STR("x") },
			 { "7", BYTES_STR("x") }, { "3.1", BYTES_STR("x") }),
	    ERR_OK, "%s", why.detail);
	cr_assert(!c.has_app_id && !c.has_evidence && !c.has_info);
	cr_assert_str_eq(c.usage, "");
	certext_fini(&c);
	cr_assert_eq(certext_parse(&c, BYTES_STR("junk"), &why), ERR_DENIED);
}

/* ---- app info ---- */

static void
info_bytes(struct buf *b, const struct boot_info *info)
{
	struct epoch_roots *r = NULL;
	struct buf chain[3] = { { 0 } };
	struct p256_secret s;
	struct cert_request rq = { .subject = "",
		.org_name = "",
		.not_before = 1,
		.not_after = 1900000000,
		.app_info = info };

	cr_assert_eq(epoch_roots_generate(&r, 0), ERR_OK);
	p256_generate(&s);
	cr_assert_eq(p256_pubkey(&rq.key, &s), ERR_OK);
	cr_assert_eq(certs_app(chain, r, info->app_id, &rq), ERR_OK);
	cr_assert_eq(buf_set(b, chain[0].p, chain[0].len), ERR_OK);
	for (size_t i = 0; i < 3; i++)
		buf_fini(&chain[i]);
	epoch_roots_free(r);
}

/* The KMS's own writing reads back; and no bit of it is out of place. */
Test(certext, app_info)
{
	struct boot_info info = { .has_instance_id = true,
		.key_provider = "{\"name\":\"kms\",\"id\":\"00\"}" };
	struct buf der = { 0 };
	struct refusal why;
	struct certext c;

	memset(info.app_id, 1, 20);
	memset(info.compose_hash, 2, 32);
	memset(info.instance_id, 3, 20);
	memset(info.os_image_hash, 7, 32);
	info_bytes(&der, &info);
	cr_assert_eq(
	    certext_parse(&c, buf_view(&der), &why), ERR_OK, "%s", why.detail);
	cr_assert(c.has_info && c.has_app_id && c.info.has_instance_id);
	cr_assert_str_eq(c.usage, CERTMAKE_USAGE_APP);
	cr_assert_arr_eq(c.info.app_id, info.app_id, 20);
	cr_assert_arr_eq(c.info.compose_hash, info.compose_hash, 32);
	cr_assert_arr_eq(c.info.instance_id, info.instance_id, 20);
	cr_assert_arr_eq(c.info.os_image_hash, info.os_image_hash, 32);
	cr_assert_str_eq(c.info.key_provider, info.key_provider);
	certext_fini(&c);
	info.has_instance_id = false;
	memset(info.key_provider, 'k', 300); /* as a longer bin */
	info_bytes(&der, &info);
	cr_assert_eq(certext_parse(&c, buf_view(&der), &why), ERR_OK);
	cr_assert(!c.info.has_instance_id);
	cr_assert_eq(strlen(c.info.key_provider), 300);
	cr_assert_str_eq(c.info.key_provider, info.key_provider);
	certext_fini(&c);
	buf_fini(&der);
}

/* With init scripts' hashes, as newer guests have them; and cut short. */
Test(certext, app_info_forms)
{
	uint8_t b[400] = { 0x99 };
	size_t n = 1, head;
	struct refusal why;
	struct certext c;

	for (unsigned i = 0; i < 8; i++) {
		static const uint8_t len[] = { 20, 32, 0, 32, 32, 32, 32, 3 };

		b[n++] = 0xc4;
		b[n++] = len[i];
		memset(b + n, 'a', len[i]);
		n += len[i];
	}
	head = n;
	b[n++] = 0xc0;
	cr_assert_eq(
	    READ(&c, &why, { "9", { b, n } }), ERR_OK, "%s", why.detail);
	cr_assert_str_eq(c.info.key_provider, "aaa");
	certext_fini(&c);
	for (size_t i = 1; i < n; i++)
		REFUSED({ "9", { b, i } });
	b[n] = 0;
	REFUSED({ "9", { b, n + 1 } });
	b[head] = 0x91;
	b[head + 1] = 0xc4;
	b[head + 2] = 32;
	cr_assert_eq(READ(&c, &why, { "9", { b, head + 3 + 32 } }), ERR_OK);
	certext_fini(&c);
	REFUSED({ "9", { b, head + 3 + 31 } });
	b[head] = 0x92;
	REFUSED({ "9", { b, head + 3 + 32 } });
	b[head] = 0xc3;
	REFUSED({ "9", { b, head + 1 } });
}

/* Each member in turn: of another length, longer than it may be, of another
 * kind; the last one with a NUL within. */
Test(certext, app_info_members)
{
	static const uint8_t len[] = { 20, 32, 20, 32, 32, 32, 32, 3 };
	struct refusal why;
	struct certext c;

	for (unsigned bent = 0; bent < 8; bent++)
		for (unsigned how = 0; how < 6; how++) {
			uint8_t b[1200] = { 0x99 };
			struct wr w = { .p = b, .cap = sizeof b, .len = 1 };

			for (unsigned i = 0; i < 8; i++) {
				size_t n = len[i];

				if (i == bent && how == 1)
					n++;
				if (i == bent && how == 2)
					n = 600;
				if (i == bent && how == 5)
					n--;
				/* The bins of 16 bits, longer than need be. */
				if (i == bent && how > 0 && how < 4) {
					wr_u8(&w, 0xc5);
					wr_be16(&w, (uint16_t)n);
				} else {
					wr_u8(&w,
					    i == bent && how == 4 ? 0xd9
								  : 0xc4);
					wr_u8(&w, (uint8_t)n);
				}
				for (size_t k = 0; k < n; k++)
					wr_u8(&w, 'a');
			}
			wr_u8(&w, 0xc0);
			cr_assert(wr_ok(&w));
			/* A key provider has no one length. */
			if (how == 0 || how == 3 ||
			    (bent == 7 && (how == 1 || how == 5))) {
				cr_assert_eq(
				    READ(&c, &why, { "9", { b, w.len } }),
				    ERR_OK, "%u %u: %s", bent, how, why.detail);
				certext_fini(&c);
			} else {
				REFUSED({ "9", { b, w.len } });
			}
			b[w.len - 2] = '\0';
			REFUSED({ "9", { b, w.len } });
		}
}

/* ---- the older pair ---- */

static void
zip(struct buf *out, const void *p, size_t len, const char *magic)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)p,
		.avail_in = (uInt)len };

	cr_assert_eq(
	    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY),
	    Z_OK);
	cr_assert_eq(buf_set(out, magic, strlen(magic)), ERR_OK);
	cr_assert_eq(buf_reserve(out, out->len + len + 1000), ERR_OK);
	z.next_out = out->p + out->len;
	z.avail_out = (uInt)(out->cap - out->len);
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += z.total_out;
	(void)deflateEnd(&z);
}

Test(certext, pair)
{
	const struct bytes quote = { zeros, 500 };
	struct refusal why;
	struct buf z = { 0 };
	struct certext c;

	cr_assert_eq(
	    READ(&c, &why, { "1", quote }, { "2", text("[]") }), ERR_OK);
	cr_assert(c.has_evidence && c.legacy);
	cr_assert_eq(c.ev.quote.len, 500);
	cr_assert_str_eq((const char *)c.ev.event_log.p, "[]");
	certext_fini(&c);
	zip(&z, "[ ]", 3, "ELGZv1");
	cr_assert_eq(READ(&c, &why, { "1", quote }, { "2", buf_view(&z) }),
	    ERR_OK, "%s", why.detail);
	cr_assert_str_eq((const char *)c.ev.event_log.p, "[ ]");
	certext_fini(&c);
	/* Cut, followed by more, damaged, another stream. */
	for (size_t i = 6; i < z.len; i++)
		REFUSED({ "1", quote }, { "2", { z.p, i } });
	cr_assert_eq(buf_append(&z, "x", 1, SIZE_MAX), ERR_OK);
	REFUSED({ "1", quote }, { "2", buf_view(&z) });
	z.len--;
	z.p[z.len - 6] ^= 1;
	REFUSED({ "1", quote }, { "2", buf_view(&z) });
	buf_fini(&z);
}

/* A few hundred bytes that would be megabytes. */
Test(certext, bomb)
{
	const struct bytes quote = { zeros, 500 };
	struct refusal why;
	struct buf z = { 0 };
	struct certext c;
	uint8_t *big = calloc(1, 32u << 20);

	cr_assert_not_null(big);
	zip(&z, big, LIMIT_EVENT_LOG, "ELGZv1");
	cr_assert_eq(
	    READ(&c, &why, { "1", quote }, { "2", buf_view(&z) }), ERR_OK);
	cr_assert_eq(c.ev.event_log.len, LIMIT_EVENT_LOG);
	certext_fini(&c);
	zip(&z, big, LIMIT_EVENT_LOG + 1, "ELGZv1");
	REFUSED({ "1", quote }, { "2", buf_view(&z) });
	zip(&z, big, 32u << 20, "ELGZv1");
	REFUSED({ "1", quote }, { "2", buf_view(&z) });
	REFUSED({ "1", { big, LIMIT_QUOTE + 1 } }, { "2", text("[]") });
	REFUSED({ "1", quote }, { "2", { big, LIMIT_EVENT_LOG + 1 } });
	free(big);
	buf_fini(&z);
}
