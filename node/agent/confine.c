#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "node/agent/confine.h"
#include "node/harden/harden.h"
#include "node/tee/tee.h"

/* Some two thousand clients at once; systemd's soft limit is 1024.  With
 * less, those beyond wait. */
#define WANTED_FILES 16384

/* The folder of a path: that of sockets that are made later, and of files
 * that may come. */
static const char *
folder(char out[static CONFIG_PATH_MAX], const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		(void)snprintf(
		    out, CONFIG_PATH_MAX, "%s", path[0] != '\0' ? "." : "");
	else
		(void)snprintf(out, CONFIG_PATH_MAX, "%.*s",
		    slash == path ? 1 : (int)(slash - path), path);
	return out;
}

enum err
agent_confine(const struct agent_config *c, unsigned n)
{
	char env[CONFIG_PATH_MAX], dstack[CONFIG_PATH_MAX];
	char tappd[CONFIG_PATH_MAX], why[HARDEN_WHY_MAX] = "seccomp";
	/* With sockets of systemd none is made here. */
	const bool makes = n == 0;
	const struct harden_options o = { .cfg = &c->process,
		.keep = n,
		.descriptors = WANTED_FILES,
		.files = { { c->state_dir, HARDEN_WRITE, true },
		    { c->run_dir, HARDEN_WRITE, true },
		    { c->env_dir, HARDEN_WRITE, true },
		    { c->compose_file, HARDEN_READ, false },
		    { c->encrypted_env[0] != '\0'
			    ? c->encrypted_env
			    : folder(env, c->compose_file),
			HARDEN_READ, false },
		    { c->logs_dir, HARDEN_READ, false },
		    { makes ? folder(dstack, c->socket) : "", HARDEN_WRITE,
			false },
		    { makes ? folder(tappd, c->tappd_socket) : "", HARDEN_WRITE,
			false },
		    { c->sim_host, HARDEN_READ, false },
		    { c->sim_image, HARDEN_READ, false },
		    { c->simulated_root, HARDEN_READ, false },
		    { c->simulated ? "" : TEE_TDX_REPORTS, HARDEN_WRITE,
			false },
		    { c->simulated ? "" : TEE_TDX_RTMRS, HARDEN_WRITE,
			false } },
		.n_files = 13 };
	enum err e = harden_process(&o, why);

	if (e == ERR_OK)
		e = harden_filter(HARDEN_WORKER, c->process.filter);
	if (e != ERR_OK)
		log_event(LOG_ERROR, "harden_failed", log_str("what", why),
		    log_str("error", err_text(e)));
	return e;
}
