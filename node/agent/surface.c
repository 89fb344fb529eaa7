#include <string.h>

#include "node/agent/surface.h"

static const struct mount {
	enum surface surface;
	const char *at; /* ends in "/" */
	const struct rpc_service *service;
} mounts[] = {
	{ SURFACE_GUEST, "/", &rpc_guest },
	{ SURFACE_GUEST, "/v0/", &rpc_guest },
	{ SURFACE_GUEST, "/v1/", &rpc_guest_v1 },
	{ SURFACE_TAPPD, "/prpc/", &rpc_tappd },
	{ SURFACE_WORKER, "/prpc/", &rpc_worker },
	{ SURFACE_WORKER, "/prpc/v1/", &rpc_worker_v1 },
};

enum err
surface_route(const struct rpc_service **service, const char **method,
    enum surface surface, const char *path)
{
	for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
		const struct mount *m = &mounts[i];
		size_t len = strlen(m->at);
		const char *rest = path + len;

		if (m->surface != surface || strncmp(path, m->at, len) != 0 ||
		    rest[0] == '\0' || strchr(rest, '/') != NULL)
			continue;
		*service = m->service;
		*method = rest;
		return ERR_OK;
	}
	return ERR_NOTFOUND;
}
