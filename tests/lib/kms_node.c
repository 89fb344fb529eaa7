#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/secret.h"
#include "kms/service/public.h"
#include "tests/lib/kms_node.h"

#define WATCH_MS 50 /* a test does not want to wait for half a second */
#define STORE_MAP_MAX (64u << 20)

struct kms_node {
	struct kmsd_config cfg;
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	struct chainview *view;
	struct gate *gate;
	struct anchor *anchor;
	struct registry *registry; /* NULL: there is none */
	struct self *self;
	struct channel_context cx;
	struct store *store; /* owns; NULL: no disk */
	struct keyring *keyring;
	struct incarnation *incarnation;
	struct cluster *cluster;
	struct metrics metrics;
	struct service *service;
	struct channel_server *server;
	struct public *public;
	char url[64];
	_Atomic int halt; /* enum core_halt */
	/* What the loop is asked to do. */
	void (*task)(struct kms_node *n);
	void (*fn)(struct cluster *c, void *arg);
	void *arg;
	struct links_stats links_stats;
	sem_t done;
};

static void
on_async(uv_async_t *a)
{
	struct kms_node *n = a->data;

	if (n->task == NULL)
		return;
	n->task(n);
	n->task = NULL;
	(void)sem_post(&n->done);
}

static void
on_loop(struct kms_node *n, void (*task)(struct kms_node *n))
{
	n->task = task;
	cr_assert_eq(uv_async_send(&n->async), 0);
	while (sem_wait(&n->done) != 0)
		;
}

static void *
run(void *arg)
{
	struct kms_node *n = arg;

	(void)uv_run(&n->loop, UV_RUN_DEFAULT);
	return NULL;
}

/* ---- start ---- */

static void
open_registry(struct kms_node *n, struct kms_world *w)
{
	struct registry_options o = { .view = n->view,
		.chain_id = KMS_CHAIN_ID,
		.urls = mock_urls(w->chain),
		.n_urls = 1,
		.timeout_ms = 20000 };

	memcpy(o.contract, kms_world_registry_contract, sizeof o.contract);
	memcpy(o.kms, kms_world_contract, sizeof o.kms);
	memcpy(o.anchor, kms_world_anchor_contract, sizeof o.anchor);
	cr_assert_eq(registry_new(&n->registry, &o), ERR_OK);
}

static void
open_chain(struct kms_node *n, struct kms_world *w)
{
	struct chainview_options o = { .urls = mock_urls(w->chain),
		.n = 1,
		.quorum = 1,
		.chain_id = KMS_CHAIN_ID,
		.tag = CHAIN_FINALIZED,
		.max_age_s = UINT32_MAX,
		.poll_ms = KMS_POLL_MS,
		.timeout_ms = 20000,
		.mono_ms = kms_world_mono };
	struct anchor_options ao = { .chain_id = KMS_CHAIN_ID,
		.urls = mock_urls(w->chain),
		.n_urls = 1,
		.timeout_ms = 20000 };

	cr_assert_eq(chainview_new(&n->view, &o), ERR_OK);
	ao.view = n->view;
	memcpy(ao.contract, kms_world_anchor_contract, sizeof ao.contract);
	memcpy(ao.kms, kms_world_contract, sizeof ao.kms);
	cr_assert_eq(anchor_new(&n->anchor, &ao), ERR_OK);
	cr_assert_eq(gate_new(&n->gate, n->view, kms_world_contract), ERR_OK);
	if (w->has_registry)
		open_registry(n, w);
}

static void
configure(struct kms_node *n, const struct kms_world *w, const char *slot,
    bool genesis, bool seal)
{
	struct kmsd_config *c = &n->cfg;
	unsigned own = (unsigned)(slot[0] - 'a');

	cr_assert(own < KMS_SLOTS && slot[1] == '\0');
	(void)snprintf(c->slot, sizeof c->slot, "%s", slot);
	(void)snprintf(c->listen, sizeof c->listen, "%s", w->url[own]);
	(void)snprintf(n->url, sizeof n->url, "%s", w->url[own]);
	cr_assert_eq(
	    file_join(c->data_dir, sizeof c->data_dir, w->sim.dir, slot),
	    ERR_OK);
	c->genesis = genesis;
	c->seal = seal;
	for (unsigned i = 0; i < KMS_SLOTS; i++)
		if (i != own)
			(void)snprintf(c->peer[c->n_peers++], KMSD_URL_MAX,
			    "%s", w->url[i]);
	c->chain_id = KMS_CHAIN_ID;
	memcpy(c->kms_contract, kms_world_contract, 20);
	memcpy(c->anchor_contract, kms_world_anchor_contract, 20);
	c->has_registry = w->has_registry;
	memcpy(c->registry_contract, kms_world_registry_contract, 20);
	c->fence_s = KMS_FENCE_S;
	(void)snprintf(c->public_host, sizeof c->public_host, "127.0.0.1");
	c->simulated = true;
	memcpy(c->sim_host, w->sim.host, sizeof c->sim_host);
	memcpy(c->sim_image, w->sim.image, sizeof c->sim_image);
	(void)snprintf(
	    c->app_compose, sizeof c->app_compose, "%.500s", w->compose);
	c->evidence_life_s = 3600;
}

