/* A look at ourselves, at the chain and at the other members, on a worker;
 * what it found goes to the core on the loop. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"

#define OUTVOTED_MS 60000u /* between lines that say the same */

/* ---- on the worker ---- */

static enum err
read_root(struct watch *w, int64_t now)
{
	struct gate_kms_info info;
	struct chain_block at;
	struct k256_pub pub;
	enum err e = gate_kms_info(w->c->o.gate, now, &info, &at, &w->why);

	if (e != ERR_OK)
		return e;
	w->chain_has_root = info.k256_pub_len > 0;
	if (w->chain_has_root &&
	    k256_pub_parse(&pub, info.k256_pub, info.k256_pub_len) != ERR_OK)
		return refuse(&w->why, REASON_CHAIN_ANSWER,
		    "kmsInfo names no secp256k1 key");
	if (w->chain_has_root)
		memcpy(w->chain_root, pub.b, sizeof w->chain_root);
	w->has_root_info = true;
	return ERR_OK;
}

/* Generations overlap unless every node is silent before the next may open
 * (P7): a view that is fence_s old must be older than any announcement that
 * has come of age. */
static enum err
fence_fits(struct watch *w)
{
	uint64_t fence = w->c->o.cfg->fence_s;

	if (fence * 4 <= w->anchor.wait_s * 3)
		return ERR_OK;
	return refuse(&w->why, REASON_FENCED,
	    "chain.fence_s is %llu, the anchor's wait %llu s: at most 3/4 of "
	    "it",
	    (unsigned long long)fence, (unsigned long long)w->anchor.wait_s);
}

/* When what was read was so: at its block, not when we asked. */
static uint64_t
view_ms(const struct watch *w, const struct chain_block *at)
{
	int64_t age = chainview_now(w->c->o.view, clock_wall_s()) -
	    (int64_t)at->timestamp;
	uint64_t ms = age > 0 ? (uint64_t)age * 1000 : 0;

	return ms < w->asked_ms ? w->asked_ms - ms : 0;
}

/* First roots, when nobody has any: the anchor is empty and the contract
 * names none (P0). */
static void
make_roots(struct watch *w)
{
	if (!w->may_make || w->anchor.at.generation != 0 || w->chain_has_root ||
	    w->self_denied)
		return;
	wrap_key_generate(&w->made_key);
	if (epoch_roots_generate(&w->made, 0) != ERR_OK)
		w->made = NULL;
}

static void
run(uv_work_t *work)
{
	struct watch *w = work->data;
	struct cluster *c = w->c;
	int64_t now = clock_wall_s();
	struct gate_decision d;
	enum err e;

	w->asked_ms = clock_boot_ms();
	w->has_self =
	    self_attested(c->o.self, &w->self, now, &w->why) == ERR_OK;
	if (!w->has_self)
		return;
	e = self_allowed(c->o.self, now, &w->why);
	w->self_denied = e == ERR_DENIED;
	w->has_anchor = anchor_read_noting(c->o.anchor, now, &w->anchor, w->odd,
			    &w->why) == ERR_OK &&
	    fence_fits(w) == ERR_OK;
	if (w->has_anchor)
		leaserun_look(w, now);
	if (!w->has_anchor || read_root(w, now) != ERR_OK)
		return;
	w->has_registry = c->o.registry != NULL &&
	    registry_read(c->o.registry, now, &w->registry, &w->registry_at,
		&w->registry_why) == ERR_OK;
	for (unsigned i = 0; i < w->n_peers; i++) {
		struct refusal why = { 0 };

		e = gate_ask(
		    c->o.gate, GATE_KMS, &w->peer[i].boot, now, &d, &why);
		w->peer[i].asked = e == ERR_OK || e == ERR_DENIED;
		w->peer[i].denied = e == ERR_DENIED;
	}
	make_roots(w);
}

/* ---- on the loop ---- */

/* Who we are is known once our own evidence was verified: boot then. */
static void
boot(struct cluster *c, const struct watch *w)
{
	struct core_event e = { .kind = CORE_BOOT };

	if (c->booted || c->o.disk_trouble != ERR_OK)
		return;
	memcpy(c->self.device_id, w->self.boot.device_id, 32);
	memcpy(c->self.mr_aggregated, w->self.boot.mr_aggregated, 32);
	e.boot.self = &c->self;
	e.boot.generation = c->disk.found ? c->disk.generation : 0;
	e.boot.log = c->disk.log;
	secret_random(e.boot.nonce, sizeof e.boot.nonce);
	cluster_event(c, &e);
	disklog_boot_fini(&c->disk);
	c->booted = true;
}

