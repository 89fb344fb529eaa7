#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "common/net/fetch.h"

/* Error code of eth_call when the contract reverted with data
 * (EIP-1474's "execution error" as clients settled on it). */
#define CODE_REVERT 3

static uint64_t
next_id(void)
{
	static atomic_uint_fast64_t last;

	/* JSON numbers of jansson are signed 64-bit: far from reached. */
	return atomic_fetch_add(&last, 1) + 1;
}

static void
set_message(struct rpc_reply *r, const char *text)
{
	abi_text(r->message, sizeof r->message,
	    (struct bytes){ (const uint8_t *)text, strlen(text) });
}

static enum err
read_error(struct rpc_reply *r, const json_t *err)
{
	const json_t *code = json_object_get(err, "code");
	const json_t *msg = json_object_get(err, "message");

	if (!json_is_integer(code) || !json_is_string(msg))
		return ERR_MALFORMED;
	r->code = json_integer_value(code);
	set_message(r, json_string_value(msg));
	return ERR_DENIED;
}

/* JSON-RPC 2.0, section 5: "Either the result member or error member MUST
 * be included, but both members MUST NOT be included." */
static enum err
read_response(struct rpc_reply *r, uint64_t want_id, const json_t *v)
{
	const char *version;
	uint64_t id;
	json_t *result = json_object_get(v, "result");
	json_t *err = json_object_get(v, "error");

	if (json_get_str(&version, v, "jsonrpc") != ERR_OK ||
	    strcmp(version, "2.0") != 0)
		return ERR_MALFORMED;
	if (json_get_u64(&id, v, "id") != ERR_OK || id != want_id)
		return ERR_MALFORMED;
	if ((result == NULL) == (err == NULL))
		return ERR_MALFORMED;
	if (err != NULL)
		return read_error(r, err);
	r->result = json_incref(result);
	return ERR_OK;
}

void
rpc_parse(struct rpc_reply *r, uint64_t id, struct bytes body)
{
	json_t *v = NULL;

	*r = (struct rpc_reply){ 0 };
	r->err = json_parse(&v, body.p, body.len, body.len, NULL, 0);
	if (r->err == ERR_OK)
		r->err = read_response(r, id, v);
	if (r->err == ERR_MALFORMED)
		set_message(r, "not a JSON-RPC answer to this request");
	json_decref(v);
}

static void
read_reply(struct rpc_reply *r, uint64_t id, const struct fetch_reply *f)
{
	struct buf text = { 0 };

	if (f->err == ERR_OK && f->status == 200) {
		rpc_parse(r, id, buf_view(&f->body));
		return;
	}
	*r = (struct rpc_reply){ .err = f->err };
	if (f->err == ERR_OK) {
		r->err = ERR_IO;
		if (buf_printf(&text, "HTTP status %ld", f->status) == ERR_OK)
			set_message(r, (char *)text.p);
	} else {
		set_message(r, err_text(f->err));
	}
	buf_fini(&text);
}

void
rpc_all(struct rpc_reply *reply, const struct rpc_request *rq, size_t n)
{
	struct fetch_request get[LIMIT_RPC_PARALLEL] = { 0 };
	struct fetch_reply got[LIMIT_RPC_PARALLEL] = { 0 };
	struct buf body[LIMIT_RPC_PARALLEL] = { 0 };
	uint64_t id[LIMIT_RPC_PARALLEL];
	enum err e = ERR_OK;

	assert(n >= 1 && n <= LIMIT_RPC_PARALLEL);
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		id[i] = next_id();
		e = buf_printf(&body[i],
		    "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64
		    ",\"method\":\"%s\",\"params\":%s}",
		    id[i], rq[i].method, rq[i].params);
		get[i] = (struct fetch_request){
			.url = rq[i].url,
			.post = buf_view(&body[i]),
			.content_type = "application/json",
			.timeout_ms = rq[i].timeout_ms,
			.max_reply = rq[i].max_reply,
		};
	}
	if (e == ERR_OK)
		fetch_all(got, get, n);
	for (size_t i = 0; i < n; i++) {
		if (e == ERR_OK)
			read_reply(&reply[i], id[i], &got[i]);
		else
			reply[i] = (struct rpc_reply){ .err = e };
		fetch_reply_fini(&got[i]);
		buf_fini(&body[i]);
	}
}

void
rpc_reply_fini(struct rpc_reply *r)
{
	json_decref(r->result);
	*r = (struct rpc_reply){ 0 };
}

bool
rpc_failed_in_evm(const struct rpc_reply *r)
{
	/* Clients agree on the code of a revert with data only; the rest is
	 * known by the words of geth, reth, erigon, nethermind and besu. */
	static const char *const words[] = { "revert", "out of gas", "outofgas",
		"invalid opcode", "opcode not found", "invalidfeopcode",
		"invalid jump", "stack underflow", "stack overflow",
		"stack limit", "vm execution error", "evm error",
		"bad instruction" };

	if (r->err != ERR_DENIED)
		return false;
	if (r->code == CODE_REVERT)
		return true;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcasestr(r->message, words[i]) != NULL)
			return true;
	return false;
}

/* The digits behind "0x" of a string without NUL inside, or NULL. */
static const char *
hex_digits(const json_t *v, size_t *len)
{
	const char *s = json_string_value(v);

	if (s == NULL || s[0] != '0' || s[1] != 'x')
		return NULL;
	*len = json_string_length(v) - 2;
	return s + 2;
}

enum err
rpc_quantity(uint64_t *out, const json_t *v)
{
	size_t len, got;
	const char *s = hex_digits(v, &len);
	char text[17] = "0000000000000000";
	uint8_t b[8];
	uint64_t x = 0;

	if (s == NULL || len == 0 || (len > 1 && s[0] == '0'))
		return ERR_MALFORMED;
	if (len > 16)
		return ERR_LIMIT;
	memcpy(text + 16 - len, s, len);
	if (hex_decode(b, sizeof b, &got, text, 16) != ERR_OK)
		return ERR_MALFORMED;
	for (size_t i = 0; i < sizeof b; i++)
		x = x << 8 | b[i];
	*out = x;
	return ERR_OK;
}

enum err
rpc_quantity256(uint8_t out[static 32], const json_t *v)
{
	size_t len, got;
	const char *s = hex_digits(v, &len);
	char text[64];

	if (s == NULL || len == 0 || (len > 1 && s[0] == '0'))
		return ERR_MALFORMED;
	if (len > sizeof text)
		return ERR_LIMIT;
	memset(text, '0', sizeof text);
	memcpy(text + sizeof text - len, s, len);
	return hex_decode(out, 32, &got, text, sizeof text);
}

enum err
rpc_fixed(uint8_t *out, size_t len, const json_t *v)
{
	size_t n, got;
	const char *s = hex_digits(v, &n);

	if (s == NULL || n != 2 * len)
		return ERR_MALFORMED;
	return hex_decode(out, len, &got, s, n);
}

enum err
rpc_data(struct buf *out, size_t max, const json_t *v)
{
	size_t n, got;
	const char *s = hex_digits(v, &n);
	enum err e;

	if (s == NULL)
		return ERR_MALFORMED;
	if (n / 2 > max)
		return ERR_LIMIT;
	out->len = 0;
	if ((e = buf_reserve(out, n / 2)) != ERR_OK)
		return e;
	if ((e = hex_decode(out->p, n / 2, &got, s, n)) == ERR_OK)
		out->len = got;
	out->p[out->len] = 0;
	return e;
}
