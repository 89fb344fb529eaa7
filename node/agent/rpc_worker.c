/* dstack-compat.md 1.5. */
#include "node/agent/rpc.h"

static const struct rpc_method methods[] = {
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_worker = { "Worker", methods,
	sizeof methods / sizeof methods[0] };

static const struct rpc_method methods_v1[] = {
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_worker_v1 = { "Worker", methods_v1,
	sizeof methods_v1 / sizeof methods_v1[0] };
