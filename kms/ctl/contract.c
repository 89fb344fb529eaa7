#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "common/eth/rpc.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/contract.h"
#include "kms/ctl/lab.h"

#define TIMEOUT_MS 10000
#define MINED_MS 120000
/* 500 gwei: refuses an endpoint that names absurd fees. */
#define FEE_CAP 500000000000u

static void
pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static bool
copy(char *out, size_t cap, const char *text)
{
	size_t n = strlen(text);

	if (n >= cap)
		return false;
	memcpy(out, text, n + 1);
	return true;
}

/* from_sim fills in what a simulated cluster knows. */
static enum ctl_exit
from_sim(struct contract *k, const struct ctl *c, const char *dir,
    const char *member)
{
	enum ctl_exit rc = CTL_OK;
	struct lab *lab = NULL;
	char why[LAB_WHY_MAX];
	uint64_t n;

	if (lab_load(&lab, dir, why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	lab_contract(k, lab);
	if (member != NULL &&
	    (args_u64(&n, member, UINT32_MAX) != ERR_OK || n >= lab->n_members))
		rc = ctl_fail(c, CTL_USAGE,
		    "--member: %.20s: its council has %u members, from 0",
		    member, lab->n_members);
	else if (member != NULL)
		lab_path(k->key_file, lab, "council/%u.key", (unsigned)n);
	lab_free(lab);
	return rc;
}

enum ctl_exit
contract_from_args(struct contract *out, const struct ctl *c,
    const struct args *a, bool send, bool need_kms)
{
	const char *sim = args_get(a, "sim"), *rpc = args_get(a, "rpc"),
		   *kms = args_get(a, "kms"), *id = args_get(a, "chain-id"),
		   *key = args_get(a, "key-file"),
		   *anchor = args_get(a, "anchor"),
		   *registry = args_get(a, "registry");
	struct contract k = { .chain_id = 0 };
	enum ctl_exit rc;

	if (sim != NULL &&
	    (rc = from_sim(&k, c, sim, args_get(a, "member"))) != CTL_OK)
		return rc;
	if (rpc != NULL && !copy(k.rpc, sizeof k.rpc, rpc))
		return ctl_fail(c, CTL_USAGE, "--rpc: too long");
	if (kms != NULL) {
		if (hex_fixed(k.kms, 20, kms) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--kms: must be an address (20 bytes in hex)");
		k.has_kms = true;
	}
	if (anchor != NULL) {
		if (hex_fixed(k.anchor, 20, anchor) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--anchor: must be an address (20 bytes in hex)");
		k.has_anchor = true;
	}
	if (registry != NULL) {
		if (hex_fixed(k.registry, 20, registry) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--registry: must be an address (20 bytes in hex)");
		k.has_registry = true;
	}
	if (id != NULL &&
	    (args_u64(&k.chain_id, id, INT64_MAX) != ERR_OK || k.chain_id == 0))
		return ctl_fail(c, CTL_USAGE, "--chain-id: must be a number");
	if (key != NULL && !copy(k.key_file, sizeof k.key_file, key))
		return ctl_fail(c, CTL_USAGE, "--key-file: too long");
	if (k.rpc[0] == '\0')
		return ctl_fail(
		    c, CTL_USAGE, "which chain? give --rpc URL, or --sim DIR");
	if (need_kms && !k.has_kms)
		return ctl_fail(c, CTL_USAGE,
		    "which KMS? give --kms 0xADDRESS, or --sim DIR");
	if (send && (k.chain_id == 0 || k.key_file[0] == '\0'))
		return ctl_fail(c, CTL_USAGE,
		    "sending needs --chain-id N and --key-file FILE, "
		    "or --sim DIR");
	*out = k;
	return CTL_OK;
}

/* ---- questions ---- */

/* ask sends one request; the caller rpc_reply_fini()s the reply. */
static enum err
ask(struct rpc_reply *r, const struct contract *k, const char *method,
    const char *params, struct refusal *why)
{
	const struct rpc_request rq = { .url = k->rpc,
		.method = method,
		.params = params,
		.timeout_ms = TIMEOUT_MS,
		.max_reply = LIMIT_RPC_REPLY };

	rpc_all(r, &rq, 1);
	if (r->err == ERR_OK)
		return ERR_OK;
	return refuse(why,
	    rpc_failed_in_evm(r) ? REASON_CONTRACT_OTHER
		: r->err == ERR_DENIED || r->err == ERR_MALFORMED
		? REASON_CHAIN_ANSWER
		: REASON_CHAIN_UNREACHABLE,
	    "%s: %s %s", k->rpc, method,
	    r->message[0] != '\0' ? r->message : err_text(r->err));
}

enum err
contract_call_from(struct buf *answer, const struct contract *k,
    const uint8_t *from, const uint8_t to[static 20], struct bytes data,
    struct refusal *why)
{
	struct buf params = { 0 };
	struct rpc_reply r = { 0 };
	char to_hex[41], from_hex[41], *hex = malloc(2 * data.len + 1);
	enum err e = ERR_NOMEM;

	if (hex == NULL)
		return e;
	hex_encode(hex, data.p, data.len);
	hex_encode(to_hex, to, 20);
	e = buf_printf(&params, "[{");
	if (e == ERR_OK && from != NULL)
		e = buf_printf(&params, "\"from\":\"0x%s\",",
		    hex_encode(from_hex, from, 20));
	if (e == ERR_OK)
		e = buf_printf(&params,
		    "\"to\":\"0x%s\",\"data\":\"0x%s\"},\"latest\"]", to_hex,
		    hex);
	if (e == ERR_OK)
		e = ask(&r, k, "eth_call", (char *)params.p, why);
	if (e == ERR_OK) {
		answer->len = 0;
		if (rpc_data(answer, LIMIT_KMS_INFO, r.result) != ERR_OK)
			e = refuse(why, REASON_CHAIN_ANSWER, "eth_call");
	}
	rpc_reply_fini(&r);
	buf_fini(&params);
	free(hex);
	return e;
}

enum err
contract_call(struct buf *answer, const struct contract *k,
    const uint8_t to[static 20], struct bytes data, struct refusal *why)
{
	enum err e = contract_call_from(answer, k, NULL, to, data, why);
	char to_hex[41];

	/* An account without code answers nothing. */
	if (e == ERR_OK && answer->len == 0)
		e = refuse(why, REASON_CHAIN_ANSWER, "no such contract at 0x%s",
		    hex_encode(to_hex, to, 20));
	return e;
}

const char *
contract_reason(const struct refusal *why)
{
	static const char before[] = "execution reverted: ";
	const char *p = strstr(why->detail, before);

	return p != NULL ? p + sizeof before - 1 : why->detail;
}

enum err
contract_call_bool(bool *out, const struct contract *k,
    const uint8_t to[static 20], struct bytes data, struct refusal *why)
{
	struct buf answer = { 0 };
	enum err e = contract_call(&answer, k, to, data, why);

	if (e == ERR_OK && abi_get_bool(out, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a boolean");
	buf_fini(&answer);
	return e;
}

/* A number in the header of the block with that tag. */
static enum err
of_block(uint64_t *out, const struct contract *k, const char *tag,
    const char *member, struct refusal *why)
{
	struct rpc_reply r = { 0 };
	struct buf params = { 0 };
	enum err e = buf_printf(&params, "[\"%s\",false]", tag);

	if (e == ERR_OK)
		e = ask(&r, k, "eth_getBlockByNumber", (char *)params.p, why);
	if (e == ERR_OK &&
	    rpc_quantity(out, json_object_get(r.result, member)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "no block %s", member);
	rpc_reply_fini(&r);
	buf_fini(&params);
	return e;
}

enum err
contract_block_number(uint64_t *out, const struct contract *k, const char *tag,
    struct refusal *why)
{
	return of_block(out, k, tag, "number", why);
}

enum err
contract_block_time(
    uint64_t *out, const struct contract *k, struct refusal *why)
{
	return of_block(out, k, "latest", "timestamp", why);
}

enum err
contract_rpc(const struct contract *k, const char *method, const char *params,
    struct refusal *why)
{
	struct rpc_reply r = { 0 };
	enum err e = ask(&r, k, method, params, why);

	rpc_reply_fini(&r);
	return e;
}

enum err
contract_chain_id(uint64_t *out, const struct contract *k, struct refusal *why)
{
	struct rpc_reply r = { 0 };
	enum err e = ask(&r, k, "eth_chainId", "[]", why);

	if (e == ERR_OK && rpc_quantity(out, r.result) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "eth_chainId");
	rpc_reply_fini(&r);
	return e;
}

enum err
contract_has_code(bool *out, const struct contract *k,
    const uint8_t at[static 20], struct refusal *why)
{
	char hex[41], params[64];
	struct rpc_reply r = { 0 };
	struct buf code = { 0 };
	enum err e;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]",
	    hex_encode(hex, at, 20));
	e = ask(&r, k, "eth_getCode", params, why);
	if (e == ERR_OK && rpc_data(&code, LIMIT_KMS_INFO, r.result) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "eth_getCode");
	*out = e == ERR_OK && code.len > 0;
	buf_fini(&code);
	rpc_reply_fini(&r);
	return e;
}

enum err
contract_implementation(bool *proxy, uint8_t code[static 20],
    const struct contract *k, const uint8_t at[static 20], struct refusal *why)
{
	static const char slot[] =
	    "360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";
	static const uint8_t none[32];
	char hex[41], params[160];
	struct rpc_reply r = { 0 };
	uint8_t word[32] = { 0 };
	enum err e;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"0x%s\",\"latest\"]",
	    hex_encode(hex, at, 20), slot);
	e = ask(&r, k, "eth_getStorageAt", params, why);
	if (e == ERR_OK && rpc_fixed(word, sizeof word, r.result) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "eth_getStorageAt");
	*proxy = e == ERR_OK && memcmp(word, none, sizeof word) != 0;
	memcpy(code, word + 12, 20);
	rpc_reply_fini(&r);
	return e;
}

enum err
contract_await_final(const struct ctl *c, const struct contract *k,
    uint64_t number, uint64_t limit_ms)
{
	struct ctl_wait w = ctl_wait(c, "finality on chain", limit_ms);
	struct refusal why = { .code = REASON_NONE };
	uint64_t at;

	for (;;) {
		if (contract_block_number(&at, k, "finalized", &why) ==
			ERR_OK &&
		    at >= number)
			break;
		if (!ctl_wait_more(&w))
			return ERR_TIMEOUT;
	}
	return k->sim[0] == '\0' ? ERR_OK
				 : lab_await_block(c, k->sim, number, limit_ms);
}

enum err
contract_anchor(
    struct anchor_state *out, const struct contract *k, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	enum err e = anchorabi_call_state(&call);

	if (e == ERR_OK)
		e = contract_call(&answer, k, k->anchor, buf_view(&call), why);
	if (e == ERR_OK && anchorabi_state(out, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not an anchor");
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

enum err
contract_balance(char out[static ETHER_TEXT], const struct contract *k,
    const uint8_t address[static 20], struct refusal *why)
{
	char hex[41], params[64];
	struct rpc_reply r = { 0 };
	uint64_t wei;
	enum err e;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]",
	    hex_encode(hex, address, 20));
	if ((e = ask(&r, k, "eth_getBalance", params, why)) != ERR_OK)
		goto done;
	e = rpc_quantity(&wei, r.result);
	if (e == ERR_OK)
		ether_text(out, wei);
	else if (e == ERR_LIMIT)
		(void)snprintf(out, ETHER_TEXT, "over 18");
	else
		(void)refuse(why, REASON_CHAIN_ANSWER, "eth_getBalance");
	e = e == ERR_OK || e == ERR_LIMIT ? ERR_OK : ERR_DENIED;
done:
	rpc_reply_fini(&r);
	return e;
}

enum err
contract_root(
    struct k256_pub *out, const struct contract *k, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct appauth_kms_info info;
	enum err e = appauth_getter(&call, APPAUTH_KMS_INFO);

	if (e == ERR_OK)
		e = contract_call(&answer, k, k->kms, buf_view(&call), why);
	if (e == ERR_OK && appauth_kms_info(&info, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a KMS contract");
	if (e == ERR_OK && info.k256_pub.len == 0)
		e = refuse(
		    why, REASON_ROOT_MISMATCH, "the contract names no root");
	if (e == ERR_OK &&
	    k256_pub_parse(out, info.k256_pub.p, info.k256_pub.len) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER,
		    "what the contract names is not a public key");
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

/* ---- transactions ---- */

void
contract_tx_fini(struct contract_tx *t)
{
	buf_fini(&t->data);
}

static enum err
send_one(const struct tx_chain *chain, const struct contract *k,
    const struct account *from, struct contract_tx *t, struct refusal *why)
{
	struct tx tx = { .chain_id = k->chain_id,
		.value = t->value,
		.data = buf_view(&t->data) };
	struct buf raw = { 0 };
	enum err e;

	memcpy(tx.to, t->to, sizeof tx.to);
	e = tx_fill(&tx, chain, from->address, why);
	if (e == ERR_OK)
		e = tx_sign(&raw, t->hash, &tx, &from->key);
	if (e == ERR_OK)
		e = tx_send(chain, buf_view(&raw), t->hash, why);
	buf_fini(&raw);
	return e;
}

enum err
contract_send(const struct ctl *c, const struct contract *k,
    struct contract_tx *tx, size_t n, struct refusal *why)
{
	const struct tx_chain chain = { .url = k->rpc,
		.timeout_ms = TIMEOUT_MS,
		.max_fee_cap = FEE_CAP,
		.mono_ms = clock_mono_ms,
		.pause_ms = pause_ms };
	struct account from;
	enum err e = account_load(&from, k->key_file);

	if (e == ERR_DENIED)
		return refuse(why, REASON_REQUEST,
		    "%s: others may read it; chmod 600", k->key_file);
	if (e != ERR_OK)
		return refuse(
		    why, REASON_REQUEST, "%s: %s", k->key_file, err_text(e));
	for (size_t i = 0; e == ERR_OK && i < n; i++)
		e = send_one(&chain, k, &from, &tx[i], why);
	account_wipe(&from);
	if (e == ERR_OK && n > 0)
		ctl_note(c, "sent %zu transaction%s, waiting for a block", n,
		    n == 1 ? "" : "s");
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		char hex[65];

		e = tx_wait(&tx[i].receipt, &chain, tx[i].hash, MINED_MS);
		hex_encode(hex, tx[i].hash, 32);
		if (e == ERR_OK && !tx[i].receipt.success)
			e = refuse(why, REASON_CONTRACT_OTHER,
			    "transaction 0x%s was mined and reverted", hex);
		else if (e == ERR_TIMEOUT)
			e = refuse(why, REASON_CHAIN_UNREACHABLE,
			    "transaction 0x%s is not mined yet", hex);
	}
	return e;
}

enum err
contract_deployed_app(uint8_t app[static 20], const struct contract *k,
    const struct contract_tx *t, struct refusal *why)
{
	struct rpc_reply r = { 0 };
	struct buf params = { 0 };
	char hex[65];
	const json_t *logs, *log;
	size_t i;
	enum err e;

	hex_encode(hex, t->hash, 32);
	e = buf_printf(&params, "[\"0x%s\"]", hex);
	if (e == ERR_OK)
		e = ask(
		    &r, k, "eth_getTransactionReceipt", (char *)params.p, why);
	if (e != ERR_OK)
		goto done;
	e = refuse(why, REASON_CHAIN_ANSWER, "no app in the receipt");
	logs = json_object_get(r.result, "logs");
	json_array_foreach(logs, i, log)
	{
		const json_t *topics = json_object_get(log, "topics");
		uint8_t from[20], topic[32], id[32];

		if (rpc_fixed(from, 20, json_object_get(log, "address")) ==
			ERR_OK &&
		    memcmp(from, k->kms, 20) == 0 &&
		    rpc_fixed(topic, 32, json_array_get(topics, 0)) == ERR_OK &&
		    memcmp(topic, calls_app_deployed_topic, 32) == 0 &&
		    rpc_fixed(id, 32, json_array_get(topics, 1)) == ERR_OK) {
			memcpy(app, id + 12, 20);
			e = ERR_OK;
			break;
		}
	}
done:
	rpc_reply_fini(&r);
	buf_fini(&params);
	return e;
}
