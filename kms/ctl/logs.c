#include <inttypes.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/eth/rpc.h"
#include "kms/ctl/logs.h"

#define TIMEOUT_MS 10000
#define BLOCKS 10000u /* asked for at a time */

struct query {
	const struct contract *k;
	const uint8_t *address;
	const char *topics;
	enum err (*f)(void *cookie, const json_t *log);
	void *cookie;
};

/* ERR_LIMIT: more than an endpoint tells at once. */
static enum err
ask(struct rpc_reply *r, const struct query *q, uint64_t from, uint64_t to,
    struct refusal *why)
{
	struct rpc_request rq = { .url = q->k->rpc,
		.method = "eth_getLogs",
		.timeout_ms = TIMEOUT_MS,
		.max_reply = LIMIT_RPC_REPLY };
	struct buf params = { 0 };
	char hex[41];
	enum err e = buf_printf(&params,
	    "[{\"address\":\"0x%s\",\"fromBlock\":\"0x%" PRIx64
	    "\",\"toBlock\":\"0x%" PRIx64 "\",\"topics\":%s}]",
	    hex_encode(hex, q->address, 20), from, to, q->topics);

	if (e == ERR_OK) {
		rq.params = (char *)params.p;
		rpc_all(r, &rq, 1);
		if (r->err == ERR_LIMIT || (r->err == ERR_DENIED && to > from))
			e = ERR_LIMIT;
		else if (r->err != ERR_OK || !json_is_array(r->result))
			e = refuse(why, REASON_CHAIN_UNREACHABLE,
			    "%s: eth_getLogs %s", q->k->rpc,
			    r->message[0] != '\0' ? r->message
						  : err_text(r->err));
	}
	buf_fini(&params);
	return e;
}

static enum err
stretch(const struct query *q, uint64_t from, uint64_t to, struct refusal *why)
{
	struct rpc_reply r = { 0 };
	const json_t *log;
	size_t i;
	enum err e = ask(&r, q, from, to, why);

	if (e != ERR_OK)
		goto done;
	json_array_foreach(r.result, i, log)
	{
		if ((e = q->f(q->cookie, log)) == ERR_OK)
			continue;
		if (e != ERR_NOMEM)
			e = refuse(
			    why, REASON_CHAIN_ANSWER, "an event is malformed");
		break;
	}
done:
	rpc_reply_fini(&r);
	return e;
}

enum err
logs_each(const struct contract *k, const uint8_t address[static 20],
    const char *topics, uint64_t from, uint64_t last,
    enum err (*f)(void *cookie, const json_t *log), void *cookie,
    struct refusal *why)
{
	const struct query q = { k, address, topics, f, cookie };
	uint64_t step = BLOCKS;

	while (from <= last) {
		uint64_t to = last - from < step ? last : from + step - 1;
		enum err e = stretch(&q, from, to, why);

		/* Smaller ones, if the endpoint asks for that. */
		if (e == ERR_LIMIT && step > 1) {
			step /= 2;
			continue;
		}
		if (e == ERR_LIMIT)
			return refuse(why, REASON_CHAIN_ANSWER,
			    "eth_getLogs: block %" PRIu64 " is too much", from);
		if (e != ERR_OK)
			return e;
		from = to + 1;
	}
	return ERR_OK;
}
