#include <assert.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/crypto/hash.h"
#include "tests/lib/fake_nitro.h"

#define HOUR_S 3600

void
fake_cbor_head(struct wr *w, unsigned major, uint64_t n)
{
	uint8_t m = (uint8_t)(major << 5);

	if (n < 24) {
		wr_u8(w, (uint8_t)(m | n));
	} else if (n <= UINT8_MAX) {
		wr_u8(w, m | 24);
		wr_u8(w, (uint8_t)n);
	} else if (n <= UINT16_MAX) {
		wr_u8(w, m | 25);
		wr_be16(w, (uint16_t)n);
	} else if (n <= UINT32_MAX) {
		wr_u8(w, m | 26);
		wr_be32(w, (uint32_t)n);
	} else {
		wr_u8(w, m | 27);
		wr_be64(w, n);
	}
}

void
fake_cbor_bytes(struct wr *w, const void *p, size_t len)
{
	fake_cbor_head(w, 2, len);
	wr_bytes(w, p, len);
}

void
fake_cbor_text(struct wr *w, const char *s)
{
	fake_cbor_head(w, 3, strlen(s));
	wr_str(w, s);
}

static struct wr *
new_field(struct fake_nitro *f, struct wr *w, const char *key)
{
	*w = (struct wr){ .p = f->field_bytes[w - f->field],
		.cap = sizeof f->field_bytes[0] };
	fake_cbor_text(w, key);
	return w;
}

/* The place of a field by the text that it begins with. */
static size_t
find(const struct fake_nitro *f, const char *key)
{
	uint8_t want[40];
	struct wr w = { .p = want, .cap = sizeof want };
	size_t i;

	fake_cbor_text(&w, key);
	for (i = 0; i < f->n_fields; i++)
		if (f->field[i].len >= w.len &&
		    memcmp(f->field[i].p, want, w.len) == 0)
			break;
	return i;
}

struct wr *
fake_nitro_again(struct fake_nitro *f, const char *key)
{
	assert(f->n_fields < 12);
	return new_field(f, &f->field[f->n_fields++], key);
}

struct wr *
fake_nitro_field(struct fake_nitro *f, const char *key)
{
	size_t i = find(f, key);

	return i == f->n_fields ? fake_nitro_again(f, key)
				: new_field(f, &f->field[i], key);
}

void
fake_nitro_drop(struct fake_nitro *f, const char *key)
{
	size_t i = find(f, key);

	assert(i < f->n_fields);
	f->field[i].len = 0; /* contributes nothing; keeps its place */
}

void
fake_nitro_time(struct fake_nitro *f, uint64_t ms)
{
	fake_cbor_head(fake_nitro_field(f, "timestamp"), 0, ms);
}

void
fake_nitro_pcrs(struct fake_nitro *f, unsigned n, uint32_t zero)
{
	struct wr *w = fake_nitro_field(f, "pcrs");
	uint8_t pcr[NITRO_PCR_LEN];

	fake_cbor_head(w, 5, n);
	for (unsigned i = 0; i < n; i++) {
		memset(pcr, ((uint64_t)zero >> i & 1) != 0 ? 0 : 0x10 + (int)i,
		    sizeof pcr);
		fake_cbor_head(w, 0, i);
		fake_cbor_bytes(w, pcr, sizeof pcr);
	}
}

void
fake_nitro_certs(struct fake_nitro *f, size_t n)
{
	struct wr *w = fake_nitro_field(f, "certificate");

	fake_cbor_bytes(w, f->der[0].p, f->der[0].len);
	w = fake_nitro_field(f, "cabundle");
	fake_cbor_head(w, 4, n);
	for (size_t i = 0; i < n; i++) {
		const struct buf *b = &f->der[FAKE_NITRO_CERTS - 1 - i];

		fake_cbor_bytes(w, b->p, b->len);
	}
}

void
fake_nitro_issue(struct fake_nitro *f)
{
	const struct buf *root = &f->der[FAKE_NITRO_CERTS - 1];

	for (int i = 0; i < FAKE_NITRO_CERTS; i++)
		vendor_cert_der(&f->der[i], &f->cert[i]);
	sha256(f->root_sha256, root->p, root->len);
	fake_nitro_certs(f, FAKE_NITRO_CERTS - 1);
}

