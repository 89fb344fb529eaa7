/* rpc_counter: CounterGet and CounterIncrement, which dstack does not have.
 *
 *   CounterGet        name
 *   CounterIncrement  name, expected, operation (optional, hex of 16 bytes)
 *   reply             {"name", "value", "generation", "index"}
 *   mismatch          {"error", "value"}, and "uncertain": true if an earlier
 *                     try of this very call may have had its effect
 *
 * Numbers are JSON integers; a counter moves by one, so none gets near 2^53.
 * Who repeats a call whose answer was lost names the operation: the same one
 * has one effect. */
#ifndef NODE_AGENT_RPC_COUNTER_H
#define NODE_AGENT_RPC_COUNTER_H

#include "node/agent/rpc.h"

enum err rpc_counter_get(struct rpc_call *c);
enum err rpc_counter_increment(struct rpc_call *c);

#endif
