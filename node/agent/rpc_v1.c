/* dstack-compat.md 1.6. */
#include <string.h>

#include "common/base/limits.h"

#include "node/agent/params.h"
#include "node/agent/rpc_info.h"
#include "node/agent/rpc_keys.h"
#include "node/agent/rpc_quote.h"
#include "node/agent/rpc_v1.h"

#define STATUS_NOT_IMPLEMENTED 501
#define GPU_NONCE_LEN 32

/* No default and no alias. */
static enum err
read_algorithm(struct rpc_call *c, enum appkey_algorithm *out, const char *word)
{
	if (word[0] == '\0')
		return rpc_fail(
		    c, "algorithm is required, use `secp256k1` or `ed25519`");
	if (appkey_algorithm(out, word) != ERR_OK ||
	    strcmp(appkey_word(*out), word) != 0)
		return rpc_fail(c,
		    "unsupported algorithm `%.64s`, use `secp256k1` or "
		    "`ed25519`",
		    word);
	return ERR_OK;
}

static enum err
get_key(struct rpc_call *c)
{
	struct bytes domain = params_text(c->in, "domain", LIMIT_KEY_PATH);
	const char *word = params_str(c->in, "algorithm", LIMIT_KEY_PATH);
	bool has_epoch;
	uint64_t epoch = params_u64(c->in, "epoch", &has_epoch);
	struct app_release keys = { .epoch = 0 };
	enum appkey_algorithm alg;
	struct appkey key;
	enum err e;

	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	if ((e = read_algorithm(c, &alg, word)) != ERR_OK)
		return e;
	e = rpc_keys_release(c, &keys, has_epoch ? &epoch : NULL);
	if (e != ERR_OK)
		goto done;
	e = appkey_derive_v1(&key, &keys.k256, domain, alg);
	if (e != ERR_OK) {
		e = rpc_fail(c, "Failed to derive key: %s", err_text(e));
		goto done;
	}
	rpc_put_hex(c, "key", key.secret, sizeof key.secret);
	rpc_put_hex(c, "public_key", key.pub, key.pub_len);
	rpc_keys_put_chain(
	    c, "signature_chain", NULL, &key.link, &keys.k256_signature);
	rpc_put_u64(c, "epoch", keys.epoch);
	appkey_wipe(&key);
done:
	release_wipe(&keys);
	return e;
}

static enum err
issue_cert(struct rpc_call *c)
{
	struct rpc_tls_wish w = { .ra_tls = false };

	rpc_keys_tls_wish(c, &w);
	rpc_keys_tls_wish_more(c, &w);
	return rpc_keys_issue_fresh(c, &w);
}

/* Without a GPU that attests there is no evidence of one from the boot. */
static enum err
attest(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	struct refusal why = { .code = REASON_NONE };
	struct buf out = { 0 };
	uint8_t rd[64];
	enum err e;

	(void)params_bool(c->in, "include_boottime_gpu_evidence");
	e = rpc_quote_report_data(c, rd, "report data is too long");
	if (e != ERR_OK)
		return e;
	if (b->attest_v1 == NULL) {
		c->status = STATUS_NOT_IMPLEMENTED;
		return rpc_fail(c, "Attest is not available here");
	}
	e = b->attest_v1(b->cookie, &out, rd, &why);
	if (e == ERR_OK) {
		rpc_put_hex(c, "attestation", out.p, out.len);
		rpc_put_new(c, "boottime_gpu_evidence", json_array());
	} else {
		e = rpc_fail_why(c, "Failed to attest", e, &why);
	}
	buf_fini(&out);
	return e;
}

static enum err
attest_gpu(struct rpc_call *c)
{
	struct buf nonce = { 0 };
	enum err e;

	params_bytes(c->in, &nonce, "nonce", LIMIT_SIGN_DATA,
	    "nonce must be exactly 32 bytes");
	if (params_bad(c->in) != NULL) {
		e = rpc_fail(c, "%s", params_bad(c->in));
	} else if (nonce.len != GPU_NONCE_LEN) {
		e = rpc_fail(c,
		    "GPU attestation failed: nonce must be exactly %d bytes, "
		    "got %zu",
		    GPU_NONCE_LEN, nonce.len);
	} else {
		c->status = STATUS_NOT_IMPLEMENTED;
		e = rpc_fail(c,
		    "GPU attestation failed: GPU attestation is not "
		    "available in this image");
	}
	buf_fini(&nonce);
	return e;
}

enum err
rpc_v1_gpu_info(struct rpc_call *c)
{
	c->status = STATUS_NOT_IMPLEMENTED;
	return rpc_fail(c, "GPU attestation is not available in this image");
}

static const struct rpc_method methods[] = {
	{ "IssueCert", issue_cert, true },
	{ "GetKey", get_key, true },
	{ "Attest", attest, false },
	{ "AttestGpu", attest_gpu, false },
	{ "Info", rpc_info_v1, false },
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_guest_v1 = { "DstackGuest", methods,
	sizeof methods / sizeof methods[0] };
