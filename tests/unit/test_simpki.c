/* The simulator's material, checked link by link with OpenSSL alone: no
 * code of the house's verifier takes part. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/base/hex.h"
#include "tests/lib/simworld.h"

static struct simworld w;

static void
setup(void)
{
	simworld_init(&w);
}

static void
teardown(void)
{
	simworld_fini(&w);
}

TestSuite(simpki, .init = setup, .fini = teardown, .timeout = 60);

static X509 *
load_root(void)
{
	struct buf der = { 0 };
	const unsigned char *p;
	X509 *x;

	cr_assert_eq(sim_pki_document(&der, w.dir, SIM_DOC_ROOT), ERR_OK);
	p = der.p;
	x = d2i_X509(NULL, &p, (long)der.len);
	cr_assert_not_null(x);
	buf_fini(&der);
	return x;
}

static X509_CRL *
load_crl(enum sim_document what)
{
	struct buf der = { 0 };
	const unsigned char *p;
	X509_CRL *crl;

	cr_assert_eq(sim_pki_document(&der, w.dir, what), ERR_OK);
	p = der.p;
	crl = d2i_X509_CRL(NULL, &p, (long)der.len);
	cr_assert_not_null(crl);
	buf_fini(&der);
	return crl;
}

static STACK_OF(X509) * pem_chain(const struct buf *pem)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(pem->p, (int)pem->len);
	X509 *x;

	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		(void)sk_X509_push(chain, x);
	BIO_free(bio);
	return chain;
}

/* X509_verify_cert in the strict setting of tdx-dcap.md 2.2. */
static int
verify_chain(STACK_OF(X509) * chain, int64_t now)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *root = load_root();
	X509_CRL *root_crl = load_crl(SIM_DOC_ROOT_CRL);
	X509_CRL *pck_crl = load_crl(SIM_DOC_PCK_CRL);
	int err;

	(void)X509_STORE_add_cert(store, root);
	(void)X509_STORE_add_crl(store, root_crl);
	(void)X509_STORE_add_crl(store, pck_crl);
	(void)X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx),
	    X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL |
		X509_V_FLAG_X509_STRICT);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), now);
	(void)X509_verify_cert(ctx);
	err = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(root);
	X509_CRL_free(root_crl);
	X509_CRL_free(pck_crl);
	return err;
}

static void
assert_cn(X509 *x, const char *cn)
{
	char text[100], org[100];

	(void)X509_NAME_get_text_by_NID(
	    X509_get_subject_name(x), NID_commonName, text, sizeof text);
	(void)X509_NAME_get_text_by_NID(
	    X509_get_subject_name(x), NID_organizationName, org, sizeof org);
	cr_assert_str_eq(text, cn);
	cr_assert_str_eq(org, SIM_ORGANIZATION);
}

static bool
verify_raw(EVP_PKEY *key, const uint8_t sig[64], const void *p, size_t len)
{
	ECDSA_SIG *s = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	int n;
	bool ok;

	(void)ECDSA_SIG_set0(
	    s, BN_bin2bn(sig, 32, NULL), BN_bin2bn(sig + 32, 32, NULL));
	n = i2d_ECDSA_SIG(s, &der);
	ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestVerify(ctx, der, (size_t)n, p, len) == 1;
	OPENSSL_free(der);
	ECDSA_SIG_free(s);
	EVP_MD_CTX_free(ctx);
	return ok;
}

