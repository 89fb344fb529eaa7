/* What the core wants done about roots (core_rotate.c): making some, and
 * saying things to the registry, both on workers.
 *
 * Roots that were made here are kept aside with their wrapping key until the
 * log has them; then they are an epoch like any other (keystore.c), and are
 * saved before this node says that it holds them.  If the log has others
 * instead, they never were anybody's. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/epochcert.h"
#include "kms/cluster/cluster_int.h"

/* ---- roots ---- */

struct making {
	uv_work_t work;
	struct cluster *c;
	uint64_t number;
	struct epoch_origin origin;
	uint8_t mode;
	struct k256_secret anchor; /* of an emergency; wiped with it */
	struct wrap_key *key; /* owns: secret memory */
	struct command cmd;
	struct buf bytes; /* owns: cmd */
	struct refusal why;
	enum err err;
};

static void
making_free(struct making *m)
{
	if (m == NULL)
		return;
	k256_secret_wipe(&m->anchor);
	secret_free(m->key);
	buf_fini(&m->bytes);
	free(m);
}

/* Who certifies: the root before, or in an emergency the anchor's signer. */
static enum err
certify(struct making *m)
{
	const struct registryabi_at *at = registry_at(m->c->o.registry);
	struct k256_sig65 *sig = &m->cmd.u.epoch.certificate;
	const struct epoch_public *pub = &m->cmd.u.epoch.pub;
	struct epoch_roots *before;
	enum err e;

	if (m->mode == REGISTRY_EMERGENCY)
		return epoch_certificate_emergency(
		    sig, &m->anchor, pub, at->chain_id, at->contract);
	before = keyring_use(m->c->o.keyring, m->number - 1);
	if (before == NULL)
		return refuse(&m->why, REASON_EPOCH_CLOSED,
		    "the roots before are not here");
	e = epoch_certificate(
	    sig, before, pub, at->chain_id, at->contract, m->mode);
	keyring_done(m->c->o.keyring);
	return e;
}

static void
run_making(uv_work_t *work)
{
	struct making *m = work->data;
	struct epoch_roots *r = NULL;

	m->cmd = (struct command){ .kind = COMMAND_EPOCH,
		.time = (uint64_t)clock_wall_s() };
	if ((m->err = epoch_roots_generate(&r, m->number)) != ERR_OK)
		return;
	wrap_key_generate(m->key);
	epoch_roots_public(r, &m->cmd.u.epoch.pub);
	m->cmd.u.epoch.origin = m->origin;
	m->cmd.u.epoch.mode = m->mode;
	m->cmd.u.epoch.has_certificate = true;
	if ((m->err = certify(m)) == ERR_OK &&
	    (m->err = wrap_roots(m->cmd.u.epoch.wrapped, m->key, r)) == ERR_OK)
		m->err = command_write(&m->bytes, &m->cmd);
	epoch_roots_free(r);
}

static void
say_made(struct cluster *c)
{
	struct core_event e = { .kind = CORE_ROOTS_MADE,
		.made = buf_view(&c->made_roots->bytes) };

	cluster_event(c, &e);
}

static void
after_making(uv_work_t *work, int status)
{
	struct making *m = work->data;
	struct cluster *c = m->c;

	c->making = NULL;
	if (status != 0 || c->stopping || c->halted) {
		making_free(m);
	} else if (m->err != ERR_OK) {
		if (m->why.code == REASON_NONE)
			(void)refuse(
			    &m->why, REASON_INTERNAL, "%s", err_text(m->err));
		log_event(LOG_WARN, "roots_not_made",
		    log_u64("epoch", m->number), log_why(&m->why));
		making_free(m);
	} else {
		secret_lock(m->key);
		making_free(c->made_roots);
		c->made_roots = m;
		log_event(LOG_INFO, "roots_made", log_u64("epoch", m->number),
		    log_u64("order", m->origin.order));
		say_made(c);
	}
	cluster_maybe_done(c);
}

static bool
is_for(const struct making *m, const struct core_action *a)
{
	return m->number == a->make.number && m->mode == a->make.mode &&
	    m->origin.order == a->make.origin.order &&
	    m->origin.vetoes == a->make.origin.vetoes &&
	    m->origin.attempt == a->make.origin.attempt;
}

