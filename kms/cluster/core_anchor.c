/* What the chain says: critical entries and their anchor (P5), recovery
 * (P6), veto and fence (P7). */
#include <string.h>

#include "kms/cluster/core_int.h"

/* The next generation was announced and may soon open: perhaps our veto does
 * not get through.  Both compare final blocks, so that the time a block takes
 * to become final does not count; how late a view may be, fence_ms covers. */
static bool
may_open(const struct core *c, uint64_t now_ms)
{
	uint64_t age_s = (now_ms - c->anchor_ms + c->o.timing.fence_ms) / 1000;

	return c->view.announced.set &&
	    c->view.block.timestamp + age_s + 1 >= c->view.announced.open_at;
}

bool
core_fenced(const struct core *c, uint64_t now_ms)
{
	if (c->o.unsafe_plain)
		return false;
	/* Who knows the registry must know what was destroyed lately, too. */
	return !c->has_view || now_ms - c->anchor_ms > c->o.timing.fence_ms ||
	    (c->rotate.has_view &&
		now_ms - c->rotate.asked_ms > c->o.timing.fence_ms) ||
	    may_open(c, now_ms);
}

static bool
same_point(const struct anchor_point *a, const struct anchor_point *b)
{
	return a->generation == b->generation && a->index == b->index &&
	    memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

/* Whether it was sent: the last one is given time to show. */
static bool
write_chain(
    struct core *c, enum anchor_write_kind kind, const struct anchor_point *to)
{
	struct core_action *a;

	if (!c->can_write || c->now < c->next_chain_ms)
		return false;
	c->next_chain_ms = c->now + CORE_CHAIN_RETRY_MS;
	a = core_act(c, CORE_CHAIN);
	a->chain.kind = kind;
	a->chain.from = c->view.at;
	a->chain.to = *to;
	memcpy(a->chain.incarnation,
	    kind == ANCHOR_VETO ? c->view.announced.incarnation
				: c->o.self.incarnation,
	    INCARNATION_ID_LEN);
	return true;
}

/* ---- P6: the whole cluster is down ---- */

/* A generation may have been opened, and its opener lost before anybody had
 * anything of it.  Then a disk of an earlier one that holds the point at which
 * it was opened holds all that is known. */
static bool
is_behind(const struct core *c)
{
	return c->disk_generation < c->view.at.generation;
}

static bool
holds_point(const struct core *c)
{
	uint8_t hash[32];

	return c->disk_generation > 0 &&
	    logcache_hash(&c->disk, c->view.at.index, hash) &&
	    memcmp(hash, c->view.at.hash, sizeof hash) == 0;
}

/* Where the next generation would begin. */
static uint64_t
own_last(const struct core *c)
{
	return is_behind(c) ? c->view.at.index : logcache_last(&c->disk);
}

static void
disk_config(const struct core *c, struct engine_config *out)
{
	*out = (struct engine_config){ 0 };
	for (uint64_t i = logcache_last(&c->disk); i > c->disk.base_index;
	     i--) {
		const struct logcache_item *it = logcache_get(&c->disk, i);

		if (it->kind == ENTRY_CONFIG &&
		    engine_config_parse(out, buf_view(&it->data)) == ERR_OK)
			return;
	}
	if (c->disk_has_snapshot)
		*out = c->disk_snapshot.config;
}

/* Disks that count: of seats, of this generation, with the anchor inside.
 * P >= N - Q + f + 1, where Q is a majority of the voters in our own disk's
 * last word.  N is all seats: the voters may have been others before, or
 * since.  All seats, if what we look for is that nothing of the generation is
 * left. */
static unsigned
disks_needed(const struct core *c)
{
	struct engine_config k;
	unsigned n = c->view.n_seats, q, f = n >= 3 ? 1 : 0;

	if (is_behind(c))
		return n;
	disk_config(c, &k);
	q = core_voters(&k) / 2 + 1;
	return q > f + 1 ? n - q + f + 1 : n;
}

static bool
counts(const struct core *c, const struct core_peer *p)
{
	const struct anchor_seat *s = core_seat(c, p->who.slot);

	return p->offers && !p->certified && !p->denied && s != NULL &&
	    memcmp(s->device_id, p->who.device_id, 32) == 0 &&
	    c->now - p->offer_ms <= 10ull * c->o.timing.join_ms &&
	    (is_behind(c) ||
		(p->disk_generation == c->view.at.generation &&
		    p->last >= c->view.at.index));
}

/* Is this disk of the chain's history? */
static enum err
check_disk(struct core *c)
{
	uint64_t last = logcache_last(&c->disk);
	uint8_t hash[32];

	if (is_behind(c) && !holds_point(c))
		return refuse(&c->waiting, REASON_ROLLBACK,
		    "this disk is of generation %llu, the chain of %llu",
		    (unsigned long long)c->disk_generation,
		    (unsigned long long)c->view.at.generation);
	if (c->disk_generation > c->view.at.generation)
		return refuse(&c->waiting, REASON_ROLLBACK,
		    "this disk is of generation %llu, the chain of %llu",
		    (unsigned long long)c->disk_generation,
		    (unsigned long long)c->view.at.generation);
	if (last < c->view.at.index)
		return refuse(&c->waiting, REASON_ROLLBACK,
		    "the anchor is at %llu, this disk ends at %llu",
		    (unsigned long long)c->view.at.index,
		    (unsigned long long)last);
	/* Behind the snapshot: it was checked when it was made. */
	if (logcache_hash(&c->disk, c->view.at.index, hash) && !holds_point(c))
		return refuse(&c->waiting, REASON_ROLLBACK,
		    "at %llu this disk has another history than the anchor",
		    (unsigned long long)c->view.at.index);
	return ERR_OK;
}

/* ERR_OK: this disk is the best of enough. */
static enum err
may_recover(struct core *c)
{
	uint64_t last = own_last(c), term = 0;
	unsigned n = 1;
	enum err e = check_disk(c);

	if (e != ERR_OK)
		return e;
	if (!core_seated(c, &c->o.self))
		return refuse(
		    &c->waiting, REASON_SEAT, "this machine has no seat");
	(void)logcache_term(&c->disk, last, &term);
	for (unsigned i = 0; i < c->n_peers; i++) {
		const struct core_peer *p = &c->peer[i];
		bool again = false;

		if (!counts(c, p))
			continue;
		if (p->disk_generation == c->view.at.generation &&
		    (p->last_term > term ||
			(p->last_term == term && p->last > last)))
			return refuse(&c->waiting, REASON_NOT_BEST,
			    "the disk of %s ends at %llu, this one at %llu",
			    p->who.slot, (unsigned long long)p->last,
			    (unsigned long long)last);
		/* Another life of our slot may have the newer disk, but two
		 * disks of one slot are one. */
		if (strcmp(p->who.slot, c->o.self.slot) == 0)
			continue;
		for (unsigned j = 0; j < i; j++)
			again |= counts(c, &c->peer[j]) &&
			    strcmp(c->peer[j].who.slot, p->who.slot) == 0;
		n += !again;
	}
	if (!c->view.order.lossy && n < disks_needed(c))
		return refuse(&c->waiting, REASON_DISKS,
		    "%u disks are here, %u are needed (or a lossy order)", n,
		    disks_needed(c));
	if (!c->can_write)
		return refuse(&c->waiting, REASON_NOT_READY,
		    "the roots are not here: cannot speak for the cluster");
	return ERR_OK;
}

static void
own_head(const struct core *c, struct anchor_point *out)
{
	*out = (struct anchor_point){ .generation = c->view.at.generation + 1,
		.index = own_last(c) };
	(void)logcache_hash(&c->disk, out->index, out->hash);
}

static bool
is_ours(const struct core *c, const uint8_t incarnation[static 32])
{
	return memcmp(incarnation, c->o.self.incarnation, 32) == 0;
}

/* The ledger counts generations one by one; of one that was lost before it
 * had an entry nothing but its number is known. */
static void
log_generation(struct core *c, uint64_t generation)
{
	struct command cmd = { .kind = COMMAND_GENERATION,
		.time = (uint64_t)c->anchor_wall_s };

	cmd.u.generation.generation = generation;
	if (generation == c->generation) {
		cmd.u.generation.lossy = c->lossy && is_ours(c, c->view.opener);
		memcpy(cmd.u.generation.incarnation, c->view.opener,
		    INCARNATION_ID_LEN);
	}
	memcpy(cmd.u.generation.slot, c->o.self.slot, SLOT_MAX);
	core_log(c, &cmd);
}

/* The chain has opened the generation that we announced: begin it. */
static void
open_generation(struct core *c)
{
	uint64_t g = c->view.at.generation;

	core_start(c, c->view.at.index, g, g << 32 | 1, true);
	c->waiting.code = REASON_NONE;
	core_set_phase(c, CORE_MEMBER);
	log_generation(c, g);
	core_tell(c, true, "generation_opened", c->o.self.slot,
	    "generation %llu at %llu", (unsigned long long)g,
	    (unsigned long long)c->view.at.index);
}

static void
recover(struct core *c)
{
	struct anchor_point head;

	own_head(c, &head);
	if (is_behind(c) && holds_point(c) && is_ours(c, c->view.opener)) {
		open_generation(c);
		return;
	}
	if (!c->view.order.set || !is_ours(c, c->view.order.incarnation)) {
		if (c->phase == CORE_RECOVERING)
			core_set_phase(c, CORE_JOINING);
		return;
	}
	if (may_recover(c) != ERR_OK)
		return;
	core_set_phase(c, CORE_RECOVERING);
	c->lossy = c->view.order.lossy;
	if (!c->view.announced.set ||
	    !is_ours(c, c->view.announced.incarnation) ||
	    !same_point(&c->view.announced.to, &head)) {
		(void)refuse(&c->waiting, REASON_NOT_READY,
		    "announcing generation %llu",
		    (unsigned long long)head.generation);
		(void)write_chain(c, ANCHOR_ANNOUNCE, &head);
		return;
	}
	(void)refuse(&c->waiting, REASON_NOT_READY,
	    "generation %llu may open at %llu, the chain is at %llu",
	    (unsigned long long)head.generation,
	    (unsigned long long)c->view.announced.open_at,
	    (unsigned long long)c->view.block.timestamp);
	if (c->view.block.timestamp >= c->view.announced.open_at)
		(void)write_chain(c, ANCHOR_OPEN, &head);
}

/* ---- a running node ---- */

static void
log_anchored(struct core *c)
{
	struct command cmd = { .kind = COMMAND_ANCHORED,
		.time = (uint64_t)c->anchor_wall_s };

	cmd.u.anchored.generation = c->view.at.generation;
	cmd.u.anchored.index = c->view.at.index;
	memcpy(cmd.u.anchored.hash, c->view.at.hash, 32);
	core_log(c, &cmd);
}

/* I9, I13: the anchored history is ours, as far as we know it. */
static bool
holds_anchor(struct core *c)
{
	uint8_t hash[32];

	if (c->view.at.index > engine_commit(c->engine) ||
	    !engine_hash(c->engine, c->view.at.index, hash) ||
	    memcmp(hash, c->view.at.hash, sizeof hash) == 0)
		return true;
	core_tell(c, true, "anchor_differs", c->o.self.slot,
	    "entry %llu is not the one on chain",
	    (unsigned long long)c->view.at.index);
	core_halt(c, HALT_DIVERGED);
	return false;
}

/* P5: what is critical goes on chain, then counts. */
static void
lead_anchor(struct core *c)
{
	const struct ledger_anchor *known = ledger_anchor(c->ledger);
	struct anchor_point to = { .generation = c->generation };

	if (ledger_index(c->ledger) < c->busy_index)
		return;
	if (ledger_generation(c->ledger) < c->generation) {
		log_generation(c, ledger_generation(c->ledger) + 1);
		return;
	}
	if (c->view.at.generation == c->generation &&
	    (known->generation != c->view.at.generation ||
		known->index < c->view.at.index)) {
		if (c->view.at.index <= ledger_index(c->ledger))
			log_anchored(c);
		return;
	}
	to.index = ledger_critical_index(c->ledger);
	if (c->checkpoint > to.index)
		to.index = c->checkpoint;
	if (to.index <= c->view.at.index ||
	    to.index > ledger_index(c->ledger) ||
	    c->view.at.generation != c->generation)
		return;
	if (engine_hash(c->engine, to.index, to.hash))
		(void)write_chain(c, ANCHOR_ADVANCE, &to);
}

/* P7: somebody announced a recovery, but this cluster lives: a quorum has
 * confirmed us after the chain was read. */
static void
veto(struct core *c)
{
	if (!c->view.announced.set || c->confirmed_ms < c->anchor_ms) {
		if (c->view.announced.set)
			c->wants_round = true;
		return;
	}
	if (write_chain(c, ANCHOR_VETO, &c->view.announced.to))
		core_tell(c, true, "recovery_vetoed", c->o.self.slot,
		    "generation %llu was announced while this one lives",
		    (unsigned long long)c->view.announced.to.generation);
}

static void
genesis_seen(struct core *c)
{
	uint8_t hash[32];

	if (c->view.at.generation == 0)
		return;
	if (c->view.at.generation == 1 &&
	    c->view.at.index <= engine_commit(c->engine) &&
	    engine_hash(c->engine, c->view.at.index, hash) &&
	    memcmp(hash, c->view.at.hash, sizeof hash) == 0) {
		core_set_phase(c, CORE_MEMBER);
		return;
	}
	/* Another genesis won (T12): what we made was never anybody's. */
	core_tell(c, true, "genesis_lost", c->o.self.slot,
	    "the chain names another beginning");
	core_halt(c, HALT_DIVERGED);
}

static bool
same_order(const struct anchor_view *a, const struct anchor_view *b)
{
	return a->order.set == b->order.set &&
	    a->order.lossy == b->order.lossy &&
	    memcmp(a->order.incarnation, b->order.incarnation,
		INCARNATION_ID_LEN) == 0;
}

/* Operators order a recovery, and no quorum has confirmed us since long
 * before: our disk counts once this life, which might yet acknowledge
 * something, is over (P6).  Not for an order that our cluster outlived, and
 * not before it had time to be heard again. */
static bool
gives_way(const struct core *c, uint64_t since)
{
	return c->view.order.set && !c->draining && c->order_ms > since &&
	    c->now - since >= c->o.timing.demote_ms &&
	    c->now - c->order_ms >= 2ull * c->o.timing.evict_ms;
}

void
core_anchor_event(struct core *c, const struct core_event *e)
{
	const struct anchor_view *v = e->anchor.view;

	/* Never back (I11): the chain view sees to it too. */
	if (c->has_view &&
	    (v->at.generation < c->view.at.generation ||
		(v->at.generation == c->view.at.generation &&
		    v->at.index < c->view.at.index)))
		return;
	if (!c->has_view || !same_order(&c->view, v))
		c->order_ms = c->now;
	c->view = *v;
	c->has_view = true;
	c->anchor_ms = e->anchor.asked_ms;
	c->anchor_wall_s = e->anchor.wall_s;
	if (c->phase == CORE_WAITING && v->at.generation > 0)
		core_set_phase(c, CORE_JOINING);
	if (c->engine != NULL && c->phase != CORE_GENESIS &&
	    v->at.generation > c->generation) {
		core_tell(c, true, "generation_passed", c->o.self.slot,
		    "the chain is at generation %llu, this node at %llu",
		    (unsigned long long)v->at.generation,
		    (unsigned long long)c->generation);
		core_halt(c, HALT_GENERATION);
	}
}

void
core_anchor_tick(struct core *c)
{
	uint64_t since =
	    c->confirmed_ms > c->started_ms ? c->confirmed_ms : c->started_ms;

	if (!c->has_view)
		return;
	if (c->engine != NULL && c->phase == CORE_GENESIS) {
		genesis_seen(c);
		return;
	}
	if (c->o.unsafe_plain)
		return;
	if (c->engine == NULL) {
		if (c->phase == CORE_JOINING || c->phase == CORE_RECOVERING)
			recover(c);
		return;
	}
	if (gives_way(c, since)) {
		core_tell(c, true, "gave_way", c->o.self.slot,
		    "a recovery is ordered, and no quorum has been heard of "
		    "for %llu ms",
		    (unsigned long long)(c->now - since));
		core_halt(c, HALT_GAVE_WAY);
		return;
	}
	if (!holds_anchor(c) || !core_leads(c) || c->phase != CORE_MEMBER)
		return;
	veto(c);
	lead_anchor(c);
}
