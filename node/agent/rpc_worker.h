/* rpc_worker: the public listener's own methods: dstack-compat.md 1.5, 1.6. */
#ifndef NODE_AGENT_RPC_WORKER_H
#define NODE_AGENT_RPC_WORKER_H

#include <stddef.h>
#include <stdint.h>

#include "node/agent/appkeys.h"

/* rpc_worker_dip1 writes the report data that names a public key: "dip1::",
 * its kind, base64url without padding, zeros behind. */
void rpc_worker_dip1(uint8_t out[static 64], const struct appkey *key);

#endif
