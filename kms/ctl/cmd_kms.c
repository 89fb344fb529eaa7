/* kmsctl kms ...: what the owner of a KMS contract says on chain. */
#include <string.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "common/crypto/k256.h"
#include "common/eth/appauth.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/contract.h"

#define FINAL_MS 120000

static const struct args_option options_send[] = {
	CONTRACT_OPTIONS_SEND,
	{ "wait-final", NULL, "return once KMS nodes can see it" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_read[] = {
	CONTRACT_OPTIONS_READ,
	{ NULL, NULL, NULL },
};

static enum ctl_exit
change(struct ctl *c, const struct args *a, const char *what, uint32_t selector)
{
	struct contract_tx tx = { .to = { 0 } };
	struct refusal why = { .code = REASON_NONE };
	char hash_hex[67] = "0x", tx_hex[67] = "0x";
	struct contract k;
	uint8_t hash[32];
	enum ctl_exit rc;
	enum err e;

	if (hex_fixed(hash, 32, a->pos[0]) != ERR_OK)
		return ctl_fail(
		    c, CTL_USAGE, "%.80s: must be 32 bytes in hex", a->pos[0]);
	if ((rc = contract_from_args(&k, c, a, true, true)) != CTL_OK)
		return rc;
	memcpy(tx.to, k.kms, sizeof tx.to);
	e = calls_bytes32(&tx.data, selector, hash);
	if (e == ERR_OK)
		e = contract_send(c, &k, &tx, 1, &why);
	if (e == ERR_OK && args_has(a, "wait-final"))
		e = contract_await_final(
		    c, &k, tx.receipt.block_number, FINAL_MS);
	if (e != ERR_OK) {
		rc = ctl_denied(c, what, e, &why);
		goto done;
	}
	hex_encode(hash_hex + 2, hash, 32);
	hex_encode(tx_hex + 2, tx.hash, 32);
	rc = ctl_result(c,
	    json_pack("{s:s, s:s, s:I}", what, hash_hex, "transaction", tx_hex,
		"block", (json_int_t)tx.receipt.block_number),
	    CTL_OK);
done:
	contract_tx_fini(&tx);
	return rc;
}

#define CHANGE(fn, what, selector) \
	static enum ctl_exit fn(struct ctl *c, const struct args *a) \
	{ \
		return change(c, a, what, selector); \
	}
CHANGE(allow_image, "allowed_image", CALL_ADD_OS_IMAGE)
CHANGE(allow_mr, "allowed_mr", CALL_ADD_KMS_MR)
CHANGE(allow_device, "allowed_device", CALL_ADD_KMS_DEVICE)
CHANGE(disallow_image, "disallowed_image", CALL_REMOVE_OS_IMAGE)
CHANGE(disallow_mr, "disallowed_mr", CALL_REMOVE_KMS_MR)
CHANGE(disallow_device, "disallowed_device", CALL_REMOVE_KMS_DEVICE)
#undef CHANGE

/* The root that the contract names: what an auditor pins. */
static enum ctl_exit
run_info(struct ctl *c, const struct args *a)
{
	struct buf call = { 0 }, answer = { 0 };
	struct refusal why = { .code = REASON_NONE };
	struct appauth_kms_info info;
	char pub_hex[67], addr_hex[ACCOUNT_ADDRESS_TEXT], ca_hex[65];
	struct k256_pub pub;
	struct contract k;
	uint8_t addr[20], ca[32];
	enum ctl_exit rc;
	enum err e;

	if ((rc = contract_from_args(&k, c, a, false, true)) != CTL_OK)
		return rc;
	e = appauth_getter(&call, APPAUTH_KMS_INFO);
	if (e == ERR_OK)
		e = contract_call(&answer, &k, k.kms, buf_view(&call), &why);
	if (e == ERR_OK && appauth_kms_info(&info, buf_view(&answer)) != ERR_OK)
		e = refuse(&why, REASON_CHAIN_ANSWER, "not a KMS contract");
	if (e != ERR_OK) {
		rc = ctl_denied(c, "kms info", e, &why);
		goto done;
	}
	if (info.k256_pub.len == 0) {
		rc = ctl_fail(c, CTL_FAILED,
		    "the contract names no root yet; see `kmsctl help genesis "
		    "publish`");
		goto done;
	}
	if (k256_pub_parse(&pub, info.k256_pub.p, info.k256_pub.len) !=
		ERR_OK ||
	    k256_address(addr, &pub) != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED,
		    "what the contract names is not a public key");
		goto done;
	}
	sha256(ca, info.ca_pub.p, info.ca_pub.len);
	hex_encode(pub_hex, pub.b, sizeof pub.b);
	account_address_text(addr_hex, addr);
	hex_encode(ca_hex, ca, sizeof ca);
	rc = ctl_result(c,
	    json_pack("{s:s, s:s, s:s, s:I, s:I}", "k256_pub", pub_hex,
		"address", addr_hex, "ca_spki_sha256", ca_hex, "quote_bytes",
		(json_int_t)info.quote.len, "event_log_bytes",
		(json_int_t)info.event_log.len),
	    CTL_OK);
done:
	buf_fini(&answer);
	buf_fini(&call);
	return rc;
}

const struct ctl_command cmd_kms[] = {
	{ "kms info", "", "the root that the KMS contract names", options_read,
	    0, 0, run_info },
	{ "kms allow-image", "HASH", "allow an OS image", options_send, 1, 1,
	    allow_image },
	{ "kms allow-mr", "HASH", "allow the measurements of a KMS",
	    options_send, 1, 1, allow_mr },
	{ "kms allow-device", "HASH", "allow a machine to run KMS nodes",
	    options_send, 1, 1, allow_device },
	{ "kms disallow-image", "HASH", "the opposite", options_send, 1, 1,
	    disallow_image },
	{ "kms disallow-mr", "HASH", "the opposite", options_send, 1, 1,
	    disallow_mr },
	{ "kms disallow-device", "HASH", "the opposite", options_send, 1, 1,
	    disallow_device },
	{ .name = NULL },
};
