/* rpc_v1: what 0.6 added, and what of it is in older services, too:
 * dstack-compat.md 1.6. */
#ifndef NODE_AGENT_RPC_V1_H
#define NODE_AGENT_RPC_V1_H

#include "node/agent/rpc.h"

/* GpuInfo, which was in v0 for a while: there is no GPU that attests. */
enum err rpc_v1_gpu_info(struct rpc_call *c);

#endif
