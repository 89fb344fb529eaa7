/* dstack-compat.md 1.4. */
#include <string.h>

#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"

#include "node/agent/params.h"
#include "node/agent/rpc_info.h"
#include "node/agent/rpc_keys.h"
#include "node/agent/rpc_quote.h"

#define DEFAULT_HASH "sha512"
#define DEFAULT_PREFIX "app-data"

/* Digests of up to 64 bytes; zeros stay behind shorter ones. */
static const struct digest {
	const char *name;
	size_t len;
	void (*run)(uint8_t *out, const struct bytes *part, size_t n);
} digests[] = {
	{ "sha256", 32, sha256_v },
	{ "sha384", 48, sha384_v },
	{ "sha512", 64, sha512_v },
	{ "sha3-256", 32, sha3_256_v },
	{ "sha3-384", 48, sha3_384_v },
	{ "sha3-512", 64, sha3_512_v },
	{ "keccak256", 32, keccak256_v },
	{ "keccak384", 48, keccak384_v },
	{ "keccak512", 64, keccak512_v },
};

/* report data = H(prefix ":" data), or the data itself. */
static enum err
make_report_data(struct rpc_call *c, uint8_t out[static 64], const char *name,
    const char *prefix, struct bytes data)
{
	const struct bytes part[] = { { (const uint8_t *)prefix,
					  strlen(prefix) },
		BYTES_STR(":"), data };

	memset(out, 0, 64);
	if (strcmp(name, "raw") == 0) {
		if (data.len != 64)
			return rpc_fail(c, "invalid content length");
		memcpy(out, data.p, 64);
		return ERR_OK;
	}
	for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
		if (strcmp(digests[i].name, name) != 0)
			continue;
		digests[i].run(out, part, 3);
		return ERR_OK;
	}
	return rpc_fail(c, "invalid hash algorithm");
}

static enum err
quote(struct rpc_call *c, const char *hash, const char *prefix)
{
	struct evidence ev = { .tee = 0 };
	struct buf data = { 0 };
	uint8_t rd[64];
	enum err e;

	if (hash[0] == '\0')
		hash = DEFAULT_HASH;
	if (prefix[0] == '\0')
		prefix = DEFAULT_PREFIX;
	params_bytes(c->in, &data, "report_data", LIMIT_SIGN_DATA,
	    "Report data is too long");
	if (params_bad(c->in) != NULL)
		e = rpc_fail(c, "%s", params_bad(c->in));
	else
		e = make_report_data(c, rd, hash, prefix, buf_view(&data));
	if (e != ERR_OK)
		goto done;
	if ((e = rpc_quote_take(c, &ev, rd)) != ERR_OK)
		goto done;
	rpc_put_str(c, "hash_algorithm", hash);
	rpc_put_str(c, "prefix", strcmp(hash, "raw") == 0 ? "" : prefix);
done:
	buf_fini(&data);
	evidence_fini(&ev);
	return e;
}

static enum err
tdx_quote(struct rpc_call *c)
{
	const char *hash = params_str(c->in, "hash_algorithm", LIMIT_KEY_PATH);
	const char *prefix = params_str(c->in, "prefix", LIMIT_KEY_PATH);

	return quote(c, hash, prefix);
}

static enum err
raw_quote(struct rpc_call *c)
{
	return quote(c, "raw", "");
}

/* The key of a path is P256(app key, path), unless it shall be random. */
static enum err
derive_key(struct rpc_call *c)
{
	const char *path = params_str(c->in, "path", LIMIT_KEY_PATH);
	const struct bytes info = { (const uint8_t *)path, strlen(path) };
	bool random = params_bool(c->in, "random_seed");
	struct rpc_tls_wish w = { .ra_tls = false };
	struct app_release keys = { .epoch = 0 };
	struct p256_secret key;
	enum err e;

	rpc_keys_tls_wish(c, &w);
	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	if (random)
		return rpc_keys_issue_fresh(c, &w);
	e = rpc_keys_release(c, &keys, w.has_epoch ? &w.epoch : NULL);
	if (e != ERR_OK)
		goto done;
	e = dstack_kdf_p256(&key, keys.k256.b, &info, 1);
	if (e != ERR_OK) {
		e = rpc_fail(c, "Failed to derive key: %s", err_text(e));
		goto done;
	}
	e = rpc_keys_issue(c, &w, &key, &keys);
	p256_secret_wipe(&key);
done:
	release_wipe(&keys);
	return e;
}

static enum err
derive_k256_key(struct rpc_call *c)
{
	return rpc_keys_get_key_as(c, "k256_key", "k256_signature_chain");
}

static const struct rpc_method methods[] = {
	{ "DeriveKey", derive_key, true },
	{ "DeriveK256Key", derive_k256_key, true },
	{ "TdxQuote", tdx_quote, false },
	{ "RawQuote", raw_quote, false },
	{ "Info", rpc_info, false },
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_tappd = { "Tappd", methods,
	sizeof methods / sizeof methods[0] };
