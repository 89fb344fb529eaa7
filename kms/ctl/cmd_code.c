/* kmsctl kms code: the code that contracts run, as kmsd.yaml lists it.
 *
 * One endpoint's word: who pins it compares it with what was deployed. */
#include <stdio.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/account.h"
#include "common/eth/rpc.h"
#include "kms/ctl/contract.h"
#include "kms/gate/standard.h"

#define TIMEOUT_MS 10000u
#define CODE_REPLY (2u * EVM_CODE_MAX + 4096u)
#define CALL_APP_IMPLEMENTATION 0x25a992dau

static const struct args_option options[] = {
	CONTRACT_OPTIONS_READ,
	{ NULL, NULL, NULL },
};

static enum err
ask(struct buf *out, const struct contract *k, const char *method,
    const char *params, size_t max, struct refusal *why)
{
	const struct rpc_request rq = { .url = k->rpc,
		.method = method,
		.params = params,
		.timeout_ms = TIMEOUT_MS,
		.max_reply = CODE_REPLY };
	struct rpc_reply r;
	enum err e;

	rpc_all(&r, &rq, 1);
	if (r.err != ERR_OK)
		e = refuse(why, REASON_CHAIN_UNREACHABLE, "%s: %s %s", k->rpc,
		    method, r.message);
	else if (rpc_data(out, max, r.result) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "%s", method);
	else
		e = ERR_OK;
	rpc_reply_fini(&r);
	return e;
}

/* The hash of an account's code; `len` is its length. */
static enum err
code_hash(uint8_t hash[static 32], size_t *len, const struct contract *k,
    const uint8_t address[static 20], struct refusal *why)
{
	char params[64], hex[41];
	struct buf code = { 0 };
	enum err e;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]",
	    hex_encode(hex, address, 20));
	e = ask(&code, k, "eth_getCode", params, EVM_CODE_MAX, why);
	if (e == ERR_OK) {
		keccak256(hash, code.p, code.len);
		*len = code.len;
	}
	buf_fini(&code);
	return e;
}

static enum err
implementation(uint8_t out[static 20], const struct contract *k,
    const uint8_t address[static 20], struct refusal *why)
{
	char params[160], hex[41], slot[65];
	struct buf word = { 0 };
	enum err e;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"0x%s\",\"latest\"]",
	    hex_encode(hex, address, 20),
	    hex_encode(slot, standard_implementation_slot, 32));
	e = ask(&word, k, "eth_getStorageAt", params, 32, why);
	if (e == ERR_OK && word.len != 32)
		e = refuse(why, REASON_CHAIN_ANSWER, "eth_getStorageAt");
	if (e == ERR_OK)
		memcpy(out, word.p + 12, 20);
	buf_fini(&word);
	return e;
}

static enum err
add_row(json_t *rows, const char *what, enum standard_role role,
    const struct contract *k, const uint8_t address[static 20],
    struct refusal *why)
{
	char at[ACCOUNT_ADDRESS_TEXT], hex[65];
	uint8_t hash[32];
	size_t len;
	enum err e = code_hash(hash, &len, k, address, why);

	account_address_text(at, address);
	if (e == ERR_OK && len == 0)
		e = refuse(why, REASON_CHAIN_ANSWER, "%s: no contract at %s",
		    what, at);
	if (e == ERR_OK &&
	    json_array_append_new(rows,
		json_pack("{s:s, s:s, s:o}", "what", what, "address", at,
		    "code_hash",
		    json_sprintf("%s:0x%s", standard_role_text(role),
			hex_encode(hex, hash, 32)))) != 0)
		e = ERR_NOMEM;
	return e;
}

/* A contract, and what it delegates to if it is a proxy. */
static enum err
add_contract(json_t *rows, const char *what, enum standard_role role,
    const struct contract *k, const uint8_t address[static 20],
    struct refusal *why)
{
	static const uint8_t none[20];
	uint8_t impl[20];
	enum err e = implementation(impl, k, address, why);
	bool proxy = e == ERR_OK && memcmp(impl, none, sizeof none) != 0;

	if (e == ERR_OK)
		e = add_row(
		    rows, what, proxy ? STANDARD_PROXY : role, k, address, why);
	if (e == ERR_OK && proxy)
		e = add_row(rows, "its implementation", role, k, impl, why);
	return e;
}

/* What the factory gives to new apps. */
static enum err
add_factory(json_t *rows, const struct contract *k, struct refusal *why)
{
	static const uint8_t none[20],
	    getter[4] = { CALL_APP_IMPLEMENTATION >> 24,
		    (CALL_APP_IMPLEMENTATION >> 16) & 0xff,
		    (CALL_APP_IMPLEMENTATION >> 8) & 0xff,
		    CALL_APP_IMPLEMENTATION & 0xff };
	struct buf answer = { 0 };
	uint8_t impl[20];
	enum err e = contract_call(&answer, k, k->kms, BYTES_OF(getter), why);

	if (e == ERR_OK && abi_get_address(impl, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "appImplementation");
	if (e == ERR_OK && memcmp(impl, none, sizeof none) != 0)
		e = add_row(rows, "new apps' implementation", STANDARD_APP, k,
		    impl, why);
	buf_fini(&answer);
	return e;
}

static enum ctl_exit
run_code(struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	json_t *rows = json_array();
	uint8_t app[20];
	struct contract k;
	enum ctl_exit rc;
	enum err e;

	if ((rc = contract_from_args(&k, c, a, false, true)) != CTL_OK)
		goto done;
	e = add_contract(rows, "KMS contract", STANDARD_KMS, &k, k.kms, &why);
	if (e == ERR_OK)
		e = add_factory(rows, &k, &why);
	for (unsigned i = 0; e == ERR_OK && i < a->n_pos; i++) {
		if (hex_fixed(app, 20, a->pos[i]) != ERR_OK) {
			rc = ctl_fail(c, CTL_USAGE, "%.80s: must be an address",
			    a->pos[i]);
			goto done;
		}
		e = add_contract(rows, "app", STANDARD_APP, &k, app, &why);
	}
	if (e != ERR_OK) {
		rc = ctl_denied(c, "kms code", e, &why);
		goto done;
	}
	rc = ctl_result(c, json_incref(rows), CTL_OK);
done:
	json_decref(rows);
	return rc;
}

const struct ctl_command cmd_code[] = {
	{ "kms code", "[APP]...",
	    "the code that contracts run, as chain.code_hashes lists it",
	    options, 0, 8, run_code },
	{ .name = NULL },
};
