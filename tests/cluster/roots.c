/* Roots and their wrapping keys: what a node's loop does about them (in
 * kms/cluster: rotate.c, keystore.c, handover.c), as a model. */
#include <stdlib.h>
#include <string.h>

#include "common/crypto/epochcert.h"
#include "tests/cluster/world.h"

static const struct ledger_epoch *
epoch_of(const struct life *l, const struct k256_pub *k)
{
	const struct ledger *g = core_ledger(l->core);

	for (uint64_t n = 0; n < ledger_n_epochs(g); n++)
		if (memcmp(&ledger_epoch(g, n)->pub.k256, k, sizeof *k) == 0)
			return ledger_epoch(g, n);
	return NULL;
}

static const struct ledger_epoch *
newest(const struct life *l)
{
	const struct ledger *g = core_ledger(l->core);

	return ledger_epoch(g, ledger_n_epochs(g) - 1);
}

static struct event
event(struct world *w, const struct life *l, enum event_kind kind, unsigned ms,
    const void *data, size_t len)
{
	struct event e = { .kind = kind,
		.uid = l->uid,
		.at = w->now + 1 + world_random(w, ms) };

	if (len > 0 && (e.data = malloc(len)) == NULL)
		abort();
	if (len > 0)
		memcpy(e.data, data, len);
	return e;
}

void
roots_begin(struct world *w)
{
	const struct ledger_epoch *e =
	    ledger_epoch(core_ledger(world_leader(w)->core), 0);

	if ((w->reg = calloc(1, sizeof *w->reg)) == NULL ||
	    epochcert_ca_hash(w->ca_hash, &e->pub.ca) != ERR_OK)
		abort();
	simreg_begin(w->reg, w->now, &e->pub.k256, w->ca_hash);
	/* All have joined: they have the key. */
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used) {
			keyset_add(&w->life[i].ram, &e->pub.k256);
			keyset_add(&w->life[i].disk.keys, &e->pub.k256);
		}
}

void
roots_boot(struct life *l)
{
	l->ram = l->disk.keys;
}

void
roots_fresh(struct world *w, struct epoch_public *out)
{
	uint64_t n = ++w->next_root + 1;
	struct k256_secret s = { 0 };

	for (int i = 0; i < 8; i++)
		s.b[31 - i] = (uint8_t)(n >> 8 * i);
	/* Their CA keys are that of epoch 0. */
	*out = ledger_epoch(core_ledger(world_leader(w)->core), 0)->pub;
	if (k256_pubkey(&out->k256, &s) != ERR_OK)
		abort();
}

bool
roots_usable(const struct life *l, const struct k256_pub *k)
{
	const struct ledger_epoch *e = epoch_of(l, k);

	return e != NULL && keyset_has(&l->ram, k) &&
	    core_registry(l->core) != NULL &&
	    core_epoch_open(l->core, e->pub.number);
}

unsigned
roots_copies(struct world *w, const struct k256_pub *k)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LIVES_MAX; i++)
		n += w->life[i].used &&
		    (keyset_has(&w->life[i].ram, k) ||
			keyset_has(&w->life[i].disk.keys, k));
	for (unsigned i = 0; i < w->o.slots; i++)
		n += world_at(w, i) == NULL &&
		    keyset_has(&w->slot[i].disk.keys, k);
	return n;
}

/* ---- what a look at the chain leads to ---- */

/* What was destroyed, and what is nobody's any more. */
static void
forget(struct life *l)
{
	for (unsigned i = 0; i < l->ram.n;) {
		struct k256_pub k = l->ram.k[i];
		const struct ledger_epoch *e = epoch_of(l, &k);

		if (e == NULL ? core_phase(l->core) != CORE_MEMBER
			      : core_epoch_open(l->core, e->pub.number)) {
			i++;
			continue;
		}
		keyset_drop(&l->ram, &k);
		keyset_drop(&l->disk.keys, &k);
	}
}

static void
save(struct world *w, struct life *l)
{
	bool all = true;
	struct event e;

	for (unsigned i = 0; i < l->ram.n; i++)
		all &= keyset_has(&l->disk.keys, &l->ram.k[i]);
	if (all || l->saving)
		return;
	l->saving = true;
	e = event(w, l, EV_SAVED, 20, NULL, 0);
	net_push(w, &e);
}

static void
say_kept(struct world *w, struct life *l)
{
	const struct ledger_epoch *e = newest(l);
	struct core_event ev = { .kind = CORE_KEY_KEPT };

	if (e != NULL && keyset_has(&l->disk.keys, &e->pub.k256))
		ev.kept = &e->pub.k256;
	world_give(w, l, &ev);
}

static bool
lacks(const struct life *l, const struct life *donor)
{
	const struct ledger *g = core_ledger(l->core);

	for (uint64_t n = 0; n < ledger_n_epochs(g); n++) {
		const struct k256_pub *k = &ledger_epoch(g, n)->pub.k256;

		if (core_epoch_open(l->core, n) && !keyset_has(&l->ram, k) &&
		    roots_usable(donor, k))
			return true;
	}
	return false;
}

static void
ask(struct world *w, struct life *l)
{
	const struct ledger_member *m =
	    ledger_slot(core_ledger(l->core), l->self.slot);
	struct life *d = &w->life[world_random(w, LIVES_MAX)];

	if (m == NULL || !m->present || w->now < l->next_ask ||
	    memcmp(m->who.incarnation, l->self.incarnation, 32) != 0)
		return;
	for (unsigned i = 0; i < LIVES_MAX; i++, d++) {
		if (d == &w->life[LIVES_MAX])
			d = &w->life[0];
		if (!d->used || d == l || d->frozen || d->denied ||
		    !net_connected(w, l, d) || l->denied || !lacks(l, d) ||
		    core_serves(d->core, life_now(w, d), NULL) != ERR_OK)
			continue;
		l->next_ask = w->now + 800;
		(void)clients_ask(w, d, OP_HANDOVER, 0, l->uid, 0);
		return;
	}
}

