#include <string.h>

#include "node/agent/surface.h"

#define GUEST "DstackGuest."
#define TAPPD "Tappd."
#define WORKER "Worker."

/* A method's name has no slash, so that no path fits two of these. */
static const struct mount {
	enum surface surface;
	const char *at; /* ends in "/" */
	const struct rpc_service *service;
	const char *prefix; /* of the method; may be left out */
} mounts[] = {
	{ SURFACE_GUEST, "/", &rpc_guest, GUEST },
	{ SURFACE_GUEST, "/v0/", &rpc_guest, GUEST },
	{ SURFACE_GUEST, "/v1/", &rpc_guest_v1, GUEST },
	{ SURFACE_GUEST, "/prpc/", &rpc_guest, GUEST },
	{ SURFACE_GUEST, "/prpc/v0/", &rpc_guest, GUEST },
	{ SURFACE_GUEST, "/prpc/v1/", &rpc_guest_v1, GUEST },
	{ SURFACE_TAPPD, "/prpc/", &rpc_tappd, TAPPD },
	/* The JS SDK's TappdClient asks here for Info and GetKey. */
	{ SURFACE_TAPPD, "/", &rpc_guest, GUEST },
	{ SURFACE_WORKER, "/prpc/", &rpc_worker, WORKER },
	{ SURFACE_WORKER, "/prpc/v0/", &rpc_worker, WORKER },
	{ SURFACE_WORKER, "/prpc/v1/", &rpc_worker_v1, WORKER },
	{ SURFACE_WORKER, "/v0/", &rpc_worker, WORKER },
	{ SURFACE_WORKER, "/v1/", &rpc_worker_v1, WORKER },
};

enum err
surface_route(const struct rpc_service **service, const char **method,
    enum surface surface, const char *path)
{
	for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
		const struct mount *m = &mounts[i];
		size_t len = strlen(m->at), prefix = strlen(m->prefix);
		const char *rest = path + len;

		if (m->surface != surface || strncmp(path, m->at, len) != 0 ||
		    rest[0] == '\0' || strchr(rest, '/') != NULL)
			continue;
		if (strncmp(rest, m->prefix, prefix) == 0)
			rest += prefix;
		*service = m->service;
		*method = rest;
		return ERR_OK;
	}
	return ERR_NOTFOUND;
}
