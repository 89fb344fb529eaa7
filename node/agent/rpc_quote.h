/* rpc_quote: GetQuote, Attest, EmitEvent and Info: dstack-compat.md 1.3. */
#ifndef NODE_AGENT_RPC_QUOTE_H
#define NODE_AGENT_RPC_QUOTE_H

#include "node/agent/rpc.h"

enum err rpc_quote_get_quote(struct rpc_call *c);
enum err rpc_quote_attest(struct rpc_call *c);
enum err rpc_quote_emit_event(struct rpc_call *c);
enum err rpc_quote_info(struct rpc_call *c);

#endif
