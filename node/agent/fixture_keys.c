/* fixture_keys: appkeys.json, dstack-compat.md 2.5. */
#include <string.h>

#include <sodium.h>

#include "common/attest/pem.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"

#include "node/agent/cacert.h"
#include "node/agent/fixture.h"

#define APP_KEYS_MAX (64u * 1024)
#define PEM_KEY_BEGIN "-----BEGIN PRIVATE KEY-----\n"
#define PEM_KEY_END "-----END PRIVATE KEY-----"
#define SCALAR_AT 36 /* in the 138 bytes of dstack-compat.md 2.1 */

/* The operator's file is at fault: no refusal of a peer. */
#define bad(why, ...) \
	((void)refuse((why), REASON_BOOT_INFO, __VA_ARGS__), ERR_CONFIG)

/* The one form that dstack's keys have: exactly what p256_pkcs8 writes. */
static enum err
read_ca_key(struct p256_secret *out, const char *pem)
{
	const char *end = strstr(pem, PEM_KEY_END);
	uint8_t der[P256_PKCS8_LEN + 1], again[P256_PKCS8_LEN];
	enum err e = ERR_MALFORMED;
	size_t n = 0;

	if (strncmp(pem, PEM_KEY_BEGIN, sizeof PEM_KEY_BEGIN - 1) != 0 ||
	    end == NULL)
		return ERR_MALFORMED;
	pem += sizeof PEM_KEY_BEGIN - 1;
	if (sodium_base642bin(der, sizeof der, pem, (size_t)(end - pem), "\r\n",
		&n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    n != P256_PKCS8_LEN)
		goto done;
	memcpy(out->b, der + SCALAR_AT, sizeof out->b);
	if ((e = p256_pkcs8(again, out)) == ERR_OK &&
	    sodium_memcmp(der, again, sizeof again) != 0)
		e = ERR_MALFORMED;
done:
	secret_wipe(der, sizeof der);
	secret_wipe(again, sizeof again);
	return e;
}

/* Only a provider whose CA key is in the file can sign certificates here. */
static enum err
read_provider(struct fixture_keys *out, const json_t *o, struct refusal *why)
{
	const json_t *kind = json_object_get(o, "key_provider"), *none;
	const char *pem;

	if (!json_is_object(kind) || json_object_size(kind) != 1)
		return bad(why,
		    "appkeys.json: key_provider is not one of "
		    "None, Local, Tpm, Kms");
	if ((none = json_object_get(kind, "None")) == NULL)
		return bad(why,
		    "appkeys.json: key_provider: only None is "
		    "served, whose CA key is in the file");
	if (json_get_str(&pem, none, "key") != ERR_OK ||
	    read_ca_key(&out->ca, pem) != ERR_OK)
		return bad(why,
		    "appkeys.json: key_provider.None.key is no "
		    "P-256 key in PKCS#8");
	return ERR_OK;
}

static enum err
read_ca_cert(struct fixture_keys *out, const json_t *o, struct refusal *why)
{
	uint8_t der[LIMIT_CERT], spki[P256_SPKI_LEN], own[P256_SPKI_LEN];
	struct bytes rest;
	struct p256_pub pub;
	const char *pem;
	size_t n;

	if (json_get_str(&pem, o, "ca_cert") != ERR_OK)
		return bad(why, "appkeys.json: ca_cert is missing");
	rest = (struct bytes){ (const uint8_t *)pem, strlen(pem) };
	if (pem_next(der, &n, &rest) != ERR_OK ||
	    cacert_spki(spki, (struct bytes){ der, n }) != ERR_OK)
		return bad(why,
		    "appkeys.json: ca_cert is no certificate of a "
		    "P-256 key");
	if (p256_pubkey(&pub, &out->ca) != ERR_OK ||
	    p256_spki(own, &pub) != ERR_OK ||
	    memcmp(own, spki, sizeof own) != 0)
		return bad(why,
		    "appkeys.json: ca_cert is not that of "
		    "key_provider.None.key");
	return buf_set(&out->ca_der, der, n);
}

enum err
fixture_keys_parse(
    struct fixture_keys *out, struct bytes json, struct refusal *why)
{
	struct fixture_keys k = { .ca_der = { 0 } };
	uint8_t unused[32];
	json_t *o = NULL;
	char where[120];
	enum err e;

	e = json_parse(&o, json.p, json.len, APP_KEYS_MAX, where, sizeof where);
	if (e != ERR_OK || !json_is_object(o)) {
		e = bad(why, "appkeys.json: %s",
		    e == ERR_OK          ? "not an object"
			: e == ERR_LIMIT ? "too long"
					 : where);
		goto done;
	}
	if (json_get_hex(k.k256.b, 32, o, "k256_key") != ERR_OK ||
	    !k256_secret_valid(&k.k256)) {
		e = bad(why, "appkeys.json: k256_key is no key of 32 bytes");
		goto done;
	}
	if (json_get_hex(k.k256_signature.b, 65, o, "k256_signature") !=
	    ERR_OK) {
		e = bad(why, "appkeys.json: k256_signature has not 65 bytes");
		goto done;
	}
	/* Not used by any method, but a folder of this kind has them. */
	if (json_get_hex(unused, 32, o, "disk_crypt_key") != ERR_OK ||
	    json_get_hex(unused, 32, o, "env_crypt_key") != ERR_OK) {
		e = bad(why,
		    "appkeys.json: disk_crypt_key and env_crypt_key "
		    "must have 32 bytes");
		goto done;
	}
	if ((e = read_provider(&k, o, why)) != ERR_OK ||
	    (e = read_ca_cert(&k, o, why)) != ERR_OK)
		goto done;
	*out = k;
	memset(&k.ca_der, 0, sizeof k.ca_der); /* transferred */
done:
	fixture_keys_wipe(&k);
	secret_wipe(unused, sizeof unused);
	json_wipe(o);
	return e;
}

void
fixture_keys_wipe(struct fixture_keys *k)
{
	buf_fini(&k->ca_der);
	secret_wipe(k, sizeof *k);
}
