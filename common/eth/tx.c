#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "common/eth/rlp.h"
#include "common/eth/rpc.h"
#include "common/eth/tx.h"

#define TX_TYPE 2u /* EIP-1559 */
#define TX_DATA_MAX (64u * 1024)
#define TX_MAX (TX_DATA_MAX + 512u)
/* Between two looks for a receipt. */
#define RECEIPT_POLL_MS 1000u

/* EIP-1559: [chain_id, nonce, max_priority_fee_per_gas, max_fee_per_gas,
 * gas_limit, destination, amount, data, access_list, ...]. */
static void
put_fields(struct rlp *r, const struct tx *tx)
{
	const struct rlp no_access = { .max = 0 };

	rlp_u64(r, tx->chain_id);
	rlp_u64(r, tx->nonce);
	rlp_u64(r, tx->max_priority_fee);
	rlp_u64(r, tx->max_fee);
	rlp_u64(r, tx->gas_limit);
	rlp_str(r, tx->to, sizeof tx->to);
	rlp_u64(r, tx->value);
	rlp_str(r, tx->data.p, tx->data.len);
	rlp_list(r, &no_access);
}

/* 0x02 || rlp(fields) */
static enum err
envelope(struct buf *out, const struct rlp *fields)
{
	const uint8_t type = TX_TYPE;
	struct rlp whole = { .max = TX_MAX };
	enum err e;

	rlp_list(&whole, fields);
	e = whole.err;
	out->len = 0;
	if (e == ERR_OK)
		e = buf_append(out, &type, 1, TX_MAX);
	if (e == ERR_OK)
		e = buf_append(out, whole.out.p, whole.out.len, TX_MAX);
	rlp_fini(&whole);
	return e;
}

enum err
tx_sign(struct buf *raw, uint8_t hash[static 32], const struct tx *tx,
    const struct k256_secret *key)
{
	struct rlp r = { .max = TX_MAX };
	struct k256_sig65 sig;
	struct buf tmp = { 0 };
	uint8_t digest[32];
	enum err e;

	if (tx->data.len > TX_DATA_MAX)
		return ERR_LIMIT;
	/* "signature_y_parity, signature_r, signature_s [...] represent a
	 * secp256k1 signature over keccak256(0x02 || rlp([...]))" */
	put_fields(&r, tx);
	if ((e = envelope(&tmp, &r)) != ERR_OK)
		goto done;
	keccak256(digest, tmp.p, tmp.len);
	if ((e = k256_sign_digest(&sig, key, digest)) != ERR_OK)
		goto done;
	rlp_u64(&r, sig.b[64]);
	rlp_uint(&r, sig.b, 32);
	rlp_uint(&r, sig.b + 32, 32);
	if ((e = envelope(&tmp, &r)) != ERR_OK)
		goto done;
	keccak256(hash, tmp.p, tmp.len);
	buf_fini(raw);
	*raw = tmp; /* transferred */
	tmp = (struct buf){ 0 };
done:
	buf_fini(&tmp);
	rlp_fini(&r);
	return e;
}

static void
ask(struct rpc_reply *reply, const struct tx_chain *c, const char *method,
    const char *params)
{
	const struct rpc_request rq = {
		.url = c->url,
		.method = method,
		.params = params,
		.timeout_ms = c->timeout_ms,
		.max_reply = LIMIT_RPC_BLOCK,
	};

	rpc_all(reply, &rq, 1);
}

static enum err
failed(struct refusal *why, const char *method, const struct rpc_reply *r)
{
	enum reason code = REASON_CHAIN_UNREACHABLE;

	if (rpc_failed_in_evm(r))
		code = REASON_CONTRACT_OTHER;
	else if (r->err == ERR_DENIED || r->err == ERR_MALFORMED)
		code = REASON_CHAIN_ANSWER;
	return refuse(why, code, "%s: %s", method, r->message);
}

/* ask_quantity asks for one number. */
static enum err
ask_quantity(uint64_t *out, const struct tx_chain *c, const char *method,
    const char *params, struct refusal *why)
{
	struct rpc_reply r = { 0 };
	enum err e;

	ask(&r, c, method, params);
	if (r.err != ERR_OK)
		e = failed(why, method, &r);
	else if (rpc_quantity(out, r.result) != ERR_OK)
		e = refuse(
		    why, REASON_CHAIN_ANSWER, "%s: not a quantity", method);
	else
		e = ERR_OK;
	rpc_reply_fini(&r);
	return e;
}

static enum err
ask_base_fee(uint64_t *out, const struct tx_chain *c, struct refusal *why)
{
	static const char method[] = "eth_getBlockByNumber";
	struct rpc_reply r = { 0 };
	enum err e;

	ask(&r, c, method, "[\"latest\",false]");
	if (r.err != ERR_OK)
		e = failed(why, method, &r);
	else if (rpc_quantity(
		     out, json_object_get(r.result, "baseFeePerGas")) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "%s: no base fee", method);
	else
		e = ERR_OK;
	rpc_reply_fini(&r);
	return e;
}

static enum err
ask_gas(uint64_t *out, const struct tx *tx, const struct tx_chain *c,
    const uint8_t from[static 20], struct refusal *why)
{
	char from_hex[41], to_hex[41];
	char *data = malloc(2 * tx->data.len + 1);
	struct buf params = { 0 };
	enum err e;

	if (data == NULL)
		return ERR_NOMEM;
	hex_encode(data, tx->data.p, tx->data.len);
	hex_encode(from_hex, from, 20);
	hex_encode(to_hex, tx->to, 20);
	e = buf_printf(&params,
	    "[{\"from\":\"0x%s\",\"to\":\"0x%s\",\"value\":\"0x%llx\","
	    "\"data\":\"0x%s\"}]",
	    from_hex, to_hex, (unsigned long long)tx->value, data);
	if (e == ERR_OK)
		e = ask_quantity(
		    out, c, "eth_estimateGas", (char *)params.p, why);
	free(data);
	buf_fini(&params);
	return e;
}