void
fake_nitro_init(struct fake_nitro *f)
{
	static const char *const names[FAKE_NITRO_CERTS + 1] = {
		"i-0123456789abcdef0-enc0123456789abcdef.test.aws",
		"i-0123456789abcdef0.test.aws.nitro-enclaves",
		"zone.test.aws.nitro-enclaves", "test.aws.nitro-enclaves",
		"aws.nitro-enclaves", "aws.nitro-enclaves"
	};
	static const char *const limits[FAKE_NITRO_CERTS] = {
		"critical,CA:FALSE", "critical,CA:TRUE,pathlen:0",
		"critical,CA:TRUE,pathlen:1", "critical,CA:TRUE,pathlen:2", NULL
	};

	memset(f, 0, sizeof *f);
	for (int i = 0; i < FAKE_NITRO_CERTS; i++)
		f->key[i] = vendor_ec("P-384");
	for (int i = 0; i < FAKE_NITRO_CERTS; i++)
		f->cert[i] = (struct vendor_cert){ .subject = names[i],
			.issuer = names[i + 1],
			.key = f->key[i],
			.issuer_key =
			    f->key[i + 1 < FAKE_NITRO_CERTS ? i + 1 : i],
			.alg = VENDOR_ECDSA_SHA384,
			.serial = 100 + i,
			.from = FAKE_NITRO_NOW - HOUR_S,
			.until = FAKE_NITRO_NOW + 3 * HOUR_S + i * HOUR_S,
			.ca = i > 0,
			.constraints = limits[i],
			.usage =
			    i == 0 ? "digitalSignature,nonRepudiation" : NULL };
	fake_cbor_text(fake_nitro_field(f, "module_id"), "i-0123-enc4567");
	fake_cbor_text(fake_nitro_field(f, "digest"), "SHA384");
	fake_nitro_time(f, UINT64_C(1000) * FAKE_NITRO_NOW + 387);
	fake_nitro_pcrs(f, 16, 0);
	fake_nitro_issue(f);
	fake_cbor_bytes(fake_nitro_field(f, "public_key"), "key", 3);
	fake_cbor_bytes(fake_nitro_field(f, "user_data"), "data", 4);
	fake_cbor_bytes(fake_nitro_field(f, "nonce"), "nonce", 5);
	f->prot = BYTES_STR("\x44\xa1\x01\x38\x22");
	f->unprot = BYTES_STR("\xa0");
}

void
fake_nitro_fini(struct fake_nitro *f)
{
	for (int i = 0; i < FAKE_NITRO_CERTS; i++) {
		EVP_PKEY_free(f->key[i]);
		buf_fini(&f->der[i]);
	}
}

struct bytes
fake_nitro_build(struct fake_nitro *f)
{
	static uint8_t payload[sizeof f->doc], tbs[sizeof f->doc];
	struct wr p = { .p = payload, .cap = sizeof payload };
	struct wr t = { .p = tbs, .cap = sizeof tbs };
	uint8_t rs[96];
	size_t n = 0;

	for (size_t i = 0; i < f->n_fields; i++)
		n += f->field[i].len > 0;
	if (f->indefinite)
		wr_u8(&p, 0xbf);
	else
		fake_cbor_head(&p, 5, n);
	for (size_t i = 0; i < f->n_fields; i++)
		wr_bytes(&p, f->field[i].p, f->field[i].len);
	if (f->indefinite)
		wr_u8(&p, 0xff);
	wr_zero(&p, f->payload_trailing);

	fake_cbor_head(&t, 4, 4);
	fake_cbor_text(&t, "Signature1");
	wr_bytes(&t, f->prot.p, f->prot.len);
	fake_cbor_bytes(&t, NULL, 0);
	fake_cbor_bytes(&t, payload, p.len);
	vendor_sign(rs, f->key[0], tbs, t.len);

	f->w = (struct wr){ .p = f->doc, .cap = sizeof f->doc };
	wr_bytes(&f->w, f->tag.p, f->tag.len);
	fake_cbor_head(&f->w, 4, 4);
	wr_bytes(&f->w, f->prot.p, f->prot.len);
	wr_bytes(&f->w, f->unprot.p, f->unprot.len);
	fake_cbor_bytes(&f->w, payload, p.len);
	fake_cbor_bytes(&f->w, rs, sizeof rs);
	wr_zero(&f->w, f->trailing);
	assert(wr_ok(&f->w) && wr_ok(&p) && wr_ok(&t));
	return (struct bytes){ f->doc, f->w.len };
}
