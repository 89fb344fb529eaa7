#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/wire/msg.h"
#include "kms/ctl/lab_app.h"
#include "kms/ctl/lab_probe.h"
#include "node/agent/boot.h"
#include "node/agent/kms_link.h"

#define WITNESS "witness"
#define BOOT_DEADLINE_S 60
#define ROOT_MAX 4096

struct session {
	uint16_t port;
	void *conn; /* NULL: none */
};

struct probe {
	struct agent_config config;
	struct app_identity identity; /* owns, as all below */
	struct verifier *verifier;
	struct tee *tee;
	struct kms_link *link;
	struct kms_transport transport;
	struct session session[LAB_NODES_MAX * 2];
	unsigned n_sessions;
	char run_dir[LAB_PATH_MAX];
};

/* ---- an app's boot, up to the keys ---- */

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
open_verifier(struct probe *p)
{
	struct verifier_options o = { .pccs_url = p->config.pccs_url };
	struct buf root = { 0 };
	enum err e = file_read(&root, p->config.simulated_root, ROOT_MAX);

	attest_policy_default(&o.policy);
	o.policy.allow_simulated = true;
	o.simulated_root = buf_view(&root);
	if (e == ERR_OK)
		e = verifier_new(&p->verifier, &o);
	buf_fini(&root);
	return e;
}

static enum err
boot(struct probe *p, struct refusal *why)
{
	const struct agent_config *c = &p->config;
	const struct tee_options o = { .simulated = true,
		.sim_host = c->sim_host,
		.sim_image = c->sim_image,
		.run_dir = p->run_dir,
		.sim_compose_hash = p->identity.compose_hash };
	struct boot_register reg = { .log = register_log,
		.extend = register_extend };
	struct boot_plan plan;
	enum err e;

	if ((e = file_mkdirs(p->run_dir)) != ERR_OK ||
	    (e = identity_load(&p->identity, c->compose_file, c->state_dir,
		 c->app_id, why)) != ERR_OK ||
	    (e = open_verifier(p)) != ERR_OK ||
	    (e = tee_boot(&p->tee, &o, why)) != ERR_OK)
		return e;
	reg.cookie = p->tee;
	boot_plan_identity(&plan, &p->identity);
	if ((e = boot_run(&reg, &plan, why)) != ERR_OK ||
	    (e = kms_link_new(&p->link, p->tee, p->verifier, c)) != ERR_OK)
		return e;
	p->transport = kms_link_transport(p->link);
	return ERR_OK;
}

static enum ctl_exit
make_witness(const struct ctl *c, struct lab *l)
{
	const struct lab_app_wishes w = { .name = WITNESS,
		.host = "app0",
		.image = "app",
		.registered = true,
		.boot_deadline_s = BOOT_DEADLINE_S };
	struct lab_app *made;

	return lab_find_app(l, WITNESS) != NULL ? CTL_OK
						: lab_app_make(&made, c, l, &w);
}

enum ctl_exit
probe_open(struct probe **out, const struct ctl *c, struct lab *l)
{
	char path[LAB_PATH_MAX], bad[CONFIG_WHY_MAX];
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = make_witness(c, l);
	struct probe *p;
	enum err e;

	if (rc != CTL_OK)
		return rc;
	if ((p = calloc(1, sizeof *p)) == NULL)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	lab_path(path, l, "apps/" WITNESS "/agent.yaml");
	/* Several may ask at once: each has a TD of its own. */
	lab_path(p->run_dir, l, "apps/" WITNESS "/run/%d", (int)getpid());
	if (config_load(&p->config, path, bad) != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "%s: %s", path, bad);
	} else if ((e = boot(p, &why)) != ERR_OK) {
		rc = ctl_denied(c, "the witness app", e, &why);
	} else {
		*out = p;
		return CTL_OK;
	}
	probe_close(p);
	return rc;
}

static void
hang_up(struct probe *p, struct session *s)
{
	if (s->conn != NULL)
		p->transport.close(p->transport.cookie, s->conn);
	s->conn = NULL;
}

