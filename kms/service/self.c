#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "kms/service/self.h"

struct self {
	const struct kmsd_config *cfg; /* borrows */
	struct verifier *verifier; /* borrows */
	struct gate *gate; /* borrows */
	struct tee *tee; /* owns */
	pthread_mutex_t lock; /* of what follows */
	bool has_own;
	struct attested own;
};

/* What dstack's guest measures, in its order: dstack-compat.md 3.3.  A KMS
 * has no instance id, so that all nodes of one image measure the same, and
 * no key provider: it is one. */
static enum err
measure_guest(struct tee *t, const char *app_compose, struct refusal *why)
{
	static const char provider[] = "{\"name\":\"none\",\"id\":\"\"}";
	struct buf file = { 0 };
	uint8_t hash[32];
	enum err e = file_read(&file, app_compose, LIMIT_APP_COMPOSE);

	if (e != ERR_OK) {
		(void)refuse(
		    why, REASON_BOOT_INFO, "%s: %s", app_compose, err_text(e));
		goto done;
	}
	compose_hash(hash, buf_view(&file));
	const struct {
		const char *name;
		struct bytes payload;
	} events[] = {
		{ "system-preparing", { NULL, 0 } },
		{ "app-id", { hash, 20 } },
		{ "compose-hash", { hash, 32 } },
		{ "instance-id", { NULL, 0 } },
		{ "boot-mr-done", { NULL, 0 } },
		{ "key-provider",
		    { (const uint8_t *)provider, sizeof provider - 1 } },
		{ "system-ready", { NULL, 0 } },
	};

	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		if ((e = tee_extend(t, events[i].name, events[i].payload)) !=
		    ERR_OK) {
			(void)refuse(why, REASON_INTERNAL, "measuring %s: %s",
			    events[i].name, err_text(e));
			break;
		}
done:
	buf_fini(&file);
	return e;
}

enum err
self_open(struct self **out, const struct kmsd_config *c,
    struct verifier *verifier, struct gate *gate, struct refusal *why)
{
	struct self *id = calloc(1, sizeof *id);
	char run_dir[KMSD_PATH_MAX + 8];
	struct tee_options to = { .simulated = c->simulated,
		.sim_host = c->sim_host,
		.sim_image = c->sim_image,
		.run_dir = run_dir };
	enum err e = ERR_NOMEM;

	if (id == NULL)
		return e;
	id->cfg = c;
	id->verifier = verifier;
	id->gate = gate;
	if (pthread_mutex_init(&id->lock, NULL) != 0) {
		free(id);
		return e;
	}
	if ((e = file_join(run_dir, sizeof run_dir, c->data_dir, "run")) ==
		ERR_OK &&
	    (e = file_mkdirs(run_dir)) == ERR_OK &&
	    (e = tee_boot(&id->tee, &to, why)) == ERR_OK && c->simulated)
		e = measure_guest(id->tee, c->app_compose, why);
	if (e != ERR_OK) {
		self_close(id);
		return e;
	}
	*out = id;
	return ERR_OK;
}

void
self_close(struct self *id)
{
	if (id == NULL)
		return;
	tee_close(id->tee);
	(void)pthread_mutex_destroy(&id->lock);
	free(id);
}

struct tee *
self_tee(struct self *id)
{
	return id->tee;
}

static enum err
prove(void *cookie, struct evidence *out, const uint8_t rd[static 64],
    struct refusal *why)
{
	struct self *id = cookie;

	return tee_evidence(id->tee, out, rd, why);
}

/* A KMS node talks to app CVMs of any measured guest (the gate decides at
 * each release) and to KMS nodes that the contract lists. */
static enum err
check(void *cookie, struct attested *out, const struct evidence *ev,
    const uint8_t rd[static 64], enum channel_role role, struct refusal *why)
{
	struct self *id = cookie;
	struct gate_decision d;
	int64_t now = clock_wall_s();
	enum boot_variant variant = role == CHANNEL_APP ? BOOT_APP : BOOT_KMS;
	enum err e =
	    verifier_check(id->verifier, out, ev, rd, variant, now, why);

	if (e != ERR_OK || role == CHANNEL_APP)
		return e;
	return gate_ask(id->gate, GATE_KMS, &out->boot, now, &d, why);
}

static int64_t
wall(void *cookie)
{
	(void)cookie;
	return clock_wall_s();
}

void
self_channel(struct self *id, struct channel_context *out)
{
	*out = (struct channel_context){
		.chain_id = id->cfg->chain_id,
		.evidence_life_s = id->cfg->evidence_life_s,
		.cookie = id,
		.prove = prove,
		.check = check,
		.now = wall,
	};
	memcpy(out->kms_contract, id->cfg->kms_contract, 20);
}

enum err
self_attested(
    struct self *id, struct attested *out, int64_t now, struct refusal *why)
{
	struct evidence ev = { 0 };
	uint8_t nonce[64];
	enum err e = ERR_OK;

	(void)pthread_mutex_lock(&id->lock);
	if (!id->has_own ||
	    now - id->own.verified_at > id->cfg->evidence_life_s / 2 ||
	    now < id->own.verified_at) {
		/* Our own clock may not be fooled into an old answer. */
		secret_random(nonce, sizeof nonce);
		e = tee_evidence(id->tee, &ev, nonce, why);
		if (e == ERR_OK)
			e = verifier_check(id->verifier, &id->own, &ev, nonce,
			    BOOT_KMS, now, why);
		id->has_own = e == ERR_OK;
	}
	if (e == ERR_OK)
		*out = id->own;
	(void)pthread_mutex_unlock(&id->lock);
	evidence_fini(&ev);
	return e;
}

enum err
self_allowed(struct self *id, int64_t now, struct refusal *why)
{
	struct attested *self = malloc(sizeof *self);
	struct gate_decision d;
	struct refusal inner = { 0 };
	enum err e = ERR_NOMEM;

	if (self == NULL)
		return e;
	if ((e = self_attested(id, self, now, &inner)) == ERR_OK)
		e = gate_ask(id->gate, GATE_KMS, &self->boot, now, &d, &inner);
	if (e == ERR_DENIED)
		e = refuse(why, REASON_SELF_DENIED, "%s: %s",
		    reason_text(inner.code), inner.detail);
	else if (e != ERR_OK)
		*why = inner;
	free(self);
	return e;
}
