#include <sys/un.h>

#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"

#include "node/agent/fixture.h"
#include "node/agent/fixture_serve.h"
#include "node/agent/pages.h"
#include "node/agent/rpc.h"
#include "node/agent/server.h"
#include "node/agent/stop.h"

#define SOCKET_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)
#define SOCKET_MODE 0666 /* there is nothing to protect */

/* guest.sock, the host's own interface, has no use without a host. */
static const struct {
	const char *name;
	enum surface surface;
	server_page *page;
} sockets[] = {
	{ "dstack.sock", SURFACE_GUEST, NULL },
	{ "tappd.sock", SURFACE_TAPPD, NULL },
	{ "external.sock", SURFACE_WORKER, pages_worker },
};
#define N_SOCKETS (sizeof sockets / sizeof sockets[0])

static enum err
listen_all(struct server *server[static N_SOCKETS],
    const struct agent_backend *b, const char *dir)
{
	for (size_t i = 0; i < N_SOCKETS; i++) {
		char path[1024];
		enum err e = file_join(path, sizeof path, dir, sockets[i].name);

		if (e != ERR_OK || strlen(path) > SOCKET_PATH_MAX) {
			log_event(LOG_ERROR, "listen_failed",
			    log_str("socket", sockets[i].name),
			    log_str("error",
				"the folder's path is too long for a socket: "
				"give a shorter one with --socket-dir"),
			    log_u64("bytes",
				strlen(dir) + 1 + strlen(sockets[i].name)),
			    log_u64("at_most", SOCKET_PATH_MAX));
			return ERR_CONFIG;
		}
		e = server_start(&server[i], b,
		    &(struct server_options){ .surface = sockets[i].surface,
			.page = sockets[i].page,
			.unix_path = path,
			.unix_mode = SOCKET_MODE });
		if (e != ERR_OK) {
			log_event(LOG_ERROR, "listen_failed",
			    log_str("socket", path),
			    log_str("error",
				e == ERR_EXISTS ? "another agent answers there"
						: err_text(e)));
			return e;
		}
	}
	return ERR_OK;
}

enum err
fixture_serve(const char *dir, const char *socket_dir)
{
	struct server *server[N_SOCKETS] = { NULL };
	struct refusal why = { .code = REASON_NONE };
	struct agent_backend backend;
	struct fixture *f = NULL;
	uint8_t root[20];
	enum err e;

	log_event(LOG_WARN, "simulated",
	    log_str("what",
		"a fixture: its keys are in its files, nothing is attested"),
	    log_str("folder", dir));
	if ((e = fixture_load(&f, dir, &why)) != ERR_OK) {
		log_event(LOG_ERROR, "fixture_refused",
		    log_str("error", err_text(e)), log_why(&why));
		goto done;
	}
	backend = fixture_backend(f);
	if ((e = listen_all(server, &backend, socket_dir)) != ERR_OK)
		goto done;
	fixture_root(root, f);
	log_event(LOG_INFO, "ready", log_str("sockets", socket_dir),
	    log_hex("app_id", backend.identity->app_id, 20),
	    log_hex("root", root, 20));
	while (!stop_wait(0))
		;
done:
	for (size_t i = 0; i < N_SOCKETS; i++)
		server_stop(server[i]);
	fixture_free(f);
	log_event(LOG_INFO, "ended", log_str("result", err_text(e)));
	return e;
}
