#include <stdio.h>
#include <stdlib.h>

#include "common/attest/evidence.h"
#include "common/base/file.h"
#include "node/agent/boot.h"
#include "node/agent/kms_link.h"
#include "node/tee/tee.h"
#include "tests/lib/app_cvm.h"

static enum err
path(char out[static CONFIG_PATH_MAX], const char *dir, const char *a,
    const char *b, const char *c)
{
	int n = snprintf(out, CONFIG_PATH_MAX, "%s/%s/%s/%s", dir, a, b, c);

	return n > 0 && n < CONFIG_PATH_MAX ? ERR_OK : ERR_LIMIT;
}

static enum err
read_config(struct app_cvm *v, const char *dir, const char *app,
    const char *name, struct refusal *why)
{
	char file[CONFIG_PATH_MAX], text[CONFIG_WHY_MAX];
	struct agent_config *c = &v->config;
	enum err e = path(file, dir, "apps", app, "agent.yaml");

	if (e == ERR_OK && (e = config_load(c, file, text)) != ERR_OK)
		(void)refuse(why, REASON_INTERNAL, "%s: %s", file, text);
	if (e == ERR_OK)
		e = path(c->run_dir, dir, name, app, "run");
	if (e == ERR_OK)
		e = path(c->state_dir, dir, name, app, "state");
	if (e == ERR_OK)
		e = file_mkdirs(c->run_dir);
	if (e == ERR_OK)
		e = file_mkdirs(c->state_dir);
	return e;
}

static enum err
open_verifier(struct app_cvm *v)
{
	struct verifier_options o = { .pccs_url = v->config.pccs_url };
	struct buf root = { 0 };
	enum err e;

	attest_policy_default(&o.policy);
	o.policy.allow_simulated = true;
	e = file_read(&root, v->config.simulated_root, LIMIT_COLLATERAL);
	if (e == ERR_OK) {
		o.simulated_root = buf_view(&root);
		e = verifier_new(&v->verifier, &o);
	}
	buf_fini(&root);
	return e;
}

static enum err
register_log(void *cookie, struct buf *out)
{
	return tee_event_log(cookie, out);
}

static enum err
register_extend(void *cookie, const char *name, struct bytes payload)
{
	return tee_extend(cookie, name, payload);
}

static enum err
boot(struct app_cvm *v, struct refusal *why)
{
	const struct agent_config *c = &v->config;
	const struct tee_options o = { .simulated = true,
		.sim_host = c->sim_host,
		.sim_image = c->sim_image,
		.run_dir = c->run_dir };
	struct boot_register reg = { .log = register_log,
		.extend = register_extend };
	struct boot_plan plan;
	enum err e;

	if ((e = identity_load(&v->identity, c->compose_file, c->state_dir,
		 c->has_app_id ? c->app_id : NULL, why)) != ERR_OK ||
	    (e = open_verifier(v)) != ERR_OK ||
	    (e = tee_boot(&v->tee, &o, why)) != ERR_OK)
		return e;
	reg.cookie = v->tee;
	boot_plan_identity(&plan, &v->identity);
	return boot_run(&reg, &plan, why);
}

enum err
app_cvm_boot(struct app_cvm **out, const char *dir, const char *app,
    const char *name, struct refusal *why)
{
	struct app_cvm *v = calloc(1, sizeof *v);
	enum err e;

	if (v == NULL)
		return ERR_NOMEM;
	if ((e = read_config(v, dir, app, name, why)) != ERR_OK ||
	    (e = boot(v, why)) != ERR_OK ||
	    (e = kms_link_new(&v->link, v->tee, v->verifier, &v->config)) !=
		ERR_OK) {
		app_cvm_free(v);
		return e;
	}
	v->transport = kms_link_transport(v->link);
	*out = v;
	return ERR_OK;
}

void
app_cvm_free(struct app_cvm *v)
{
	if (v == NULL)
		return;
	kms_link_free(v->link);
	verifier_free(v->verifier);
	tee_close(v->tee);
	identity_fini(&v->identity);
	free(v);
}
