#include <string.h>

#include "common/base/log.h"
#include "common/net/listen.h"

#include "node/agent/listeners.h"
#include "node/agent/pages.h"

static const struct {
	const char *name; /* systemd's FileDescriptorName= */
	enum surface surface;
	server_page *page;
} kinds[N_LISTENERS] = {
	[LISTENER_DSTACK] = { "dstack", SURFACE_GUEST, NULL },
	[LISTENER_TAPPD] = { "tappd", SURFACE_TAPPD, NULL },
	[LISTENER_EXTERNAL] = { "external", SURFACE_WORKER, pages_worker },
};

static int
kind_named(const char *name)
{
	for (int k = 0; k < N_LISTENERS; k++)
		if (strcmp(kinds[k].name, name) == 0)
			return k;
	return -1;
}

enum err
listeners_given(
    int at[static N_LISTENERS], const struct inherited *in, unsigned n)
{
	bool named = false;

	for (int k = 0; k < N_LISTENERS; k++)
		at[k] = -1;
	for (unsigned i = 0; i < n; i++)
		named = named || kind_named(in[i].name) >= 0;
	for (unsigned i = 0; i < n; i++) {
		int k = named ? kind_named(in[i].name) : (int)i;

		if (k < 0 || k >= N_LISTENERS || at[k] >= 0)
			return ERR_CONFIG;
		at[k] = (int)i;
	}
	return ERR_OK;
}

/* What the configuration says of a listener; false: it is off. */
static bool
configured(struct server_options *o, const struct agent_config *c, int k)
{
	switch (k) {
	case LISTENER_DSTACK:
		o->unix_path = c->socket;
		break;
	case LISTENER_TAPPD:
		o->unix_path = c->tappd_socket;
		break;
	default:
		o->host = c->external_host;
		o->port = c->external_port;
		return o->host[0] != '\0';
	}
	o->unix_mode = c->socket_mode;
	return o->unix_path[0] != '\0';
}

/* What gives keys is for who may open a file, and never on a port. */
static enum err
check_given(const int at[static N_LISTENERS], const struct inherited *in)
{
	for (int k = 0; k < N_LISTENERS; k++)
		if (at[k] >= 0 && kinds[k].surface != SURFACE_WORKER &&
		    !listen_is_unix(in[at[k]].fd))
			return ERR_CONFIG;
	return ERR_OK;
}

static void
say_listening(const struct server *s, int k, const struct server_options *o)
{
	const char *where = "systemd's";

	if (!o->has_fd)
		where = o->unix_path != NULL ? o->unix_path : o->host;
	log_event(LOG_INFO, "listening", log_str("api", kinds[k].name),
	    log_str("at", where), log_u64("port", server_port(s)));
}

enum err
listeners_start(struct listeners *out, const struct agent_backend *b,
    const struct agent_config *c, const struct inherited *in, unsigned n)
{
	int at[N_LISTENERS];
	enum err e = listeners_given(at, in, n);

	*out = (struct listeners){ 0 };
	if (e == ERR_OK)
		e = check_given(at, in);
	if (e != ERR_OK) {
		log_event(LOG_ERROR, "listen_failed",
		    log_str("error",
			"what systemd gave is not dstack, tappd, external, "
			"the first two with a path"));
		return e;
	}
	for (int k = 0; k < N_LISTENERS; k++) {
		struct server_options o = { .surface = kinds[k].surface,
			.page = kinds[k].page };

		if (at[k] >= 0) {
			o.has_fd = true;
			o.fd = in[at[k]].fd;
		} else if (!configured(&o, c, k)) {
			continue;
		}
		e = server_start(&out->server[k], b, &o);
		if (e != ERR_OK) {
			log_event(LOG_ERROR, "listen_failed",
			    log_str("api", kinds[k].name),
			    log_str("error", err_text(e)));
			listeners_stop(out);
			return e;
		}
		say_listening(out->server[k], k, &o);
	}
	return ERR_OK;
}

void
listeners_stop(struct listeners *l)
{
	for (int k = 0; k < N_LISTENERS; k++) {
		server_stop(l->server[k]);
		l->server[k] = NULL;
	}
}
