#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/crypto/hash.h"
#include "common/net/httpd.h"
#include "kms/service/admin.h"
#include "kms/service/auditpage.h"
#include "kms/service/clusterpage.h"
#include "kms/service/epochpage.h"
#include "kms/service/floors.h"
#include "kms/service/genesispage.h"
#include "kms/service/leasepage.h"
#include "kms/service/selfpage.h"
#include "node/harden/harden.h"

#define RENDER_MS 500
#define PAGE_LIFE_MS 5000
#define DIGEST_OFTEN 1000 /* counters */
#define DIGEST_MS 10000

struct admin {
	struct admin_options o;
	struct httpd *http; /* owns */
	uint64_t started_ms;
	uv_timer_t timer;
	uv_work_t work;
	bool working, stopping, timer_closed;
	void (*done)(void *cookie);
	void *done_cookie;
	/* What the worker found out about ourselves and the chain; it may take
	 * as long as the chain does, and the pages do not wait for it. */
	struct look {
		bool has_self, has_block, has_allowed;
		bool allowed;
		struct attested self;
		struct refusal self_why, chain_why;
		struct chain_block block;
	} look, next; /* `next` is the worker's while it works */
	struct genesispage page; /* the same */
	struct auditpage *audit; /* owns */
	bool has_genesis; /* as of the last time that it was not */
	pthread_mutex_t lock; /* of the pages */
	struct buf status, metrics, genesis;
	uint64_t rendered_ms; /* on the clock that no freeze stops */
	const char *obstacle; /* to giving keys; NULL: none */
	uint8_t digest[32];
	uint64_t digest_index, digest_ms;
	/* Asked for by an operator, on a handler's thread. */
	_Atomic bool wants_drain, wants_checkpoint;
};

/* ---- pages, rendered on the loop ---- */

/* Waiting for the contract is told once /genesis can be read, too; and who has
 * everything but a first lease gives no keys yet. */
static const char *
shown_phase(const struct admin *a)
{
	enum cluster_phase p = cluster_phase(a->o.cluster);

	if (p == PHASE_READY && leasepage_waits(a->o.cluster))
		return "checkin";
	return cluster_phase_text(
	    p == PHASE_GENESIS && !a->has_genesis ? PHASE_STARTING : p);
}

/* What stands in the way of giving keys, in a few words; NULL: nothing.  It
 * may be cut off, and serve nobody. */
static const char *
obstacle(const struct admin *a)
{
	if (cluster_phase(a->o.cluster) != PHASE_READY)
		return "phase";
	if (cluster_serves(a->o.cluster, NULL) != ERR_OK)
		return "no quorum";
	if (!leasepage_good(a->o.cluster))
		return "no lease";
	return a->look.has_allowed && a->look.allowed ? NULL : "not allowed";
}

static enum err
add_self(json_t *root, const struct look *l)
{
	json_t *o = json_object();
	enum err e = ERR_OK;

	if (l->has_self)
		e = selfpage_measurements(o, &l->self.boot);
	if (e == ERR_OK)
		e = json_set_new(o, "allowed",
		    l->has_allowed ? json_boolean(l->allowed) : json_null());
	if (e == ERR_OK)
		e = json_set_new(o, "reason",
		    l->self_why.code != REASON_NONE
			? json_string(l->self_why.detail)
			: json_null());
	if (e != ERR_OK) {
		json_decref(o);
		return e;
	}
	return json_set_new(root, "self", o);
}