void
rotate_make(struct cluster *c, const struct core_action *a)
{
	struct making *m;

	if (c->making != NULL || c->o.registry == NULL)
		return;
	/* The log has not taken them yet: the same ones again. */
	if (c->made_roots != NULL && is_for(c->made_roots, a)) {
		say_made(c);
		return;
	}
	if ((m = calloc(1, sizeof *m)) == NULL)
		return;
	m->c = c;
	m->work.data = m;
	m->number = a->make.number;
	m->origin = a->make.origin;
	m->mode = a->make.mode;
	m->key = secret_new(sizeof *m->key);
	if (m->key != NULL &&
	    (m->mode != REGISTRY_EMERGENCY ||
		cluster_anchor_key(c, &m->anchor)) &&
	    uv_queue_work(c->o.loop, &m->work, run_making, after_making) == 0)
		c->making = m;
	else
		making_free(m);
}

void
rotate_applied(struct cluster *c, const struct command *cmd)
{
	const struct making *m = c->made_roots;
	const struct epoch_public *pub = &cmd->u.epoch.pub;

	if (m == NULL || pub->number < m->number)
		return;
	secret_open_ro(m->key);
	if (memcmp(&m->cmd.u.epoch.pub.k256, &pub->k256, sizeof pub->k256) ==
		0 &&
	    keystore_hold(c, m->key, pub, cmd->u.epoch.wrapped) != ERR_OK)
		log_event(LOG_ERROR, "roots_lost", log_u64("epoch", m->number));
	making_free(c->made_roots);
	c->made_roots = NULL;
}

/* ---- the registry ---- */

struct registry_send {
	uv_work_t work;
	struct cluster *c;
	struct core_registry_write w;
	struct ledger_epoch epoch; /* PUBLISH */
	struct registry_handover list[REGISTRY_HANDOVERS_MAX]; /* w.n of them */
	struct k256_secret key; /* the anchor's; wiped with it */
	struct refusal why;
	enum err err;
};

static const char *const said[] = {
	[CORE_PUBLISH] = "publish",
	[CORE_ATTEST] = "attest",
	[CORE_ACTIVATE] = "activate",
	[CORE_HANDOVERS] = "handovers",
};

/* Both signatures of evidence: the root itself, and the cluster. */
static enum err
sign_holders(struct registry_send *s, struct k256_sig65 *by_root,
    struct k256_sig65 *by_cluster)
{
	const struct registry_holders *h = &s->w.holders;
	struct epoch_roots *r = keyring_use(s->c->o.keyring, h->epoch);
	uint8_t digest[32];
	enum err e;

	registry_holders_digest(digest, registry_at(s->c->o.registry), h);
	if (r == NULL)
		return refuse(&s->why, REASON_EPOCH_CLOSED,
		    "the roots of epoch %llu are not here",
		    (unsigned long long)h->epoch);
	e = epoch_attest(by_root, r, digest);
	keyring_done(s->c->o.keyring);
	return e != ERR_OK ? e : k256_sign_digest(by_cluster, &s->key, digest);
}

static enum err
evidence(struct registry_send *s, struct buf *out)
{
	const struct registry_holders *h = &s->w.holders;
	struct k256_sig65 by_root, by_cluster;
	uint8_t ca[32];
	enum err e = sign_holders(s, &by_root, &by_cluster);

	if (e != ERR_OK)
		return e;
	if (s->w.kind == CORE_ATTEST)
		return registryabi_attest_holders(
		    out, h, &by_root, &by_cluster);
	if ((e = epochcert_ca_hash(ca, &s->epoch.pub.ca)) != ERR_OK)
		return e;
	return registryabi_publish_root(out, &s->epoch.pub.k256, ca,
	    &s->epoch.certificate, h, &by_root, &by_cluster);
}

static enum err
handovers(struct registry_send *s, struct buf *out)
{
	uint8_t head[32], digest[32];
	struct k256_sig65 sig;
	enum err e;

	memcpy(head, s->w.head, sizeof head);
	for (unsigned i = 0; i < s->w.n; i++)
		registry_handover_step(head, s->w.from + i, &s->list[i]);
	registry_handover_digest(
	    digest, registry_at(s->c->o.registry), s->w.from + s->w.n, head);
	if ((e = k256_sign_digest(&sig, &s->key, digest)) != ERR_OK)
		return e;
	return registryabi_record_handovers(
	    out, s->w.from, s->list, s->w.n, &sig);
}

