/* rpc_keys: GetKey, GetTlsKey, Sign and Verify: dstack-compat.md 1.3. */
#ifndef NODE_AGENT_RPC_KEYS_H
#define NODE_AGENT_RPC_KEYS_H

#include "common/base/limits.h"

#include "node/agent/appkeys.h"
#include "node/agent/rpc.h"

enum err rpc_keys_get_key(struct rpc_call *c);
enum err rpc_keys_get_tls_key(struct rpc_call *c);
enum err rpc_keys_sign(struct rpc_call *c);
enum err rpc_keys_verify(struct rpc_call *c);

/* ---- for the other services ---- */

/* Fields of a request for a certificate, as the certificate will have them. */
struct rpc_tls_wish {
	struct kms_cert_request rq;
	const char *alt_name[LIMIT_ALT_NAMES];
	bool ra_tls;
	bool has_epoch; /* whose CA shall sign; else the pinned one's */
	uint64_t epoch;
};

/* rpc_keys_tls_wish reads the fields that all versions have; the one that
 * follows, those since 0.5.6.  They borrow from the request. */
void rpc_keys_tls_wish(struct rpc_call *c, struct rpc_tls_wish *w);
void rpc_keys_tls_wish_more(struct rpc_call *c, struct rpc_tls_wish *w);
/* rpc_keys_issue answers with `key` and a certificate for it, by the CA of the
 * epoch of `keys`.  The caller wipes both. */
enum err rpc_keys_issue(struct rpc_call *c, struct rpc_tls_wish *w,
    const struct p256_secret *key, const struct app_release *keys);
/* rpc_keys_issue_fresh does so with a key that is in no way derived. */
enum err rpc_keys_issue_fresh(struct rpc_call *c, struct rpc_tls_wish *w);

/* rpc_keys_release fetches the app's keys, of `*epoch` or of the pinned one
 * (NULL); release_wipe. */
enum err rpc_keys_release(
    struct rpc_call *c, struct app_release *out, const uint64_t *epoch);
/* rpc_keys_sign_key derives what Sign signs with; appkey_wipe. */
enum err rpc_keys_sign_key(
    struct rpc_call *c, struct appkey *out, enum appkey_algorithm algorithm);
/* rpc_keys_put_chain sets member `name`: `sig64` or NULL, then the links. */
void rpc_keys_put_chain(struct rpc_call *c, const char *name,
    const uint8_t *sig64, const struct k256_sig65 *link,
    const struct k256_sig65 *issued);
/* rpc_keys_get_key_as is GetKey, by other names of its members. */
enum err rpc_keys_get_key_as(
    struct rpc_call *c, const char *key_name, const char *chain_name);

#endif