enum err
tx_fill(struct tx *tx, const struct tx_chain *c, const uint8_t from[static 20],
    struct refusal *why)
{
	uint64_t chain, nonce, base, tip, gas;
	char from_hex[41], params[64];
	struct wr w = { .p = (uint8_t *)params, .cap = sizeof params - 1 };
	enum err e;

	if (tx->data.len > TX_DATA_MAX)
		return ERR_LIMIT;
	e = ask_quantity(&chain, c, "eth_chainId", "[]", why);
	if (e != ERR_OK)
		return e;
	if (chain != tx->chain_id)
		return refuse(why, REASON_CHAIN_WRONG, "chain id is %llu",
		    (unsigned long long)chain);
	wr_str(&w, "[\"0x");
	wr_str(&w, hex_encode(from_hex, from, 20));
	wr_str(&w, "\",\"pending\"]");
	params[w.len] = '\0';
	e = ask_quantity(&nonce, c, "eth_getTransactionCount", params, why);
	if (e == ERR_OK)
		e = ask_base_fee(&base, c, why);
	if (e == ERR_OK)
		e = ask_quantity(
		    &tip, c, "eth_maxPriorityFeePerGas", "[]", why);
	if (e == ERR_OK)
		e = ask_gas(&gas, tx, c, from, why);
	if (e != ERR_OK)
		return e;
	/* Twice the base fee lasts for six full blocks in a row. */
	if (base > c->max_fee_cap / 2 || tip > c->max_fee_cap - 2 * base)
		return refuse(why, REASON_CHAIN_ANSWER,
		    "fee of 2 * %llu + %llu wei is over the cap",
		    (unsigned long long)base, (unsigned long long)tip);
	if (gas > UINT32_MAX)
		return refuse(why, REASON_CHAIN_ANSWER, "gas estimate");
	tx->nonce = nonce;
	tx->max_priority_fee = tip;
	tx->max_fee = 2 * base + tip;
	/* The state may move between estimate and inclusion. */
	tx->gas_limit = gas + gas / 4;
	return ERR_OK;
}

enum err
tx_send(const struct tx_chain *c, struct bytes raw,
    const uint8_t hash[static 32], struct refusal *why)
{
	static const char method[] = "eth_sendRawTransaction";
	struct rpc_reply r = { 0 };
	struct buf params = { 0 };
	uint8_t got[32];
	char *hex;
	enum err e;

	if (raw.len > TX_MAX)
		return ERR_LIMIT;
	if ((hex = malloc(2 * raw.len + 1)) == NULL)
		return ERR_NOMEM;
	hex_encode(hex, raw.p, raw.len);
	if ((e = buf_printf(&params, "[\"0x%s\"]", hex)) != ERR_OK)
		goto done;
	ask(&r, c, method, (char *)params.p);
	if (r.err == ERR_DENIED && strcasestr(r.message, "already") != NULL)
		e = ERR_OK; /* "already known", "already imported" */
	else if (r.err != ERR_OK)
		e = failed(why, method, &r);
	else if (rpc_fixed(got, sizeof got, r.result) != ERR_OK ||
	    memcmp(got, hash, sizeof got) != 0)
		e = refuse(
		    why, REASON_CHAIN_ANSWER, "%s: another hash", method);
done:
	rpc_reply_fini(&r);
	buf_fini(&params);
	free(hex);
	return e;
}

static enum err
read_receipt(
    struct tx_receipt *out, const json_t *v, const uint8_t hash[static 32])
{
	struct tx_receipt tmp;
	uint8_t tx_hash[32];
	uint64_t status;

	if (rpc_fixed(tx_hash, 32, json_object_get(v, "transactionHash")) !=
		ERR_OK ||
	    memcmp(tx_hash, hash, sizeof tx_hash) != 0 ||
	    rpc_quantity(&status, json_object_get(v, "status")) != ERR_OK ||
	    status > 1 ||
	    rpc_quantity(&tmp.block_number,
		json_object_get(v, "blockNumber")) != ERR_OK ||
	    rpc_fixed(tmp.block_hash, 32, json_object_get(v, "blockHash")) !=
		ERR_OK ||
	    rpc_quantity(&tmp.gas_used, json_object_get(v, "gasUsed")) !=
		ERR_OK)
		return ERR_MALFORMED;
	tmp.success = status == 1;
	*out = tmp;
	return ERR_OK;
}

enum err
tx_wait(struct tx_receipt *out, const struct tx_chain *c,
    const uint8_t hash[static 32], uint64_t wait_ms)
{
	const uint64_t start = c->mono_ms();
	char hex[65], params[72] = "[\"0x";

	hex_encode(hex, hash, 32);
	memcpy(params + 4, hex, 64);
	memcpy(params + 68, "\"]", 3);
	for (;;) {
		struct rpc_reply r = { 0 };
		enum err e = ERR_NOTFOUND;

		/* A failed question is asked again: only time ends this. */
		ask(&r, c, "eth_getTransactionReceipt", params);
		if (r.err == ERR_OK && json_is_object(r.result))
			e = read_receipt(out, r.result, hash);
		rpc_reply_fini(&r);
		if (e == ERR_OK)
			return e;
		if (c->mono_ms() - start >= wait_ms)
			return ERR_TIMEOUT;
		c->pause_ms(RECEIPT_POLL_MS);
	}
}
