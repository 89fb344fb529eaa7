#include "kms/ctl/epoch0.h"
#include "common/crypto/hash.h"
#include "common/eth/appauth.h"
#include "kms/gate/registryabi.h"

enum err
epoch0_call(struct buf *out, const struct contract *k,
    const uint8_t kms[static 20], struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct appauth_kms_info info;
	struct k256_pub root;
	uint8_t ca[32];
	enum err e = appauth_getter(&call, APPAUTH_KMS_INFO);

	if (e == ERR_OK)
		e = contract_call(&answer, k, kms, buf_view(&call), why);
	if (e == ERR_OK && appauth_kms_info(&info, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a KMS contract");
	if (e == ERR_OK && info.k256_pub.len == 0)
		e = refuse(why, REASON_ROOT_MISMATCH,
		    "the KMS contract names no root yet; `kmsctl genesis "
		    "publish` comes first");
	if (e == ERR_OK &&
	    k256_pub_parse(&root, info.k256_pub.p, info.k256_pub.len) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a public key");
	if (e == ERR_OK) {
		sha256(ca, info.ca_pub.p, info.ca_pub.len);
		e = registryabi_register_genesis(out, &root, ca);
	}
	buf_fini(&call);
	buf_fini(&answer);
	return e;
}

enum err
epoch0_there(bool *out, const struct contract *k, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct registry_state s;
	enum err e = registryabi_call_state(&call);

	if (e == ERR_OK)
		e = contract_call(
		    &answer, k, k->registry, buf_view(&call), why);
	if (e == ERR_OK && registryabi_state(&s, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a registry of roots");
	if (e == ERR_OK)
		*out = s.n_epochs > 0;
	buf_fini(&call);
	buf_fini(&answer);
	return e;
}