static enum err
add_chain(json_t *root, const struct admin *a)
{
	const struct kmsd_config *c = a->o.cfg;
	const struct look *l = &a->look;
	json_t *o = json_object();
	enum err e;

	(void)!json_set_new(root, "chain", o);
	if ((e = json_set_u64(o, "chain_id", c->chain_id)) != ERR_OK ||
	    (e = json_set_hex(o, "kms_contract", c->kms_contract, 20)) !=
		ERR_OK ||
	    (e = json_set_hex(o, "anchor_contract", c->anchor_contract, 20)) !=
		ERR_OK ||
	    (e = json_set_u64(o, "quorum", c->rpc_quorum)) != ERR_OK ||
	    (e = json_set_u64(o, "endpoints", c->n_rpcs)) != ERR_OK)
		return e;
	if (l->has_block) {
		int64_t age = clock_wall_s() - (int64_t)l->block.timestamp;

		if ((e = json_set_u64(o, "block_number", l->block.number)) !=
			ERR_OK ||
		    (e = json_set_hex(o, "block_hash", l->block.hash, 32)) !=
			ERR_OK ||
		    (e = json_set_new(o, "block_age_s", json_integer(age))) !=
			ERR_OK)
			return e;
	}
	return json_set_new(o, "error",
	    l->has_block ? json_null()
			 : json_string(reason_label(l->chain_why.code)));
}

/* The digest costs a pass over the state: not oftener than it is worth. */
static void
look_at_digest(struct admin *a)
{
	const struct ledger *l = core_ledger(cluster_core(a->o.cluster));
	uint64_t now = clock_mono_ms();

	if (ledger_index(l) == a->digest_index ||
	    (ledger_n_counters(l) > DIGEST_OFTEN &&
		now - a->digest_ms < DIGEST_MS))
		return;
	if (ledger_digest(l, a->digest) == ERR_OK) {
		a->digest_index = ledger_index(l);
		a->digest_ms = now;
	}
}

static json_t *
refusals_json(const struct admin *a, const struct channel_stats *cs)
{
	json_t *o = json_object();

	for (unsigned i = 1; i < REASON_COUNT; i++) {
		uint64_t n =
		    atomic_load(&a->o.metrics->refusals[i]) + cs->refusals[i];

		if (n > 0)
			(void)!json_set_u64(o, reason_label((enum reason)i), n);
	}
	return o;
}

static enum err
render_status(struct admin *a, const struct channel_stats *cs, struct buf *out)
{
	const struct ledger *l = core_ledger(cluster_core(a->o.cluster));
	json_t *root = json_object();
	uint8_t fp[32];
	enum err e = ERR_NOMEM;

	if (root == NULL)
		return e;
	look_at_digest(a);
	if ((e = json_set_str(root, "version", KMSD_VERSION)) != ERR_OK ||
	    (e = json_set_str(root, "slot", a->o.cfg->slot)) != ERR_OK ||
	    (e = json_set_str(root, "phase", shown_phase(a))) != ERR_OK ||
	    (e = json_set_hex(root, "incarnation",
		 core_self(cluster_core(a->o.cluster))->incarnation, 32)) !=
		ERR_OK ||
	    (e = json_set_u64(root, "uptime_s",
		 (clock_mono_ms() - a->started_ms) / 1000)) != ERR_OK ||
	    (e = json_set_u64(root, "listen_port",
		 channel_server_port(a->o.server))) != ERR_OK ||
	    (e = json_set_bool(root, "simulated", a->o.cfg->simulated)) !=
		ERR_OK)
		goto done;
	if (a->o.simulated_root.len > 0) {
		sha256(fp, a->o.simulated_root.p, a->o.simulated_root.len);
		e = json_set_hex(root, "simulated_root", fp, 32);
	} else {
		e = json_set_new(root, "simulated_root", json_null());
	}
	if (e != ERR_OK || (e = add_self(root, &a->look)) != ERR_OK ||
	    (e = add_chain(root, a)) != ERR_OK ||
	    (e = json_set_new(
		 root, "epochs", epochpage_epochs(a->o.cluster))) != ERR_OK ||
	    (e = json_set_new(root, "policy",
		 selfpage_policy(&a->o.cfg->policy))) != ERR_OK ||
	    (e = json_set_new(root, "hardening", harden_page())) != ERR_OK ||
	    (e = json_set_new(root, "eval_floors",
		 floors_json(verifier_floors(a->o.verifier)))) != ERR_OK ||
	    (e = json_set_new(
		 root, "peers", clusterpage_peers(a->o.cluster))) != ERR_OK ||
	    (e = json_set_u64(root, "sessions", cs->sessions_open)) != ERR_OK ||
	    (e = json_set_u64(root, "half_open", cs->half_open)) != ERR_OK ||
	    (e = json_set_new(
		 root, "cluster", clusterpage_json(a->o.cluster))) != ERR_OK ||
	    (e = json_set_u64(root, "records", ledger_audit_count(l))) !=
		ERR_OK ||
	    (e = json_set_hex(root, "digest", a->digest, 32)) != ERR_OK ||
	    (e = json_set_u64(root, "digest_index", a->digest_index)) !=
		ERR_OK ||
	    (e = json_set_u64(root, "releases",
		 atomic_load(&a->o.metrics->answered[RQ_GET_APP_KEYS]))) !=
		ERR_OK ||
	    (e = json_set_new(root, "refusals", refusals_json(a, cs))) !=
		ERR_OK)
		goto done;
	e = json_write_pretty(out, root);
	if (e == ERR_OK)
		e = buf_printf(out, "\n");
done:
	json_decref(root);
	return e;
}