static void
begin_genesis(struct cluster *c, struct watch *w)
{
	struct command cmd = { .kind = COMMAND_EPOCH,
		.time = (uint64_t)clock_wall_s() };
	struct core_event e = { .kind = CORE_BEGIN };
	struct buf b = { 0 };
	struct bytes data;

	epoch_roots_public(w->made, &cmd.u.epoch.pub);
	if (wrap_roots(cmd.u.epoch.wrapped, &w->made_key, w->made) != ERR_OK ||
	    command_write(&b, &cmd) != ERR_OK ||
	    keystore_put(c, 0, &w->made_key, &cmd.u.epoch.pub,
		cmd.u.epoch.wrapped) != ERR_OK) {
		buf_fini(&b);
		return;
	}
	data = buf_view(&b);
	e.begin.command = &data;
	e.begin.n = 1;
	c->made = true;
	cluster_event(c, &e);
	buf_fini(&b);
}

/* Roots here that are not the chain's: a genesis that lost, or the disk of
 * another cluster. */
static void
check_roots(struct cluster *c)
{
	struct refusal why;

	if (!c->chain_has_root || !c->has_wrap[0] || keystore_confirmed(c))
		return;
	(void)refuse(&why, REASON_ROOT_MISMATCH,
	    "the roots here are not the contract's: destroyed");
	log_event(LOG_ERROR, "roots_dropped", log_why(&why));
	keystore_forget(c, 0);
}

static void
tell_genesis_done(struct cluster *c)
{
	struct refusal why;

	if (!c->o.cfg->genesis || c->made || c->told_genesis_done ||
	    !c->chain_has_root)
		return;
	(void)refuse(&why, REASON_GENESIS_DONE,
	    "genesis is configured, but a root is on chain: joining");
	log_event(LOG_WARN, "genesis_refused", log_why(&why));
	c->told_genesis_done = true;
}

/* An endpoint that tells another anchor than the quorum changes nothing; its
 * operator should know.  One line a minute while it goes on. */
static void
tell_outvoted(struct cluster *c, const struct watch *w)
{
	uint64_t now = clock_boot_ms();

	if (strcmp(w->odd, c->told_odd) == 0 &&
	    (w->odd[0] == '\0' || now - c->told_odd_ms < OUTVOTED_MS))
		return;
	if (w->odd[0] != '\0')
		log_event(LOG_WARN, "endpoint_outvoted",
		    log_str("endpoints", w->odd));
	else
		log_event(LOG_INFO, "endpoints_agree",
		    log_str("before", c->told_odd));
	memcpy(c->told_odd, w->odd, sizeof c->told_odd);
	c->told_odd_ms = now;
}

static void
say_can_write(struct cluster *c)
{
	struct core_event e = { .kind = CORE_CAN_WRITE };
	struct k256_secret k;

	e.can_write = cluster_anchor_key(c, &k);
	k256_secret_wipe(&k);
	cluster_event(c, &e);
}

static void
see_registry(struct cluster *c, const struct watch *w)
{
	struct core_event e = { .kind = CORE_REGISTRY,
		.registry = { .state = &w->registry,
		    .block = &w->registry_at,
		    .asked_ms = view_ms(w, &w->registry_at),
		    .wall_s = clock_wall_s() } };

	c->info.has_registry = c->o.registry != NULL;
	c->info.registry_error = w->registry_why.code;
	if (!w->has_registry)
		return;
	c->info.registry_error = REASON_NONE;
	c->info.registry_read = clock_wall_s();
	cluster_event(c, &e);
}

