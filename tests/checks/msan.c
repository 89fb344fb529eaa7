/* What MemorySanitizer cannot see: what Debian's libraries, which were not
 * built for it, do with memory.  Told to it where our code calls them (the
 * linker's --wrap, SAN=memory alone), so that whatever it then reports is a
 * read of ours, of bytes that nobody wrote:
 *   heap   memory that a library takes is never reported (the options below);
 *          what our own code takes is poisoned here, by our own malloc
 *   stack  below a call into a library lies what our functions left there:
 *          made clean at each such call (msan.sh: all functions of all
 *          libraries of which we call some, by msan_library_call)
 *   bytes  that a library writes into memory of ours: by hand, below
 * A function that writes into ours and is not here is a false report, not a
 * missed one: the test that meets it fails until it is added. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cbor.h>
#include <curl/curl.h>
#include <jansson.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ripemd.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <protobuf-c/protobuf-c.h>
#include <raft.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <sodium.h>

#include <sanitizer/msan_interface.h>

/* The most stack that a library's function is expected to need. */
#define LIBRARY_STACK (64u << 10)

const char *__msan_default_options(void);
const char *
__msan_default_options(void)
{
	return "poison_in_malloc=0:poison_in_free=0";
}

/* ---- stack ---- */

extern __thread uint64_t __msan_param_tls[100];

/* Called with the stack pointer of who calls the library.  What the
 * parameters were is forgotten, too: a library that calls back sets none. */
void msan_library_call(const char *stack);
[[clang::no_sanitize("memory")]] void
msan_library_call(const char *stack)
{
	__msan_unpoison(stack - LIBRARY_STACK, LIBRARY_STACK);
	for (size_t i = 0; i < 100; i++)
		__msan_param_tls[i] = 0;
}

/* ---- heap ---- */

/* In place of a function; a library's comes here by msan_library_call. */
#define INSTEAD(prefix, type, name, args) \
	type __real_##name args; \
	type prefix##name args; \
	type prefix##name args
#define WRAP(type, name, args) INSTEAD(msan_, type, name, args)

/* Whoever takes it, and whatever was there before. */
void __sanitizer_malloc_hook(const volatile void *p, size_t len);
[[clang::no_sanitize("memory")]] void
__sanitizer_malloc_hook(const volatile void *p, size_t len)
{
	__msan_unpoison(p, len);
}

INSTEAD(__wrap_, void *, malloc, (size_t len))
{
	void *p = __real_malloc(len);

	if (p != NULL)
		__msan_poison(p, len);
	return p;
}

INSTEAD(__wrap_, void *, realloc, (void *old, size_t len))
{
	const size_t had = old == NULL ? 0 : malloc_usable_size(old);
	uint8_t *p = __real_realloc(old, len);

	if (p != NULL && len > had)
		__msan_poison(p + had, len - had);
	return p;
}

/* Allocators of ours that libraries are given: theirs again. */
static json_malloc_t json_alloc = malloc;

[[clang::no_sanitize("memory")]] static void *
clean_json(size_t len)
{
	void *p = json_alloc(len);

	if (p != NULL)
		__msan_unpoison(p, len);
	return p;
}

WRAP(void, json_set_alloc_funcs, (json_malloc_t take, json_free_t give))
{
	json_alloc = take;
	__real_json_set_alloc_funcs(clean_json, give);
}

static curl_malloc_callback curl_alloc;
static curl_realloc_callback curl_again;

[[clang::no_sanitize("memory")]] static void *
clean_curl(size_t len)
{
	void *p = curl_alloc(len);

	if (p != NULL)
		__msan_unpoison(p, len);
	return p;
}

[[clang::no_sanitize("memory")]] static void *
clean_curl_again(void *old, size_t len)
{
	void *p = curl_again(old, len);

	if (p != NULL)
		__msan_unpoison(p, len);
	return p;
}

WRAP(CURLcode, curl_global_init_mem,
    (long flags, curl_malloc_callback take, curl_free_callback give,
	curl_realloc_callback again, curl_strdup_callback copy,
	curl_calloc_callback zeros))
{
	curl_alloc = take;
	curl_again = again;
	return __real_curl_global_init_mem(
	    flags, clean_curl, give, clean_curl_again, copy, zeros);
}

static CRYPTO_malloc_fn ssl_alloc;
static CRYPTO_realloc_fn ssl_again;

[[clang::no_sanitize("memory")]] static void *
clean_ssl(size_t len, const char *file, int line)
{
	void *p = ssl_alloc(len, file, line);

	if (p != NULL)
		__msan_unpoison(p, len);
	return p;
}