/* A public key from x || y, by OpenSSL's own parser. */
static EVP_PKEY *
raw_key(const uint8_t xy[64])
{
	uint8_t point[65] = { 4 };
	char group[] = "prime256v1";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(
		    OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(
		    OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;

	memcpy(point + 1, xy, 64);
	cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1);
	cr_assert_eq(
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* A quote's signatures hold from the root down to the report: chain, QE
 * report by the PCK key, attestation key in the QE report, body. */
Test(simpki, quote_link_by_link)
{
	struct tee *t = simworld_boot(&w);
	struct buf q = { 0 }, pem = { 0 };
	uint8_t rd[64] = { 9 }, h[32], bound[96];
	STACK_OF(X509) * chain;
	EVP_PKEY *att;
	uint32_t chain_len;

	cr_assert_eq(tee_quote(t, &q, rd, NULL), ERR_OK);
	memcpy(&chain_len, q.p + 1254, 4); /* little-endian test machines */
	cr_assert_eq(q.len, 1258 + chain_len);
	cr_assert_eq(buf_set(&pem, q.p + 1258, chain_len), ERR_OK);
	chain = pem_chain(&pem);
	cr_assert_eq(sk_X509_num(chain), 3);
	cr_assert_eq(verify_chain(chain, SIMWORLD_NOW), X509_V_OK);
	assert_cn(sk_X509_value(chain, 0), "Intel SGX PCK Certificate");
	assert_cn(sk_X509_value(chain, 1), "Intel SGX PCK Platform CA");
	assert_cn(sk_X509_value(chain, 2), "Intel SGX Root CA");

	cr_assert(verify_raw(X509_get0_pubkey(sk_X509_value(chain, 0)),
	    q.p + 1154, q.p + 770, 384));
	memcpy(bound, q.p + 700, 64);
	memcpy(bound + 64, q.p + 1220, 32);
	cr_assert_eq(EVP_Digest(bound, 96, h, NULL, EVP_sha256(), NULL), 1);
	cr_assert_arr_eq(h, q.p + 1090, 32);
	att = raw_key(q.p + 700);
	cr_assert(verify_raw(att, q.p + 636, q.p, 632));
	cr_assert_arr_eq(q.p + 568, rd, 64);
	q.p[632 - 1] ^= 1;
	cr_assert(!verify_raw(att, q.p + 636, q.p, 632));
	EVP_PKEY_free(att);
	sk_X509_pop_free(chain, X509_free);
	tee_close(t);
	buf_fini(&q);
	buf_fini(&pem);
}

/* The PCK certificate's SGX extension is the exact DER of tdx-dcap.md 2.4. */
Test(simpki, sgx_extension)
{
	struct sim_host h;
	STACK_OF(X509) * chain;
	ASN1_OBJECT *oid = OBJ_txt2obj("1.2.840.113741.1.13.1", 1);
	X509_EXTENSION *ext;
	const ASN1_OCTET_STRING *v;
	const uint8_t *p;
	static const uint8_t ppid[] = { 0x30, 0x1e, 0x06, 0x0a, 0x2a, 0x86,
		0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, 0x01, 0x04, 0x10 };
	static const uint8_t pcesvn[] = { 0x30, 0x10, 0x06, 0x0b, 0x2a, 0x86,
		0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, 0x02, 0x11, 0x02,
		0x01, 13 };
	int at, len;

	cr_assert_eq(sim_host_load(&h, w.host), ERR_OK);
	chain = pem_chain(&h.qe.pck_chain);
	at = X509_get_ext_by_OBJ(sk_X509_value(chain, 0), oid, -1);
	cr_assert_geq(at, 0);
	ext = X509_get_ext(sk_X509_value(chain, 0), at);
	cr_assert_eq(X509_EXTENSION_get_critical(ext), 0);
	v = X509_EXTENSION_get_data(ext);
	p = ASN1_STRING_get0_data(v);
	len = ASN1_STRING_length(v);
	cr_assert_eq(p[0], 0x30);
	cr_assert_eq(p[1], 0x82);
	cr_assert_eq((p[2] << 8 | p[3]) + 4, len);
	cr_assert_arr_eq(p + 4, ppid, sizeof ppid);
	cr_assert_arr_eq(p + 4 + sizeof ppid, h.platform.ppid, 16);
	cr_assert_not_null(memmem(p, (size_t)len, pcesvn, sizeof pcesvn));
	ASN1_OBJECT_free(oid);
	sk_X509_pop_free(chain, X509_free);
	sim_host_fini(&h);
}

/* Both documents are signed by the TCB signing key over their exact bytes,
 * and its certificate chains to the root. */
Test(simpki, signed_documents)
{
	static const struct {
		enum sim_document what;
		const char *head;
	} doc[] = { { SIM_DOC_TCB_INFO, "{\"tcbInfo\":" },
		{ SIM_DOC_QE_IDENTITY, "{\"enclaveIdentity\":" } };
	struct buf pem = { 0 }, b = { 0 };
	STACK_OF(X509) * chain;
	const size_t tail = strlen(",\"signature\":\"") + 128 + 2;

	cr_assert_eq(
	    sim_pki_document(&pem, w.dir, SIM_DOC_SIGNING_CHAIN), ERR_OK);
	chain = pem_chain(&pem);
	cr_assert_eq(verify_chain(chain, SIMWORLD_NOW), X509_V_OK);
	assert_cn(sk_X509_value(chain, 0), "Intel SGX TCB Signing");
	for (size_t i = 0; i < 2; i++) {
		size_t head = strlen(doc[i].head), n;
		uint8_t sig[64];
		EVP_PKEY *key = X509_get0_pubkey(sk_X509_value(chain, 0));

		cr_assert_eq(sim_pki_document(&b, w.dir, doc[i].what), ERR_OK);
		cr_assert_eq(memcmp(b.p, doc[i].head, head), 0);
		cr_assert_eq(
		    hex_decode(sig, 64, &n, (char *)b.p + b.len - 2 - 128, 128),
		    ERR_OK);
		cr_assert(
		    verify_raw(key, sig, b.p + head, b.len - head - tail));
		b.p[head + 20] ^= 1;
		cr_assert(
		    !verify_raw(key, sig, b.p + head, b.len - head - tail));
	}
	sk_X509_pop_free(chain, X509_free);
	buf_fini(&pem);
	buf_fini(&b);
}

/* OpenSSL too sees a revoked host as revoked, an expired CRL as expired. */
Test(simpki, revocation_and_dates)
{
	struct sim_host h, again;
	STACK_OF(X509) * chain;
	X509_CRL *crl;
	int64_t later = SIMWORLD_NOW + 30 * 24 * 3600;

	cr_assert_eq(sim_host_load(&h, w.host), ERR_OK);
	chain = pem_chain(&h.qe.pck_chain);
	cr_assert_eq(verify_chain(chain, later), X509_V_ERR_CRL_HAS_EXPIRED);
	cr_assert_eq(verify_chain(chain, SIMWORLD_NOW - 7200),
	    X509_V_ERR_CRL_NOT_YET_VALID);
	cr_assert_eq(
	    sim_host_set(w.dir, "h1", SIM_FAULT_REVOKED, SIMWORLD_NOW + 5),
	    ERR_OK);
	cr_assert_eq(
	    verify_chain(chain, SIMWORLD_NOW), X509_V_ERR_CERT_REVOKED);
	/* Revoking twice lists it once. */
	cr_assert_eq(
	    sim_host_set(w.dir, "h1", SIM_FAULT_REVOKED, SIMWORLD_NOW + 5),
	    ERR_OK);
	crl = load_crl(SIM_DOC_PCK_CRL);
	cr_assert_eq(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 1);
	X509_CRL_free(crl);
	/* Undoing certifies anew: same platform, other certificate. */
	cr_assert_eq(
	    sim_host_set(w.dir, "h1", SIM_FAULT_NONE, SIMWORLD_NOW), ERR_OK);
	cr_assert_eq(sim_host_load(&again, w.host), ERR_OK);
	cr_assert_arr_eq(again.platform.ppid, h.platform.ppid, 16);
	cr_assert_arr_eq(again.fuse_key, h.fuse_key, 32);
	cr_assert_arr_neq(again.serial.b, h.serial.b, SIM_SERIAL_LEN);
	sk_X509_pop_free(chain, X509_free);
	chain = pem_chain(&again.qe.pck_chain);
	cr_assert_eq(verify_chain(chain, SIMWORLD_NOW), X509_V_OK);
	sk_X509_pop_free(chain, X509_free);
	sim_host_fini(&h);
	sim_host_fini(&again);
}
