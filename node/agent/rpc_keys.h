/* rpc_keys: GetKey, GetTlsKey, Sign and Verify: dstack-compat.md 1.3. */
#ifndef NODE_AGENT_RPC_KEYS_H
#define NODE_AGENT_RPC_KEYS_H

#include "node/agent/rpc.h"

enum err rpc_keys_get_key(struct rpc_call *c);
enum err rpc_keys_get_tls_key(struct rpc_call *c);
enum err rpc_keys_sign(struct rpc_call *c);
enum err rpc_keys_verify(struct rpc_call *c);

#endif
