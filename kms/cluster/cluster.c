/* The steps of a node's life.  A step runs on a worker (it reads the chain
 * and talks to peers) and returns an outcome; the loop thread applies it.
 * One step is under way at a time, so a step never races with another. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"

#define TICK_MS 1000

/* What a step found; filled on the worker, applied on the loop. */
struct step {
	struct cluster *c;
	enum cluster_phase phase; /* at its start */
	bool may_make; /* a root, if the contract names none */
	bool has_pending;
	struct epoch_public pending;
	struct buf have; /* packed Sync request */
	/* Outcome. */
	enum err err;
	struct refusal why;
	bool chain_has_root;
	uint8_t chain_root[33];
	struct attested self;
	bool has_self;
	struct peers_found found;
	struct epoch_roots *made; /* owns */
};

const char *
cluster_phase_text(enum cluster_phase p)
{
	switch (p) {
	case PHASE_STARTING:
		return "starting";
	case PHASE_JOINING:
		return "joining";
	case PHASE_GENESIS:
		return "genesis";
	case PHASE_READY:
		return "ready";
	}
	return "?";
}

/* A node that cannot keep what it acknowledged must not go on. */
static void
must_keep(enum err e, const char *what)
{
	if (e == ERR_OK)
		return;
	log_event(LOG_ERROR, "store_failed", log_str("what", what),
	    log_str("cause", err_text(e)));
	abort();
}

enum err
cluster_submit(struct cluster *c, struct record *r)
{
	struct buf b = { 0 };
	enum err e;

	memcpy(r->incarnation, c->incarnation, sizeof r->incarnation);
	r->time = (uint64_t)clock_wall_s();
	state_next(c->state, r);
	if ((e = record_write(&b, r)) == ERR_OK &&
	    (e = state_apply(c->state, buf_view(&b))) == ERR_OK &&
	    c->o.store != NULL) {
		enum err s = store_begin(c->o.store);

		if (s == ERR_OK)
			s = disk_put_record(c, buf_view(&b));
		if (s == ERR_OK)
			s = store_commit(c->o.store);
		must_keep(s, "record");
	}
	buf_fini(&b);
	return e;
}

/* ---- a step, on the worker ---- */

static enum err
read_chain_root(struct step *s)
{
	struct gate_kms_info info;
	struct chain_block at;
	struct k256_pub pub;
	enum err e =
	    gate_kms_info(s->c->o.gate, clock_wall_s(), &info, &at, &s->why);

	if (e != ERR_OK)
		return e;
	s->chain_has_root = info.k256_pub_len > 0;
	if (!s->chain_has_root)
		return ERR_OK;
	if (k256_pub_parse(&pub, info.k256_pub, info.k256_pub_len) != ERR_OK)
		return refuse(&s->why, REASON_CHAIN_ANSWER,
		    "kmsInfo names no secp256k1 key");
	memcpy(s->chain_root, pub.b, sizeof s->chain_root);
	return ERR_OK;
}

static bool
is_chain_root(const struct step *s, const struct epoch_public *pub)
{
	return s->chain_has_root &&
	    memcmp(s->chain_root, pub->k256.b, sizeof s->chain_root) == 0;
}

/* No roots are here.  The contract decides where they come from: from a
 * member if it names a root, else from our own generator if we are the one
 * that may.  A second genesis is impossible: whoever comes later finds a
 * root named, and whoever is not named never becomes ready. */
static enum err
step_without_roots(struct step *s)
{
	enum err e = self_allowed(s->c->o.self, clock_wall_s(), &s->why);

	if (e != ERR_OK)
		return e;
	if (s->chain_has_root)
		return peers_join(s->c->peers, s->c->o.cx, s->c->o.cfg,
		    s->c->incarnation, s->chain_root, &s->found, &s->why);
	if (!s->may_make)
		return refuse(&s->why, REASON_NOT_READY,
		    "the contract names no root yet");
	return epoch_roots_generate(&s->made, 0);
}

