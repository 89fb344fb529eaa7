/* rpc_info: Info of every service: dstack-compat.md 1.3 to 1.6. */
#ifndef NODE_AGENT_RPC_INFO_H
#define NODE_AGENT_RPC_INFO_H

#include "node/agent/rpc.h"

enum err rpc_info(struct rpc_call *c);
enum err rpc_info_v1(struct rpc_call *c);
/* On the public listener: without documents, if app-compose says so. */
enum err rpc_info_worker(struct rpc_call *c);
enum err rpc_info_worker_v1(struct rpc_call *c);

#endif