[[clang::no_sanitize("memory")]] static void *
clean_ssl_again(void *old, size_t len, const char *file, int line)
{
	void *p = ssl_again(old, len, file, line);

	if (p != NULL)
		__msan_unpoison(p, len);
	return p;
}

WRAP(int, CRYPTO_set_mem_functions,
    (CRYPTO_malloc_fn take, CRYPTO_realloc_fn again, CRYPTO_free_fn give))
{
	ssl_alloc = take;
	ssl_again = again;
	return __real_CRYPTO_set_mem_functions(
	    clean_ssl, clean_ssl_again, give);
}

[[clang::no_sanitize("memory")]] static void *
clean_pb(void *cookie, size_t len)
{
	ProtobufCAllocator *a = cookie;
	void *p = a->alloc(a->allocator_data, len);

	if (p != NULL)
		__msan_unpoison(p, len);
	return p;
}

[[clang::no_sanitize("memory")]] static void
free_pb(void *cookie, void *p)
{
	ProtobufCAllocator *a = cookie;

	a->free(a->allocator_data, p);
}

WRAP(ProtobufCMessage *, protobuf_c_message_unpack,
    (const ProtobufCMessageDescriptor *d, ProtobufCAllocator *a, size_t len,
	const uint8_t *in))
{
	ProtobufCAllocator clean = { clean_pb, free_pb, a };

	return __real_protobuf_c_message_unpack(
	    d, a == NULL ? NULL : &clean, len, in);
}

/* ---- bytes ---- */

/* A function, and what it has written when it returns `r`. */
#define WRITES(type, name, params, args, written) \
	WRAP(type, name, params) \
	{ \
		type r = __real_##name args; \
\
		written; \
		return r; \
	}
#define OUT(p, len) ((p) != NULL ? __msan_unpoison(p, len) : (void)0)
#define ONE(p) OUT(p, sizeof *(p))

WRITES(size_t, protobuf_c_message_pack, (const ProtobufCMessage *m, uint8_t *o),
    (m, o), OUT(o, r))
WRITES(json_t *, json_loadb,
    (const char *in, size_t n, size_t flags, json_error_t *e),
    (in, n, flags, e), ONE(e))
WRITES(size_t, json_dumpb, (const json_t *v, char *o, size_t cap, size_t flags),
    (v, o, cap, flags), OUT(o, r < cap ? r : cap))

/* libcrypto */
#define SHA_FINAL(name, state, len) \
	WRITES(int, name, (uint8_t * o, state * c), (o, c), OUT(o, len))
SHA_FINAL(SHA256_Final, SHA256_CTX, 32)
SHA_FINAL(SHA384_Final, SHA512_CTX, 48)
SHA_FINAL(SHA512_Final, SHA512_CTX, 64)
SHA_FINAL(RIPEMD160_Final, RIPEMD160_CTX, 20)
WRITES(int, EVP_Digest,
    (const void *in, size_t n, uint8_t *o, unsigned *len, const EVP_MD *md,
	ENGINE *e),
    (in, n, o, len, md, e), (ONE(len), OUT(o, (size_t)EVP_MD_get_size(md))))
WRITES(int, EVP_DigestSign,
    (EVP_MD_CTX * c, uint8_t *o, size_t *len, const uint8_t *in, size_t n),
    (c, o, len, in, n), (ONE(len), OUT(o, *len)))
WRITES(int, EVP_CipherUpdate,
    (EVP_CIPHER_CTX * c, uint8_t *o, int *len, const uint8_t *in, int n),
    (c, o, len, in, n), (ONE(len), OUT(o, (size_t)*len)))
WRITES(int, EVP_CipherFinal_ex, (EVP_CIPHER_CTX * c, uint8_t *o, int *len),
    (c, o, len), (ONE(len), OUT(o, (size_t)*len)))
WRITES(int, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX * c, int what, int n, void *p),
    (c, what, n, p),
    what == EVP_CTRL_AEAD_GET_TAG ? OUT(p, (size_t)n) : (void)0)
WRITES(int, EVP_DecodeUpdate,
    (EVP_ENCODE_CTX * c, uint8_t *o, int *len, const uint8_t *in, int n),
    (c, o, len, in, n), (ONE(len), OUT(o, (size_t)*len)))
WRITES(int, EVP_DecodeFinal, (EVP_ENCODE_CTX * c, uint8_t *o, int *len),
    (c, o, len), (ONE(len), OUT(o, (size_t)*len)))
