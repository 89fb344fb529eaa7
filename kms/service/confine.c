#include "kms/service/confine.h"
#include "node/tee/tee.h"

enum err
kmsd_confine(struct keeper_life *life, const struct kmsd_config *c)
{
	const struct harden_options o = { .cfg = &c->process,
		.files = { { c->data_dir, HARDEN_WRITE, true },
		    { c->sim_host, HARDEN_READ, false },
		    { c->sim_image, HARDEN_READ, false },
		    { c->app_compose, HARDEN_READ, false },
		    { c->simulated_root, HARDEN_READ, false },
		    { c->simulated ? "" : TEE_TDX_REPORTS, HARDEN_WRITE,
			false },
		    { c->simulated ? "" : TEE_TDX_RTMRS, HARDEN_WRITE,
			false } },
		.n_files = 7 };
	char why[HARDEN_WHY_MAX] = "seccomp";
	enum err e = harden_process(&o, why);

	if (e == ERR_OK)
		e = keeper_run(life, c->process.filter);
	if (e == ERR_OK)
		e = harden_filter(HARDEN_WORKER, c->process.filter);
	if (e != ERR_OK)
		log_event(LOG_ERROR, "harden_failed", log_str("what", why),
		    log_str("error", err_text(e)));
	return e;
}