static enum err
render_metrics(struct admin *a, const struct channel_stats *cs, struct buf *out)
{
	const struct ledger *ledger = core_ledger(cluster_core(a->o.cluster));
	const struct look *l = &a->look;
	struct links_peer peer[KMSD_PEERS];
	struct gate_stats gs;
	struct metrics_cluster mc;
	struct pccs_stats ps;
	struct endpoint_count ends[LIMIT_CHAIN_ENDPOINTS];
	struct metrics_gauges g = {
		.phase_ready = cluster_phase(a->o.cluster) == PHASE_READY &&
		    cluster_serves(a->o.cluster, NULL) == ERR_OK &&
		    leasepage_good(a->o.cluster),
		.chain_block = l->has_block ? l->block.number : 0,
		.chain_age_s = l->has_block
		    ? clock_wall_s() - (int64_t)l->block.timestamp
		    : -1,
		.sessions = cs->sessions_open,
		.half_open = cs->half_open,
		.connections = cs->accepted,
		.handshakes_failed = cs->handshake_failed,
		.closed_rate = cs->refused_rate,
		.closed_budget = cs->refused_budget,
		.muted = cs->muted,
		.log_suppressed = log_suppressed(),
		.records = ledger_audit_count(ledger),
		.epochs = ledger_n_epochs(ledger),
		.channel_refusals = cs->refusals,
		.gate_refusals = gs.by_reason,
		.cluster = &mc,
		.endpoint = ends,
		.n_endpoints = chainview_endpoint_counts(a->o.view, ends),
	};
	size_t n = links_peers(cluster_links(a->o.cluster), peer, KMSD_PEERS);

	gate_stats(a->o.gate, &gs);
	verifier_pccs_stats(&ps, a->o.verifier);
	g.collateral_fetches = ps.fetches;
	g.collateral_unknown = ps.unknown;
	clusterpage_metrics(a->o.cluster, &mc);
	for (size_t i = 0; i < n; i++)
		g.peers_connected += peer[i].connected;
	return metrics_render(out, a->o.metrics, &g);
}