static void
run_step(uv_work_t *w)
{
	struct step *s = w->data;
	bool confirmed;

	s->has_self = self_attested(s->c->o.self, &s->self, clock_wall_s(),
			  &s->why) == ERR_OK;
	if (!s->has_self) {
		s->err = ERR_AGAIN;
		return;
	}
	if ((s->err = read_chain_root(s)) != ERR_OK)
		return;
	confirmed = s->has_pending && is_chain_root(s, &s->pending);
	if (!s->has_pending)
		s->err = step_without_roots(s);
	else if (confirmed)
		s->err = peers_sync(s->c->peers, s->c->o.cx, buf_view(&s->have),
		    &s->found, &s->why);
}

/* ---- its outcome, on the loop ---- */

static void
set_phase(struct cluster *c, enum cluster_phase p)
{
	if (c->phase == p)
		return;
	c->phase = p;
	c->told = REASON_NONE;
	log_event(LOG_INFO, "phase", log_str("phase", cluster_phase_text(p)));
}

static bool
epoch0_known(const struct cluster *c)
{
	return state_epoch(c->state, 0) != NULL;
}

/* The contract names the roots that we hold. */
static void
become_ready(struct cluster *c, const struct step *s)
{
	struct record r = { .kind = RECORD_EPOCH };

	if (c->phase == PHASE_READY)
		return;
	if (!epoch0_known(c)) {
		r.u.epoch.pub = c->pending;
		if (cluster_submit(c, &r) != ERR_OK)
			return;
	}
	r = (struct record){ .kind = RECORD_STARTED };
	memcpy(r.u.started.slot, c->o.cfg->slot, sizeof r.u.started.slot);
	memcpy(r.u.started.device_id, s->self.boot.device_id, 32);
	memcpy(r.u.started.mr_aggregated, s->self.boot.mr_aggregated, 32);
	if (cluster_submit(c, &r) == ERR_OK)
		set_phase(c, PHASE_READY);
}

/* Takes roots into the ring and onto the disk. */
static void
take_roots(struct cluster *c, struct epoch_roots **roots)
{
	struct epoch_public pub;

	epoch_roots_public(*roots, &pub);
	if (keyring_add(c->o.keyring, *roots) != ERR_OK)
		return;
	*roots = NULL; /* transferred */
	must_keep(disk_save_roots(c, pub.number), "roots");
	if (pub.number == 0) {
		c->pending = pub;
		c->has_pending = true;
	}
}

static void
tell(struct cluster *c, const struct step *s)
{
	/* Once per kind of trouble: a node may wait for hours. */
	if (s->why.code == c->told)
		return;
	c->told = s->why.code;
	log_event(LOG_WARN, "waiting",
	    log_str("phase", cluster_phase_text(c->phase)), log_why(&s->why));
}

static void
apply_outcome(struct cluster *c, struct step *s)
{
	if (s->chain_has_root && c->o.cfg->genesis && !s->has_pending &&
	    !c->told_genesis_done) {
		struct refusal why;

		(void)refuse(&why, REASON_GENESIS_DONE,
		    "genesis is configured, but a root is on chain: joining");
		log_event(LOG_WARN, "genesis_refused", log_why(&why));
		c->told_genesis_done = true;
	}
	if (s->has_pending && s->chain_has_root &&
	    !is_chain_root(s, &s->pending)) {
		/* A genesis that lost, or a disk of another cluster. */
		struct refusal why;

		(void)refuse(&why, REASON_ROOT_MISMATCH,
		    "the roots here are not the contract's: destroyed");
		log_event(LOG_ERROR, "roots_dropped", log_why(&why));
		must_keep(disk_forget_roots(c, 0), "forgotten roots");
		c->has_pending = false;
		set_phase(c, PHASE_JOINING);
		return;
	}
	if (s->err != ERR_OK) {
		/* Also a peer that could not be reached: records may still
		 * have come from others. */
		if (s->why.code != REASON_NONE)
			tell(c, s);
	}
	if (s->made != NULL) {
		take_roots(c, &s->made);
		set_phase(c, PHASE_GENESIS);
		return;
	}
	for (size_t i = 0; i < s->found.n_roots; i++)
		take_roots(c, &s->found.roots[i]);
	must_keep(disk_apply_records(c, s->found.record, s->found.n_records),
	    "records");
	if (c->has_pending && is_chain_root(s, &c->pending))
		become_ready(c, s);
	else if (c->phase == PHASE_STARTING && s->err != ERR_AGAIN)
		set_phase(c, c->has_pending ? PHASE_GENESIS : PHASE_JOINING);
}