void
roots_poll(struct world *w, struct life *l)
{
	uint64_t uid = l->uid;

	forget(l);
	save(w, l);
	ask(w, l);
	if (l->used && l->uid == uid && !l->frozen)
		say_kept(w, l);
}

/* The log has the hand-over: now the keys may leave. */
void
roots_handed(struct world *w, struct life *donor, uint64_t to)
{
	const struct ledger *g = core_ledger(donor->core);
	const struct life *l = world_life(w, to);
	struct keyset keys = { 0 };
	struct event e;

	for (uint64_t n = 0; n < ledger_n_epochs(g); n++)
		if (roots_usable(donor, &ledger_epoch(g, n)->pub.k256))
			keyset_add(&keys, &ledger_epoch(g, n)->pub.k256);
	if (l == NULL || keys.n == 0)
		return;
	e = event(w, l, EV_KEYS, 40, &keys, sizeof keys);
	net_push(w, &e);
}

/* ---- what the core wants ---- */

static void
write_registry(
    struct world *w, struct life *l, const struct core_registry_write *t)
{
	struct reg_tx tx = { .w = *t };
	const struct ledger_epoch *e =
	    ledger_epoch(core_ledger(l->core), t->holders.epoch);
	struct event ev;

	w->steps.written[t->kind]++;
	memcpy(tx.ca_hash, w->ca_hash, 32);
	if (t->kind == CORE_PUBLISH || t->kind == CORE_ATTEST) {
		check_evidence(w, l, t);
		tx.k256 = e->pub.k256;
		if (!roots_usable(l, &tx.k256))
			return; /* it cannot sign with it */
	}
	world_trace(w, l, "registry write %u, epoch %llu", (unsigned)t->kind,
	    (unsigned long long)t->holders.epoch);
	if (l->no_write)
		return;
	ev = event(w, l, EV_REGISTRY, 220, &tx, sizeof tx);
	net_push(w, &ev);
}

void
roots_act(struct world *w, struct life *l, const struct core_action *a)
{
	struct made m = { a->make.number, a->make.origin, a->make.mode };
	struct event e;

	if (a->kind == CORE_REGISTRY_WRITE) {
		write_registry(w, l, &a->registry);
		return;
	}
	w->steps.asked++;
	w->n.remade += m.origin.attempt > 0;
	/* The root before it signs, unless it may be stolen. */
	if (m.mode == 0 &&
	    !roots_usable(
		l, &ledger_epoch(core_ledger(l->core), m.number - 1)->pub.k256))
		return;
	e = event(w, l, EV_ROOTS, 40, &m, sizeof m);
	net_push(w, &e);
}

static void
made(struct world *w, struct life *l, const struct made *m)
{
	struct command c = { .kind = COMMAND_EPOCH, .time = 1700000000 };
	struct core_event e = { .kind = CORE_ROOTS_MADE };
	struct buf b = { 0 };

	c.u.epoch.pub = ledger_epoch(core_ledger(l->core), 0)->pub;
	if (world_leader(w) != NULL)
		roots_fresh(w, &c.u.epoch.pub);
	else
		return;
	c.u.epoch.pub.number = m->number;
	c.u.epoch.has_certificate = true;
	c.u.epoch.origin = m->origin;
	c.u.epoch.mode = m->mode;
	if (command_write(&b, &c) != ERR_OK)
		abort();
	l->pending = c.u.epoch.pub.k256;
	l->has_pending = true;
	w->steps.made++;
	e.made = buf_view(&b);
	world_give(w, l, &e);
	buf_fini(&b);
}

void
roots_applied(struct world *w, struct life *l, const struct command *c)
{
	if (c->kind != COMMAND_EPOCH || w->reg == NULL)
		return;
	if (l->has_pending &&
	    memcmp(&l->pending, &c->u.epoch.pub.k256, sizeof l->pending) == 0) {
		keyset_add(&l->ram, &l->pending);
		save(w, l);
	}
	l->has_pending = false;
}

void
roots_happen(struct world *w, struct life *l, struct event *e)
{
	const struct reg_tx *t = e->data;
	const struct keyset *keys = e->data;

	if (e->kind == EV_REGISTRY) { /* it is on its way, whoever sent it */
		if (!simreg_write(w->reg, &w->chain, w->now, t))
			return;
		w->steps.published += t->w.kind == CORE_PUBLISH;
		if (t->w.kind == CORE_PUBLISH || t->w.kind == CORE_ATTEST)
			check_holders(w, t);
		world_trace(w, l, "registry: done %u", (unsigned)t->w.kind);
		if (t->w.kind == CORE_ACTIVATE)
			check_activated(w, t->w.holders.epoch);
		return;
	}
	if (l == NULL)
		return;
	if (e->kind == EV_SAVED)
		l->saving = false;
	if (l->frozen)
		return;
	if (e->kind == EV_ROOTS) {
		made(w, l, e->data);
	} else if (e->kind == EV_SAVED) {
		for (unsigned i = 0; i < l->ram.n; i++)
			keyset_add(&l->disk.keys, &l->ram.k[i]);
		say_kept(w, l);
	} else {
		for (unsigned i = 0; i < keys->n; i++)
			if (epoch_of(l, &keys->k[i]) != NULL)
				keyset_add(&l->ram, &keys->k[i]);
		save(w, l);
	}
}