WRITES(int, BN_bn2binpad, (const BIGNUM *n, uint8_t *o, int len), (n, o, len),
    r > 0 ? OUT(o, (size_t)r) : (void)0)
WRITES(int, BN_bn2bin, (const BIGNUM *n, uint8_t *o), (n, o),
    r > 0 ? OUT(o, (size_t)r) : (void)0)
WRITES(size_t, EC_POINT_point2oct,
    (const EC_GROUP *g, const EC_POINT *p, point_conversion_form_t form,
	uint8_t *o, size_t cap, BN_CTX *c),
    (g, p, form, o, cap, c), OUT(o, r))
WRITES(int, OBJ_obj2txt, (char *o, int cap, const ASN1_OBJECT *a, int plain),
    (o, cap, a, plain), OUT(o, cap > 0 ? (size_t)cap : 0))
WRITES(int, ASN1_TIME_to_tm, (const ASN1_TIME *t, struct tm *o), (t, o), ONE(o))
WRITES(int, ASN1_get_object,
    (const uint8_t **p, long *len, int *tag, int *kind, long max),
    (p, len, tag, kind, max), (ONE(p), ONE(len), ONE(tag), ONE(kind)))
WRITES(int, X509_get_signature_info,
    (X509 * x, int *md, int *key, int *bits, uint32_t *flags),
    (x, md, key, bits, flags), (ONE(md), ONE(key), ONE(bits), ONE(flags)))
WRITES(int, X509_PUBKEY_get0_param,
    (ASN1_OBJECT * *a, const uint8_t **p, int *len, X509_ALGOR **al,
	const X509_PUBKEY *k),
    (a, p, len, al, k), (ONE(a), ONE(p), ONE(len), ONE(al)))

WRAP(void, X509_ALGOR_get0,
    (const ASN1_OBJECT **a, int *type, const void **v, const X509_ALGOR *al))
{
	__real_X509_ALGOR_get0(a, type, v, al);
	ONE(a);
	ONE(type);
	OUT(v, sizeof(void *));
}

/* Into *p, which moves on, or into memory that is taken for it. */
#define I2D(name, what) \
	WRAP(int, name, (what v, uint8_t * *p)) \
	{ \
		uint8_t *o = p == NULL ? NULL : *p; \
		const int r = __real_##name(v, p); \
\
		ONE(p); \
		if (r > 0) \
			OUT(o, (size_t)r); \
		return r; \
	}
I2D(i2d_X509, const X509 *)
I2D(i2d_X509_CRL, const X509_CRL *)
I2D(i2d_PUBKEY, const EVP_PKEY *)
I2D(i2d_X509_PUBKEY, const X509_PUBKEY *)
I2D(i2d_ECDSA_SIG, const ECDSA_SIG *)

/* libsodium */
typedef unsigned long long ull;
WRITES(int, crypto_scalarmult,
    (uint8_t * o, const uint8_t *n, const uint8_t *p), (o, n, p), OUT(o, 32))
WRITES(int, crypto_scalarmult_base, (uint8_t * o, const uint8_t *n), (o, n),
    OUT(o, 32))
WRITES(int, crypto_scalarmult_curve25519,
    (uint8_t * o, const uint8_t *n, const uint8_t *p), (o, n, p), OUT(o, 32))
WRITES(int, crypto_scalarmult_curve25519_base, (uint8_t * o, const uint8_t *n),
    (o, n), OUT(o, 32))
WRITES(int, crypto_sign_seed_keypair,
    (uint8_t * pub, uint8_t *key, const uint8_t *seed), (pub, key, seed),
    (OUT(pub, 32), OUT(key, 64)))
WRITES(int, crypto_sign_detached,
    (uint8_t * o, ull *len, const uint8_t *in, ull n, const uint8_t *key),
    (o, len, in, n, key), (ONE(len), OUT(o, 64)))
WRITES(int, crypto_shorthash,
    (uint8_t * o, const uint8_t *in, ull n, const uint8_t *key),
    (o, in, n, key), OUT(o, crypto_shorthash_BYTES))
WRITES(int, crypto_generichash,
    (uint8_t * o, size_t len, const uint8_t *in, ull n, const uint8_t *key,
	size_t key_len),
    (o, len, in, n, key, key_len), OUT(o, len))
WRITES(int, crypto_generichash_final,
    (crypto_generichash_state * s, uint8_t *o, size_t len), (s, o, len),
    OUT(o, len))