static void
publish(struct admin *a)
{
	struct buf status = { 0 }, metrics = { 0 }, genesis = { 0 };
	struct channel_stats cs;

	log_tick();
	channel_server_stats(a->o.server, &cs);
	auditpage_update(a->audit, core_ledger(cluster_core(a->o.cluster)));
	if (!a->working)
		a->has_genesis = genesispage_ready(&a->page);
	if (render_status(a, &cs, &status) != ERR_OK ||
	    render_metrics(a, &cs, &metrics) != ERR_OK ||
	    (!a->working &&
		genesispage_render(&genesis, &a->page,
		    core_self(cluster_core(a->o.cluster))->incarnation) !=
		    ERR_OK)) {
		log_plain(LOG_WARN, "status_not_rendered");
	} else {
		struct buf old[3];

		(void)pthread_mutex_lock(&a->lock);
		old[0] = a->status;
		old[1] = a->metrics;
		old[2] = a->working ? genesis : a->genesis;
		a->status = status;
		a->metrics = metrics;
		if (!a->working)
			a->genesis = genesis;
		a->rendered_ms = clock_boot_ms();
		a->obstacle = obstacle(a);
		(void)pthread_mutex_unlock(&a->lock);
		status = old[0];
		metrics = old[1];
		genesis = old[2];
	}
	buf_fini(&status);
	buf_fini(&metrics);
	buf_fini(&genesis);
}

/* ---- a look at ourselves and the chain, on a worker ---- */

static void
run_look(uv_work_t *w)
{
	struct admin *a = w->data;
	struct look *l = &a->next;
	int64_t now = clock_wall_s();
	enum err e;

	l->has_block =
	    chainview_get(a->o.view, now, &l->block, &l->chain_why) == ERR_OK;
	l->self_why.code = REASON_NONE;
	e = self_attested(a->o.self, &l->self, now, &l->self_why);
	l->has_self = e == ERR_OK;
	if (e == ERR_OK)
		e = self_allowed(a->o.self, now, &l->self_why);
	l->has_allowed = e == ERR_OK || e == ERR_DENIED;
	l->allowed = e == ERR_OK;
	genesispage_quote(&a->page, a->o.cfg, a->o.self,
	    core_self(cluster_core(a->o.cluster))->incarnation);
}

static void
maybe_done(struct admin *a)
{
	if (a->stopping && a->timer_closed && !a->working && a->done != NULL)
		a->done(a->done_cookie);
}

static void
after_look(uv_work_t *w, int status)
{
	struct admin *a = w->data;

	a->working = false;
	if (status == 0)
		a->look = a->next;
	if (status == 0 && !a->stopping)
		publish(a);
	maybe_done(a);
}

static void
on_timer(uv_timer_t *t)
{
	struct admin *a = t->data;

	if (a->stopping)
		return;
	if (atomic_exchange(&a->wants_drain, false))
		cluster_drain(a->o.cluster);
	if (atomic_exchange(&a->wants_checkpoint, false))
		cluster_checkpoint(a->o.cluster);
	if (a->working) {
		/* Before the first look there is nothing to show. */
		if (a->status.len > 0)
			publish(a);
		return;
	}
	genesispage_update(&a->page, a->o.cluster);
	a->work.data = a;
	if (uv_queue_work(a->o.loop, &a->work, run_look, after_look) == 0)
		a->working = true;
}

/* ---- HTTP ---- */

/* A page that the loop has not renewed for so long says nothing about now:
 * the loop is stuck, or the VM was frozen and has just gone on. */
static bool
is_old(const struct admin *a)
{
	return clock_boot_ms() - a->rendered_ms > PAGE_LIFE_MS;
}

static void
give(struct admin *a, struct httpd_reply *rp, const struct buf *page,
    const char *type)
{
	rp->content_type = type;
	(void)pthread_mutex_lock(&a->lock);
	if (page->len == 0 || is_old(a))
		rp->status = 503;
	else if (buf_set(&rp->body, page->p, page->len) != ERR_OK)
		rp->status = 500;
	(void)pthread_mutex_unlock(&a->lock);
}

/* What an operator of this node may order: to leave in an orderly way, and
 * to anchor what is committed.  Neither touches keys or policy. */
static void
on_post(struct admin *a, const struct httpd_request *rq, struct httpd_reply *rp)
{
	if (strcmp(rq->path, "/drain") == 0) {
		atomic_store(&a->wants_drain, true);
	} else if (strcmp(rq->path, "/checkpoint") == 0) {
		atomic_store(&a->wants_checkpoint, true);
	} else {
		rp->status = strcmp(rq->path, "/status") == 0 ? 405 : 404;
		return;
	}
	rp->content_type = "text/plain";
	(void)!buf_printf(&rp->body, "ok\n");
}