static void
apply_outcome(struct cluster *c, struct watch *w)
{
	struct core_event e = { .kind = CORE_ANCHOR };

	if (w->has_self)
		boot(c, w);
	c->info.self_denied = w->self_denied;
	if (w->has_root_info) {
		c->chain_has_root = w->chain_has_root;
		memcpy(c->chain_root, w->chain_root, sizeof c->chain_root);
		check_roots(c);
		tell_genesis_done(c);
	}
	c->info.anchor_error = w->has_anchor ? REASON_NONE : w->why.code;
	if (w->has_anchor) {
		c->info.has_block = true;
		c->info.block = w->anchor.block;
		tell_outvoted(c, w);
	}
	if (w->has_anchor)
		memcpy(c->signer, w->anchor.signer, sizeof c->signer);
	leaserun_seen(c, w);
	if (w->has_anchor && c->booted) {
		c->info.anchor_read = clock_wall_s();
		e.anchor.view = &w->anchor;
		e.anchor.asked_ms = view_ms(w, &w->anchor.block);
		e.anchor.wall_s = clock_wall_s();
		cluster_event(c, &e);
		say_can_write(c);
		see_registry(c, w);
	}
	for (unsigned i = 0; i < w->n_peers; i++) {
		if (!w->peer[i].asked)
			continue;
		e = (struct core_event){ .kind = CORE_PEER_DENIED,
			.denied = { .incarnation = w->peer[i].incarnation,
			    .denied = w->peer[i].denied } };
		cluster_event(c, &e);
		if (w->peer[i].denied)
			links_drop(c->links, w->peer[i].incarnation);
	}
	e = (struct core_event){ .kind = CORE_MAY_LEAD,
		.may_lead = !w->self_denied };
	cluster_event(c, &e);
	if (w->made != NULL && !c->made && core_phase(c->core) == CORE_WAITING)
		begin_genesis(c, w);
	keystore_adopt(c);
	e = (struct core_event){ .kind = CORE_KEY_KEPT,
		.kept = keystore_kept(c) };
	cluster_event(c, &e);
	floorsync_adopt(c);
	floorsync_propose(c);
	if (w->why.code == REASON_NONE)
		w->why = w->registry_why;
	if (w->why.code != REASON_NONE && cluster_phase(c) != PHASE_READY)
		cluster_tell(c, &w->why);
}

static void
after(uv_work_t *work, int status)
{
	struct watch *w = work->data;
	struct cluster *c = w->c;

	c->watch = NULL;
	if (status == 0 && !c->stopping && !c->halted)
		apply_outcome(c, w);
	epoch_roots_free(w->made);
	wrap_key_wipe(&w->made_key);
	free(w);
	if (!c->stopping && !c->halted)
		handover_begin(c);
	cluster_maybe_done(c);
}

static void
list_peer(struct cluster *c, struct watch *w,
    const uint8_t id[static INCARNATION_ID_LEN])
{
	struct attested *a;

	for (unsigned i = 0; i < w->n_peers; i++)
		if (memcmp(w->peer[i].incarnation, id, INCARNATION_ID_LEN) == 0)
			return;
	if (w->n_peers == ENGINE_MEMBERS_MAX ||
	    memcmp(id, c->self.incarnation, INCARNATION_ID_LEN) == 0 ||
	    (a = malloc(sizeof *a)) == NULL)
		return;
	if (links_attested(c->links, a, id)) {
		memcpy(w->peer[w->n_peers].incarnation, id, INCARNATION_ID_LEN);
		w->peer[w->n_peers++].boot = a->boot;
	}
	free(a);
}

/* The members, and whoever else we are connected to: one that was removed
 * because it was denied must be heard again once it is not, or it never
 * learns that it is a member no more. */
static void
list_peers(struct cluster *c, struct watch *w)
{
	const struct engine_config *k;
	struct links_peer peer[KMSD_PEERS];
	size_t n = links_peers(c->links, peer, KMSD_PEERS);

	if (core_engine(c->core) == NULL)
		return;
	k = engine_config(core_engine(c->core));
	for (unsigned i = 0; i < k->n; i++) {
		const char *hex = strchr(k->member[i].address, '/');
		uint8_t id[INCARNATION_ID_LEN];

		if (hex != NULL && hex_fixed(id, sizeof id, hex + 1) == ERR_OK)
			list_peer(c, w, id);
	}
	for (size_t i = 0; i < n; i++)
		if (peer[i].connected)
			list_peer(c, w, peer[i].incarnation);
}

void
watch_begin(struct cluster *c)
{
	struct watch *w;

	if (c->watch != NULL || c->stopping || c->halted ||
	    (w = calloc(1, sizeof *w)) == NULL)
		return;
	w->c = c;
	w->work.data = w;
	w->may_make = c->o.cfg->genesis && !c->made;
	list_peers(c, w);
	leaserun_list(c, w);
	if (uv_queue_work(c->o.loop, &w->work, run, after) == 0)
		c->watch = w;
	else
		free(w);
}