static void
open_store(struct kms_node *n)
{
	char dir[KMSD_PATH_MAX + 8];
	struct store_options o = {
		.dir = dir, .slot = n->cfg.slot, .map_max = STORE_MAP_MAX
	};
	uint8_t key[32];

	cr_assert_eq(file_join(dir, sizeof dir, n->cfg.data_dir, "db"), ERR_OK);
	cr_assert_eq(
	    tee_seal_key(self_tee(n->self), key, "devproof-kms/store/v1"),
	    ERR_OK);
	cr_assert_eq(store_open(&n->store, &o, key), ERR_OK);
	secret_wipe(key, sizeof key);
}

static void
on_halt(void *cookie, enum core_halt why)
{
	struct kms_node *n = cookie;

	atomic_store(&n->halt, (int)why);
}

static void
open_service(struct kms_node *n, struct kms_world *w)
{
	struct cluster_options co = { .loop = &n->loop,
		.cfg = &n->cfg,
		.store = n->store,
		.keyring = n->keyring,
		.gate = n->gate,
		.view = n->view,
		.anchor = n->anchor,
		.registry = n->registry,
		.self = n->self,
		.verifier = w->verifier,
		.cx = &n->cx,
		.incarnation = n->incarnation,
		.on_halt = on_halt,
		.cookie = n,
		.watch_ms = WATCH_MS };
	struct service_options so = { .loop = &n->loop,
		.cfg = &n->cfg,
		.keyring = n->keyring,
		.gate = n->gate,
		.registry = n->registry,
		.self = n->self,
		.verifier = w->verifier,
		.metrics = &n->metrics };
	struct channel_server_options cso = { .listen_url = n->cfg.listen,
		.cx = &n->cx,
		.on_request = service_on_request,
		.on_close = service_on_close };

	cr_assert_eq(cluster_new(&n->cluster, &co), ERR_OK);
	so.cluster = n->cluster;
	cr_assert_eq(service_new(&n->service, &so), ERR_OK);
	cr_assert_eq(public_start(&n->public, &so), ERR_OK);
	cso.cookie = n->service;
	channel_limits_default(&cso.limits);
	cr_assert_eq(channel_server_start(&n->server, &n->loop, &cso), ERR_OK);
	cr_assert_eq(service_set_server(n->service, n->server), ERR_OK);
	cr_assert_eq(cluster_start(n->cluster, n->server), ERR_OK);
}

static struct kms_node *
start(struct kms_world *w, const char *slot, bool genesis, bool seal)
{
	struct kms_node *n = calloc(1, sizeof *n);
	struct refusal why = { 0 };

	cr_assert_not_null(n);
	cr_assert_eq(sem_init(&n->done, 0, 0), 0);
	cr_assert_eq(uv_loop_init(&n->loop), 0);
	cr_assert_eq(uv_async_init(&n->loop, &n->async, on_async), 0);
	n->async.data = n;
	configure(n, w, slot, genesis, seal);
	open_chain(n, w);
	cr_assert_eq(self_open(&n->self, &n->cfg, w->verifier, n->gate, &why),
	    ERR_OK, "%s", why.detail);
	self_channel(n->self, &n->cx);
	if (seal)
		open_store(n);
	cr_assert_eq(keyring_new(&n->keyring), ERR_OK);
	cr_assert_eq(incarnation_new(&n->incarnation), ERR_OK);
	open_service(n, w);
	cr_assert_eq(pthread_create(&n->thread, NULL, run, n), 0);
	return n;
}

struct kms_node *
kms_node_start(struct kms_world *w, const char *slot, bool genesis)
{
	return start(w, slot, genesis, false);
}

struct kms_node *
kms_node_start_sealed(struct kms_world *w, const char *slot, bool genesis)
{
	return start(w, slot, genesis, true);
}

/* ---- stop: requests, then the cluster, then sessions, as kmsd does ---- */

static void
server_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	uv_close((uv_handle_t *)&n->async, NULL);
}

static void
cluster_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	channel_server_stop(n->server, server_stopped, n);
}

static void
public_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	cluster_stop(n->cluster, cluster_stopped, n);
}

