/* dstack-compat.md 1.6. */
#include "node/agent/rpc.h"

static const struct rpc_method methods[] = {
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_guest_v1 = { "DstackGuest", methods,
	sizeof methods / sizeof methods[0] };
