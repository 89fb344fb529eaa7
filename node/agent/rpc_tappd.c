/* dstack-compat.md 1.4. */
#include "node/agent/rpc.h"
#include "node/agent/rpc_quote.h"

static const struct rpc_method methods[] = {
	{ "Info", rpc_quote_info, false },
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_tappd = { "Tappd", methods,
	sizeof methods / sizeof methods[0] };