static void
on_http(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	struct admin *a = cookie;
	const char *no;

	if (strcmp(rq->method, "POST") == 0) {
		on_post(a, rq, rp);
		return;
	}
	if (strcmp(rq->method, "GET") != 0) {
		rp->status = 405;
		return;
	}
	if (strcmp(rq->path, "/status") == 0) {
		give(a, rp, &a->status, "application/json");
	} else if (strcmp(rq->path, "/metrics") == 0) {
		give(a, rp, &a->metrics, "text/plain; version=0.0.4");
	} else if (strcmp(rq->path, "/audit") == 0) {
		auditpage_reply(a->audit, httpd_query(rq, "from"), rp);
	} else if (strcmp(rq->path, "/genesis") == 0) {
		give(a, rp, &a->genesis, "application/json");
		if (rp->status == 503)
			rp->status = 404;
	} else if (strcmp(rq->path, "/healthz") == 0) {
		rp->content_type = "text/plain";
		(void)!buf_printf(&rp->body, "ok\n");
	} else if (strcmp(rq->path, "/readyz") == 0) {
		(void)pthread_mutex_lock(&a->lock);
		no = is_old(a) ? "no news" : a->obstacle;
		(void)pthread_mutex_unlock(&a->lock);
		rp->content_type = "text/plain";
		rp->status = no == NULL ? 200 : 503;
		(void)!buf_printf(&rp->body, "%s%s\n",
		    no == NULL ? "ready" : "not ready: ", no == NULL ? "" : no);
	} else {
		rp->status = 404;
	}
}

enum err
admin_start(struct admin **out, const struct admin_options *o)
{
	struct admin *a = calloc(1, sizeof *a);
	const struct httpd_options ho = { .host = o->cfg->admin_host,
		.port = o->cfg->admin_port,
		.max_body = 1024,
		.max_connections = 32,
		.timeout_s = 10,
		.threads = 1 };
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	a->o = *o;
	a->started_ms = clock_mono_ms();
	a->obstacle = "starting";
	if (pthread_mutex_init(&a->lock, NULL) != 0) {
		free(a);
		return ERR_NOMEM;
	}
	if ((e = auditpage_new(&a->audit)) != ERR_OK) {
		admin_free(a);
		return e;
	}
	if ((e = httpd_start(&a->http, &ho, on_http, a)) != ERR_OK) {
		admin_free(a);
		return e;
	}
	(void)uv_timer_init(o->loop, &a->timer);
	a->timer.data = a;
	(void)uv_timer_start(&a->timer, on_timer, 0, RENDER_MS);
	*out = a;
	return ERR_OK;
}

void
admin_over(struct admin *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->obstacle = "halted";
	a->status.len = a->metrics.len = a->genesis.len = 0;
	(void)pthread_mutex_unlock(&a->lock);
}

uint16_t
admin_port(const struct admin *a)
{
	return httpd_port(a->http);
}

static void
on_timer_closed(uv_handle_t *h)
{
	struct admin *a = h->data;

	a->timer_closed = true;
	maybe_done(a);
}

void
admin_stop(struct admin *a, void (*done)(void *), void *cookie)
{
	httpd_stop(a->http);
	a->http = NULL;
	a->stopping = true;
	a->done = done;
	a->done_cookie = cookie;
	uv_close((uv_handle_t *)&a->timer, on_timer_closed);
}

void
admin_free(struct admin *a)
{
	if (a == NULL)
		return;
	httpd_stop(a->http);
	genesispage_fini(&a->page);
	auditpage_free(a->audit);
	buf_fini(&a->status);
	buf_fini(&a->metrics);
	buf_fini(&a->genesis);
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}
