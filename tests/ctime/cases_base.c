/* common/base: comparing, hex, buffers, JSON. */
#include <string.h>

#include "common/base/ct.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"
#include "tests/ctime/ctime.h"

static void
equal(void)
{
	uint8_t a[32], b[32];
	bool same;

	ct_draw(a, sizeof a);
	memcpy(b, a, sizeof b);
	same = secret_equal(a, b, sizeof a);
	ct_public(&same, sizeof same);
	NEED(same);
	ct_draw(b, sizeof b);
	same = secret_equal(a, b, sizeof a);
	ct_public(&same, sizeof same);
	NEED(!same);
	ct_gone(a, sizeof a);
	ct_gone(b, sizeof b);
}

static void
guarded(void)
{
	uint8_t *p = secret_new(32);

	NEED(p != NULL);
	ct_draw(p, 32);
	secret_lock(p);
	secret_open_ro(p);
	secret_lock(p);
	secret_open_rw(p);
	secret_free(p);
}

static void
hex(void)
{
	uint8_t key[32], again[32];
	char text[65];
	size_t n;

	ct_draw(key, sizeof key);
	hex_encode(text, key, sizeof key);
	ct_result(text, 64);
	NEED(hex_decode(again, sizeof again, &n, text, 64) == ERR_OK);
	ct_result(again, sizeof again);
	ct_gone(again, sizeof again);
	NEED(hex_fixed(again, sizeof again, text) == ERR_OK);
	ct_result(again, sizeof again);
	/* What is no hex is no secret. */
	text[40] = 'g';
	ct_public(text + 40, 1);
	NEED(hex_decode(again, sizeof again, &n, text, 64) == ERR_MALFORMED);
	ct_gone(key, sizeof key);
	ct_gone(again, sizeof again);
	ct_gone(text, sizeof text);
}

static void
buffers(void)
{
	struct buf b = { 0 };
	uint8_t key[32];

	ct_draw(key, sizeof key);
	NEED(buf_reserve(&b, 200) == ERR_OK);
	NEED(buf_append(&b, key, sizeof key, 200) == ERR_OK);
	NEED(buf_set(&b, key, sizeof key) == ERR_OK);
	ct_gone(key, sizeof key);
	buf_wipe(&b);
}

static void
json(void)
{
	uint8_t key[32], again[32];
	json_t *o = json_object(), *parsed = NULL;
	struct buf text = { 0 };

	ct_draw(key, sizeof key);
	NEED(json_set_hex(o, "key", key, sizeof key) == ERR_OK);
	NEED(json_write(&text, o) == ERR_OK);
	/* Around the digits it is public, but which ones is not known here. */
	NEED(text.len == sizeof "{\"key\":\"\"}" - 1 + 64);
	ct_result(text.p + 8, 64);
	json_wipe(o);
	NEED(json_parse(&parsed, text.p, text.len, 1000, NULL, 0) == ERR_OK);
	NEED(json_get_hex(again, sizeof again, parsed, "key") == ERR_OK);
	ct_result(again, sizeof again);
	json_wipe(parsed);
	buf_wipe(&text);
	ct_gone(again, sizeof again);
	ct_gone(key, sizeof key);
}

static void
hashes(void)
{
	uint8_t key[32], out[64];
	struct bytes part[] = { BYTES_OF(key), BYTES_STR("x") };

	ct_draw(key, sizeof key);
	sha256(out, key, sizeof key);
	ct_result(out, 32);
	sha256_v(out, part, 2);
	sha384(out, key, sizeof key);
	sha384_v(out, part, 2);
	sha512(out, key, sizeof key);
	sha512_v(out, part, 2);
	sha3_256_v(out, part, 2);
	sha3_384_v(out, part, 2);
	sha3_512_v(out, part, 2);
	/* Nobody's result is a secret: names and addresses. */
	keccak256(out, key, sizeof key);
	keccak256_v(out, part, 2);
	keccak384_v(out, part, 2);
	keccak512_v(out, part, 2);
	ct_gone(key, sizeof key);
	ct_gone(out, sizeof out);
}

static void
mac(void)
{
	uint8_t key[32], pad[64], out[32];
	struct bytes part[] = { BYTES_OF(pad), BYTES_STR("text") };

	ct_draw(key, sizeof key);
	/* The inner hash is one of its secrets, too. */
	memset(pad, 0x36, sizeof pad);
	for (size_t i = 0; i < sizeof key; i++)
		pad[i] ^= key[i];
	sha256_v(out, part, 2);
	ct_result(out, sizeof out);
	ct_gone(pad, sizeof pad);
	hmac_sha256(out, key, sizeof key, "text", 4);
	ct_result(out, sizeof out);
	ct_gone(key, sizeof key);
	ct_gone(out, sizeof out);
}

static void
kdf(void)
{
	uint8_t key[32], out[80];
	const struct bytes info[] = { BYTES_STR("a"), BYTES_STR("b") };

	ct_draw(key, sizeof key);
	/* What it is made from on the way. */
	hmac_sha256(out, (const uint8_t *)"salt", 4, key, sizeof key);
	ct_result(out, 32);
	NEED(hkdf_sha256(out, sizeof out, BYTES_STR("salt"), BYTES_OF(key),
		 info, 2) == ERR_OK);
	ct_result(out, sizeof out);
	/* As Noise has it: the salt is the secret, too. */
	NEED(hkdf_sha256(out, sizeof out, BYTES_OF(key), BYTES_OF(key), NULL,
		 0) == ERR_OK);
	ct_result(out, sizeof out);
	ct_gone(key, sizeof key);
	ct_gone(out, sizeof out);
}

static const struct ct_case item[] = {
	{ "secret_equal", equal, 0 },
	{ "secret_new secret_lock secret_open_ro secret_open_rw secret_free",
	    guarded, 0 },
	{ "hex_encode hex_decode hex_fixed", hex, 0 },
	{ "buf_reserve buf_append buf_set buf_wipe", buffers, 0 },
	{ "json_set_hex json_write json_parse json_get_hex json_wipe", json,
	    0 },
	{ "sha256 sha384 sha512 sha3 keccak256", hashes, 0 },
	{ "hmac_sha256", mac, 0 },
	{ "hkdf_sha256", kdf, 0 },
};
const struct ct_cases ct_base = { item, sizeof item / sizeof item[0] };