static enum err
calldata(struct registry_send *s, struct buf *out)
{
	switch (s->w.kind) {
	case CORE_PUBLISH:
	case CORE_ATTEST:
		return evidence(s, out);
	case CORE_ACTIVATE:
		return registryabi_activate(out, s->w.holders.epoch);
	case CORE_HANDOVERS:
		return handovers(s, out);
	case CORE_REGISTRY_KINDS:
		break;
	}
	return ERR_MALFORMED;
}

static void
run_send(uv_work_t *work)
{
	struct registry_send *s = work->data;
	struct buf data = { 0 };

	if ((s->err = calldata(s, &data)) == ERR_OK)
		s->err = registry_send(
		    s->c->o.registry, buf_view(&data), &s->key, &s->why);
	else if (s->why.code == REASON_NONE)
		(void)refuse(&s->why, REASON_INTERNAL, "%s", err_text(s->err));
	buf_fini(&data);
}

static void
send_free(struct registry_send *s)
{
	if (s == NULL)
		return;
	k256_secret_wipe(&s->key);
	free(s);
}

static void
after_send(uv_work_t *work, int status)
{
	struct registry_send *s = work->data;
	struct cluster *c = s->c;

	c->sending[s->w.kind == CORE_HANDOVERS] = NULL;
	if (status == 0 && s->err == ERR_OK)
		log_event(LOG_INFO, "registry_written",
		    log_str("what", said[s->w.kind]),
		    log_u64("epoch", s->w.holders.epoch));
	else if (status == 0)
		/* Denied: it was done meanwhile, or another came first. */
		log_event(s->err == ERR_DENIED ? LOG_INFO : LOG_WARN,
		    "registry_write_failed", log_str("what", said[s->w.kind]),
		    log_u64("epoch", s->w.holders.epoch), log_why(&s->why));
	send_free(s);
	if (!c->stopping && !c->halted)
		watch_begin(c);
	cluster_maybe_done(c);
}

static bool
fill(struct registry_send *s, const struct ledger *l)
{
	const struct ledger_epoch *ep = ledger_epoch(l, s->w.holders.epoch);

	if (s->w.kind != CORE_HANDOVERS && ep == NULL)
		return false;
	if (ep != NULL)
		s->epoch = *ep;
	for (unsigned i = 0; s->w.kind == CORE_HANDOVERS && i < s->w.n; i++) {
		struct registry_handover *h = &s->list[i];
		const struct member *to;
		struct ledger_audit a;
		struct command cmd;

		if (!ledger_handover_get(l, s->w.from + i, &a, &cmd))
			return false;
		to = &cmd.u.handover.to;
		h->audit = a.number;
		h->epoch = cmd.u.handover.epoch;
		memcpy(h->slot, to->slot, strlen(to->slot));
		memcpy(h->incarnation, to->incarnation, sizeof h->incarnation);
		memcpy(h->device_id, to->device_id, sizeof h->device_id);
		memcpy(h->mr_aggregated, to->mr_aggregated,
		    sizeof h->mr_aggregated);
	}
	return true;
}

void
rotate_write(struct cluster *c, const struct core_registry_write *w)
{
	struct registry_send **slot = &c->sending[w->kind == CORE_HANDOVERS];
	struct registry_send *s;

	/* One at a time; the core asks again if it does not show. */
	if (*slot != NULL || c->o.registry == NULL ||
	    (s = calloc(1, sizeof *s)) == NULL)
		return;
	s->c = c;
	s->w = *w;
	s->work.data = s;
	if (fill(s, core_ledger(c->core)) && cluster_anchor_key(c, &s->key) &&
	    uv_queue_work(c->o.loop, &s->work, run_send, after_send) == 0)
		*slot = s;
	else
		send_free(s);
}

bool
rotate_busy(const struct cluster *c)
{
	return c->making != NULL || c->sending[0] != NULL ||
	    c->sending[1] != NULL;
}

void
rotate_free(struct cluster *c)
{
	making_free(c->made_roots);
}
