/* rpc_replica: GetReplicaKey, which dstack does not have: keys that no other
 * replica of the app can compute (README.md, "Keys of one replica"). */
#ifndef NODE_AGENT_RPC_REPLICA_H
#define NODE_AGENT_RPC_REPLICA_H

#include "node/agent/rpc.h"

enum err rpc_replica_get_key(struct rpc_call *c);

#endif