static void
service_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	public_stop(n->public, public_stopped, n);
}

static void
task_stop(struct kms_node *n)
{
	service_stop(n->service, service_stopped, n);
}

void
kms_node_stop(struct kms_node *n)
{
	on_loop(n, task_stop);
	cr_assert_eq(pthread_join(n->thread, NULL), 0);
	cr_assert_eq(uv_loop_close(&n->loop), 0);
	public_free(n->public);
	service_free(n->service);
	cluster_free(n->cluster);
	incarnation_free(n->incarnation);
	keyring_free(n->keyring);
	store_close(n->store);
	self_close(n->self);
	gate_free(n->gate);
	anchor_free(n->anchor);
	registry_free(n->registry);
	chainview_free(n->view);
	(void)sem_destroy(&n->done);
	free(n);
}

/* ---- what there is to see ---- */

const char *
kms_node_url(const struct kms_node *n)
{
	return n->url;
}

uint16_t
kms_node_public_port(const struct kms_node *n)
{
	return public_port(n->public);
}

struct metrics *
kms_node_metrics(struct kms_node *n)
{
	return &n->metrics;
}

struct keyring *
kms_node_keyring(struct kms_node *n)
{
	return n->keyring;
}

struct self *
kms_node_self(struct kms_node *n)
{
	return n->self;
}

struct service *
kms_node_service(struct kms_node *n)
{
	return n->service;
}

const struct kmsd_config *
kms_node_config(const struct kms_node *n)
{
	return &n->cfg;
}

struct incarnation *
kms_node_incarnation(struct kms_node *n)
{
	return n->incarnation;
}

static void
task_links(struct kms_node *n)
{
	links_stats(cluster_links(n->cluster), &n->links_stats);
}

struct links_stats
kms_node_links(struct kms_node *n)
{
	on_loop(n, task_links);
	return n->links_stats;
}

static void
task_do(struct kms_node *n)
{
	n->fn(n->cluster, n->arg);
}

void
kms_node_do(
    struct kms_node *n, void (*fn)(struct cluster *c, void *arg), void *arg)
{
	n->fn = fn;
	n->arg = arg;
	on_loop(n, task_do);
}

static void
read_phase(struct cluster *c, void *arg)
{
	*(enum cluster_phase *)arg = cluster_phase(c);
}

enum cluster_phase
kms_node_phase(struct kms_node *n)
{
	enum cluster_phase p;

	kms_node_do(n, read_phase, &p);
	return p;
}

static void
read_info(struct cluster *c, void *arg)
{
	cluster_info(c, arg);
}

static void
read_seats(struct cluster *c, void *arg)
{
	struct core_status s;

	core_status(cluster_core(c), &s);
	*(unsigned *)arg = s.seats;
}

void
kms_node_alone(struct kms_world *w, struct kms_node *n)
{
	unsigned seats = 0;

	w->anchor.n_seats = 1;
	kms_world_anchor(w);
	kms_world_block(w);
	KMS_UNTIL((kms_node_do(n, read_seats, &seats), seats == 1));
}

void
kms_node_wait(struct kms_node *n, enum cluster_phase want)
{
	const struct timespec nap = { .tv_nsec = 2 * 1000 * 1000 };
	uint64_t end = clock_mono_ms() + KMS_WAIT_MS;
	enum cluster_phase p;

	while ((p = kms_node_phase(n)) != want) {
		static struct cluster_info info;

		kms_node_do(n, read_info, &info);
		cr_assert_lt(clock_mono_ms(), end, "%s: %s, never %s (%s: %s)",
		    n->cfg.slot, cluster_phase_text(p),
		    cluster_phase_text(want), reason_label(info.waiting.code),
		    info.waiting.detail);
		(void)nanosleep(&nap, NULL);
	}
}

enum core_halt
kms_node_halted(struct kms_node *n)
{
	return (enum core_halt)atomic_load(&n->halt);
}

static void
ask_to_leave(struct cluster *c, void *arg)
{
	(void)arg;
	cluster_drain(c);
}

void
kms_node_drain(struct kms_node *n)
{
	kms_node_do(n, ask_to_leave, NULL);
	KMS_UNTIL(kms_node_halted(n) != HALT_NONE);
}

struct offer {
	bool has;
	struct cluster_genesis g;
};

static void
read_genesis(struct cluster *c, void *arg)
{
	struct offer *o = arg;

	o->has = cluster_genesis(c, &o->g);
}

struct cluster_genesis
kms_node_genesis(struct kms_node *n)
{
	struct offer o = { 0 };

	KMS_UNTIL((kms_node_do(n, read_genesis, &o), o.has));
	return o.g;
}