#define AEAD(name) \
	WRITES(int, name##_encrypt, \
	    (uint8_t * o, ull * len, const uint8_t *in, ull n, \
		const uint8_t *ad, ull ad_len, const uint8_t *none, \
		const uint8_t *nonce, const uint8_t *key), \
	    (o, len, in, n, ad, ad_len, none, nonce, key), \
	    (ONE(len), OUT(o, n + 16))) \
	WRITES(int, name##_decrypt, \
	    (uint8_t * o, ull * len, uint8_t * none, const uint8_t *in, ull n, \
		const uint8_t *ad, ull ad_len, const uint8_t *nonce, \
		const uint8_t *key), \
	    (o, len, none, in, n, ad, ad_len, nonce, key), \
	    (ONE(len), OUT(o, n < 16 ? 0 : n - 16)))
AEAD(crypto_aead_chacha20poly1305_ietf)
AEAD(crypto_aead_xchacha20poly1305_ietf)
WRITES(char *, sodium_bin2base64,
    (char *o, size_t cap, const uint8_t *in, size_t n, int how),
    (o, cap, in, n, how), OUT(o, cap))
WRITES(char *, sodium_bin2hex,
    (char *o, size_t cap, const uint8_t *in, size_t n), (o, cap, in, n),
    OUT(o, 2 * n + 1))
WRITES(int, sodium_base642bin,
    (uint8_t * o, size_t cap, const char *in, size_t n, const char *skip,
	size_t *len, const char **end, int how),
    (o, cap, in, n, skip, len, end, how),
    (ONE(len), ONE(end), OUT(o, len != NULL ? *len : 0)))

WRAP(void, randombytes_buf, (void *o, size_t len))
{
	__real_randombytes_buf(o, len);
	__msan_unpoison(o, len);
}

/* libsecp256k1 */
WRITES(int, secp256k1_ec_pubkey_serialize,
    (const secp256k1_context *c, uint8_t *o, size_t *len,
	const secp256k1_pubkey *p, unsigned flags),
    (c, o, len, p, flags), OUT(o, *len))
WRITES(int, secp256k1_ecdsa_recoverable_signature_serialize_compact,
    (const secp256k1_context *c, uint8_t *o, int *id,
	const secp256k1_ecdsa_recoverable_signature *s),
    (c, o, id, s), (ONE(id), OUT(o, 64)))
WRITES(int, secp256k1_ecdsa_signature_parse_compact,
    (const secp256k1_context *c, secp256k1_ecdsa_signature *s,
	const uint8_t *in),
    (c, s, in), ONE(s))

/* liblmdb */
WRITES(int, mdb_env_create, (MDB_env * *o), (o), ONE(o))
WRITES(int, mdb_env_info, (MDB_env * e, MDB_envinfo *o), (e, o), ONE(o))
WRITES(int, mdb_txn_begin,
    (MDB_env * e, MDB_txn *up, unsigned flags, MDB_txn **o), (e, up, flags, o),
    ONE(o))
WRITES(int, mdb_dbi_open,
    (MDB_txn * t, const char *name, unsigned flags, MDB_dbi *o),
    (t, name, flags, o), ONE(o))
WRITES(int, mdb_stat, (MDB_txn * t, MDB_dbi d, MDB_stat *o), (t, d, o), ONE(o))
WRITES(int, mdb_get, (MDB_txn * t, MDB_dbi d, MDB_val *k, MDB_val *v),
    (t, d, k, v), r == 0 ? ONE(v) : (void)0)
WRITES(int, mdb_cursor_open, (MDB_txn * t, MDB_dbi d, MDB_cursor **o),
    (t, d, o), ONE(o))
WRITES(int, mdb_cursor_get,
    (MDB_cursor * c, MDB_val *k, MDB_val *v, MDB_cursor_op op), (c, k, v, op),
    (ONE(k), ONE(v)))

/* libcbor, libraft */
WRAP(struct cbor_decoder_result, cbor_stream_decode,
    (cbor_data in, size_t n, const struct cbor_callbacks *cb, void *cookie))
{
	struct cbor_decoder_result r =
	    __real_cbor_stream_decode(in, n, cb, cookie);

	ONE(&r);
	return r;
}
WRITES(cbor_item_t *, cbor_load,
    (cbor_data in, size_t n, struct cbor_load_result *o), (in, n, o), ONE(o))
WRITES(int, raft_step,
    (struct raft * f, struct raft_event *ev, struct raft_update *o), (f, ev, o),
    ONE(o))
WRAP(void, raft_configuration_init, (struct raft_configuration * o))
{
	__real_raft_configuration_init(o);
	ONE(o);
}