static void
step_free(struct step *s)
{
	peers_found_fini(&s->found);
	epoch_roots_free(s->made);
	buf_fini(&s->have);
	free(s);
}

static void
maybe_done(struct cluster *c)
{
	if (c->stopping && c->timer_closed && c->step == NULL &&
	    c->done != NULL)
		c->done(c->done_cookie);
}

static void
after_step(uv_work_t *w, int status)
{
	struct step *s = w->data;
	struct cluster *c = s->c;

	c->step = NULL;
	if (status == 0 && !c->stopping) {
		apply_outcome(c, s);
		must_keep(disk_save_floor(c), "chain floor");
	}
	step_free(s);
	maybe_done(c);
}

static void
add_have(void *cookie, const uint8_t incarnation[static 32], uint64_t seq)
{
	struct peers_have *h = cookie;

	peers_have_add(h, incarnation, seq);
}

static void
on_tick(uv_timer_t *t)
{
	struct cluster *c = t->data;
	struct peers_have h = { 0 };
	struct step *s;

	if (c->step != NULL || c->stopping)
		return;
	if ((s = calloc(1, sizeof *s)) == NULL)
		return; /* the next tick tries again */
	s->c = c;
	s->phase = c->phase;
	s->may_make = c->o.cfg->genesis;
	s->has_pending = c->has_pending;
	s->pending = c->pending;
	state_have(c->state, add_have, &h);
	if (peers_have_pack(&h, &s->have) != ERR_OK) {
		step_free(s);
		return;
	}
	c->step = s;
	c->work.data = s;
	if (uv_queue_work(c->o.loop, &c->work, run_step, after_step) != 0) {
		c->step = NULL;
		step_free(s);
	}
}

/* ---- life ---- */

enum err
cluster_new(struct cluster **out, const struct cluster_options *o)
{
	struct cluster *c = calloc(1, sizeof *c);
	enum err e = ERR_NOMEM;

	if (c == NULL)
		return e;
	c->o = *o;
	if (c->o.tick_ms == 0)
		c->o.tick_ms = TICK_MS;
	secret_random(c->incarnation, sizeof c->incarnation);
	if ((e = state_new(&c->state)) != ERR_OK)
		goto done;
	if ((e = peers_new(&c->peers, o->cfg)) != ERR_OK)
		goto done;
	if ((e = disk_load(c)) != ERR_OK)
		goto done;
	e = ERR_IO;
	if (uv_timer_init(o->loop, &c->timer) != 0)
		goto done;
	c->timer.data = c;
	*out = c;
	return ERR_OK;
done:
	peers_free(c->peers);
	state_free(c->state);
	free(c);
	return e;
}

void
cluster_start(struct cluster *c)
{
	(void)uv_timer_start(&c->timer, on_tick, 0, c->o.tick_ms);
}

static void
on_timer_closed(uv_handle_t *h)
{
	struct cluster *c = h->data;

	c->timer_closed = true;
	maybe_done(c);
}

void
cluster_stop(struct cluster *c, void (*done)(void *), void *cookie)
{
	c->stopping = true;
	c->done = done;
	c->done_cookie = cookie;
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

void
cluster_free(struct cluster *c)
{
	if (c == NULL)
		return;
	peers_free(c->peers);
	state_free(c->state);
	free(c);
}

/* ---- what others ask ---- */

enum cluster_phase
cluster_phase(const struct cluster *c)
{
	return c->phase;
}

const uint8_t *
cluster_incarnation(const struct cluster *c)
{
	return c->incarnation;
}

const struct state *
cluster_state(const struct cluster *c)
{
	return c->state;
}

bool
cluster_genesis(const struct cluster *c, struct epoch_public *out)
{
	if (c->phase != PHASE_GENESIS)
		return false;
	*out = c->pending;
	return true;
}

size_t
cluster_peers(const struct cluster *c, struct cluster_peer *out, size_t max)
{
	return peers_status(c->peers, out, max);
}

struct epoch_entry *
cluster_copy_epochs(const struct cluster *c, size_t *n)
{
	struct epoch_entry *e;

	*n = state_n_epochs(c->state);
	e = calloc(*n + 1, sizeof *e);
	for (size_t i = 0; e != NULL && i < *n; i++)
		e[i] = *state_epoch(c->state, i);
	return e;
}
