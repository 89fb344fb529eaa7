/* rpc: Ethereum JSON-RPC 2.0 requests, several at once.
 *
 * Blocking, over common/net/fetch.h.  An answer counts only if it is what
 * was asked for: HTTP 200, "jsonrpc":"2.0", our id, and exactly one of
 * result and error.  Everything is bounded in bytes and in time. */
#ifndef COMMON_ETH_RPC_H
#define COMMON_ETH_RPC_H

#include "common/base/json.h"

struct rpc_request {
	const char *url; /* borrowed for the call, as the two below */
	const char *method;
	const char *params; /* JSON text of an array */
	unsigned timeout_ms;
	size_t max_reply; /* bytes of HTTP body */
};

struct rpc_reply {
	/* ERR_OK         `result` is the answer (it may be JSON null)
	 * ERR_DENIED     the endpoint answered with an error: code, message
	 * ERR_TIMEOUT, ERR_IO (connection, or HTTP status other than 200),
	 * ERR_LIMIT (body over max_reply), ERR_MALFORMED, ERR_NOMEM */
	enum err err;
	json_t *result; /* owns; NULL unless ERR_OK */
	int64_t code;
	char message[200]; /* printable ASCII */
};

/* rpc_all sends `n` requests in parallel (at most LIMIT_RPC_PARALLEL) and
 * fills reply[0..n), each of which the caller rpc_reply_fini()s. */
void rpc_all(struct rpc_reply *reply, const struct rpc_request *rq, size_t n);
void rpc_reply_fini(struct rpc_reply *r);

/* rpc_parse reads one HTTP body as the answer to request `id`. */
void rpc_parse(struct rpc_reply *reply, uint64_t id, struct bytes body);

/* rpc_failed_in_evm: true when an error says that the contract, not the
 * endpoint, failed: a revert, an exhausted gas limit, a bad instruction. */
bool rpc_failed_in_evm(const struct rpc_reply *r);

/* Values as the Ethereum JSON-RPC specification encodes them: quantities
 * without leading zeros, data with two digits per byte.
 * ERR_MALFORMED for everything else, ERR_LIMIT for more than fits. */
enum err rpc_quantity(uint64_t *out, const json_t *v);
/* As a big-endian word.  `out` of these two may be written on failure. */
enum err rpc_quantity256(uint8_t out[static 32], const json_t *v);
enum err rpc_fixed(uint8_t *out, size_t len, const json_t *v);
enum err rpc_data(struct buf *out, size_t max, const json_t *v);

#endif