void
probe_close(struct probe *p)
{
	char path[LAB_PATH_MAX + 16];

	if (p == NULL)
		return;
	for (unsigned i = 0; i < p->n_sessions; i++)
		hang_up(p, &p->session[i]);
	kms_link_free(p->link);
	verifier_free(p->verifier);
	tee_close(p->tee);
	identity_fini(&p->identity);
	(void)snprintf(path, sizeof path, "%s/rtmr3.json", p->run_dir);
	(void)unlink(path);
	(void)rmdir(p->run_dir);
	free(p);
}

/* ---- questions ---- */

static enum err
pack(struct buf *out, enum probe_what what, uint64_t expected)
{
	Devproof__Kms__V1__CounterIncrement inc;
	Devproof__Kms__V1__CounterGet get;
	Devproof__Kms__V1__GetAppKeys keys;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	char name[] = PROBE_COUNTER;
	uint8_t operation[16];

	m.id = 1;
	switch (what) {
	case PROBE_KEYS:
		devproof__kms__v1__get_app_keys__init(&keys);
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
		m.get_app_keys = &keys;
		break;
	case PROBE_READ:
		devproof__kms__v1__counter_get__init(&get);
		get.name = name;
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
		m.counter_get = &get;
		break;
	case PROBE_INCREMENT:
		devproof__kms__v1__counter_increment__init(&inc);
		secret_random(operation, sizeof operation);
		inc.name = name;
		inc.expected = expected;
		inc.operation = msg_bytes(operation, sizeof operation);
		m.body_case =
		    DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
		m.counter_increment = &inc;
		break;
	}
	return msg_request_pack(out, &m);
}

static void
read_reply(struct probe_answer *a, struct bytes in, enum probe_what what)
{
	KmsReply *m = NULL;

	if (msg_reply_parse(&m, in) != ERR_OK) {
		a->err = refuse(&a->why, REASON_REQUEST, "does not parse");
		return;
	}
	a->err = msg_reply_refusal(m, &a->why);
	if (a->err == ERR_OK && what == PROBE_KEYS &&
	    m->body_case == DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS) {
		a->epoch = m->app_keys->epoch;
	} else if (a->err == ERR_OK && what != PROBE_KEYS &&
	    m->body_case == DEVPROOF__KMS__V1__REPLY__BODY_COUNTER) {
		a->value = m->counter->value;
		a->matched = m->counter->matched;
		a->generation = m->counter->generation;
		a->index = m->counter->index;
	} else if (a->err == ERR_OK) {
		a->err = refuse(&a->why, REASON_REQUEST, "another reply");
	}
	msg_reply_free(m);
}

static struct session *
find_session(struct probe *p, uint16_t port)
{
	struct session *s = NULL;

	for (unsigned i = 0; i < p->n_sessions; i++)
		if (p->session[i].port == port)
			return &p->session[i];
	if (p->n_sessions < sizeof p->session / sizeof p->session[0]) {
		s = &p->session[p->n_sessions++];
	} else {
		s = &p->session[0];
		hang_up(p, s);
	}
	*s = (struct session){ .port = port };
	return s;
}

void
probe_ask(struct probe *p, struct probe_answer *out, uint16_t port,
    enum probe_what what, uint64_t expected, unsigned timeout_ms)
{
	struct session *s = find_session(p, port);
	struct probe_answer a = { .err = ERR_NOMEM };
	struct buf request = { 0 }, reply = { 0 };
	bool kept = s->conn != NULL, again = true;
	char url[64];

	(void)snprintf(url, sizeof url, "tcp://127.0.0.1:%u", port);
	if (pack(&request, what, expected) != ERR_OK)
		again = false;
	while (again) {
		a = (struct probe_answer){ .err = ERR_OK };
		if (s->conn == NULL)
			a.err = p->transport.open(p->transport.cookie, &s->conn,
			    url, timeout_ms, &a.why);
		if (a.err == ERR_OK)
			a.err = p->transport.call(p->transport.cookie, s->conn,
			    &reply, buf_view(&request), timeout_ms, &a.why);
		/* The other end of a session that was kept may be gone; then
		 * nothing was asked yet. */
		again = kept && a.err == ERR_IO;
		kept = false;
		if (a.err != ERR_OK)
			hang_up(p, s);
	}
	if (a.err == ERR_OK)
		read_reply(&a, buf_view(&reply), what);
	buf_wipe(&reply);
	buf_fini(&request);
	*out = a;
}
