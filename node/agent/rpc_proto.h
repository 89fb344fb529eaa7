/* rpc_proto: the methods' fields as protobuf, beside JSON.
 *
 * dstack-compat.md 1.2: who does not ask for JSON sends a message and gets
 * one.  Methods know JSON alone; the messages are in common/wire/guest_v0
 * and guest_v1.proto, and which method has which is in a table here. */
#ifndef NODE_AGENT_RPC_PROTO_H
#define NODE_AGENT_RPC_PROTO_H

#include "node/agent/rpc.h"

/* rpc_proto_read makes fields for rpc_call out of a message.  The caller
 * owns `*fields` (json_wipe).  ERR_NOTFOUND: the method has no messages;
 * else as pbjson_read. */
enum err rpc_proto_read(json_t **fields, const struct rpc_service *service,
    const char *method, struct bytes body);

/* rpc_proto_write is a writer for rpc_reply. */
enum err rpc_proto_write(struct buf *out, const struct rpc_service *service,
    const char *method, const json_t *reply);

/* rpc_proto_known: whether every member of a method's reply (NULL: of a
 * refusal) has a field in its message: for tests.  `*missing` (borrowed from
 * `reply`) is the first that has none. */
bool rpc_proto_known(const struct rpc_service *service, const char *method,
    json_t *reply, const char **missing);

#endif
