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
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simimage.h"
#include "node/tee/simpki.h"
#include "tests/lib/kms_node.h"
#include "tests/lib/tmpdir.h"

#define ABI_MAX (1u << 20)
#define POLL_MS 1000
/* Steps are taken by hand: the timer of the cluster never comes round. */
#define NEVER_MS (24u * 3600 * 1000)

static const uint8_t contract[20] = { 0x9f, 0xe4 };
static _Atomic uint64_t fake_ms = 1000000;

/* ---- the world ---- */

static uint64_t
mono(void)
{
	return atomic_load(&fake_ms);
}

static void
say_gateway(struct kms_world *w, const char *text)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, ABI_WORD, ABI_MAX), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, text, strlen(text), ABI_MAX), ERR_OK);
	mock_answer(w->chain, MOCK_ALL, APPAUTH_GATEWAY_APP_ID, b.p, b.len);
	buf_fini(&b);
}

static void
open_verifier(struct kms_world *w)
{
	char url[64];
	struct buf root = { 0 };
	struct verifier_options o = { .pccs_url = url };

	cr_assert_eq(pccs_server_start(
			 &w->pccs, w->sim.dir, "127.0.0.1", 0, clock_wall_s),
	    ERR_OK);
	(void)snprintf(
	    url, sizeof url, "http://127.0.0.1:%u", pccs_server_port(w->pccs));
	cr_assert_eq(sim_pki_document(&root, w->sim.dir, SIM_DOC_ROOT), ERR_OK);
	attest_policy_default(&o.policy);
	o.policy.allow_simulated = true;
	o.simulated_root = buf_view(&root);
	cr_assert_eq(verifier_new(&w->verifier, &o), ERR_OK);
	buf_fini(&root);
}

void
kms_world_init(struct kms_world *w)
{
	static const char compose[] = "{\"name\":\"kms\"}";
	int64_t now = clock_wall_s();
	struct simworld *s = &w->sim;

	*w = (struct kms_world){ .block = 100 };
	/* The service asks the machine for the time: a PKI of today. */
	s->dir = tmpdir_new();
	(void)snprintf(s->host, sizeof s->host, "%s/hosts/h1", s->dir);
	(void)snprintf(s->image, sizeof s->image, "%s/images/kms", s->dir);
	cr_assert_eq(sim_pki_init(s->dir, 0, now), ERR_OK);
	cr_assert_eq(sim_host_create(s->dir, "h1", now), ERR_OK);
	cr_assert_eq(sim_image_create(s->dir, "kms", "seed"), ERR_OK);
	(void)snprintf(
	    w->compose, sizeof w->compose, "%s/app-compose.json", s->dir);
	cr_assert_eq(
	    file_write(w->compose, compose, sizeof compose - 1, 0600), ERR_OK);
	open_verifier(w);
	w->chain = mock_chain_new(1, KMS_CHAIN_ID);
	say_gateway(w, "");
	kms_world_say(w, APPAUTH_IS_APP_ALLOWED, true, "");
	kms_world_say(w, APPAUTH_IS_KMS_ALLOWED, true, "");
	kms_world_root(w, NULL);
	kms_world_block(w);
}

void
kms_world_fini(struct kms_world *w)
{
	verifier_free(w->verifier);
	pccs_server_stop(w->pccs);
	mock_chain_free(w->chain);
	simworld_fini(&w->sim);
}

void
kms_world_say(
    struct kms_world *w, uint32_t selector, bool allowed, const char *text)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, allowed, ABI_MAX), ERR_OK);
	cr_assert_eq(abi_put_u64(&b, 2 * ABI_WORD, ABI_MAX), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, text, strlen(text), ABI_MAX), ERR_OK);
	mock_answer(w->chain, MOCK_ALL, selector, b.p, b.len);
	buf_fini(&b);
}

void
kms_world_root(struct kms_world *w, const struct k256_pub *root)
{
	size_t len[4] = { root != NULL ? sizeof root->b : 0, 0, 0, 0 };
	uint64_t at = 4 * ABI_WORD;
	struct buf b = { 0 };

	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(abi_put_u64(&b, at, ABI_MAX), ERR_OK);
		at += abi_bytes_size(len[i]);
	}
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(abi_put_bytes(&b, root != NULL ? root->b : NULL,
				 len[i], ABI_MAX),
		    ERR_OK);
	mock_answer(w->chain, MOCK_ALL, APPAUTH_KMS_INFO, b.p, b.len);
	buf_fini(&b);
}

void
kms_world_block(struct kms_world *w)
{
	w->block++;
	mock_head(w->chain, MOCK_ALL, w->block + 2, w->block + 1, w->block);
	atomic_fetch_add(&fake_ms, 2 * POLL_MS);
}

/* ---- a node ---- */

struct kms_node {
	struct kmsd_config cfg;
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	struct chainview *view;
	struct gate *gate;
	struct self *self;
	struct channel_context cx;
	struct keyring *keyring;
	struct cluster *cluster;
	struct metrics metrics;
	struct service *service;
	struct channel_server *server;
	struct incarnation *incarnation; /* NULL: no links */
	struct links *links;
	char url[64];
	/* What the loop is asked to do. */
	void (*task)(struct kms_node *n);
	void (*fn)(const struct cluster *c, void *arg);
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

static void
open_chain(struct kms_node *n, struct kms_world *w)
{
	/* The scripted blocks are of 2023, whatever the clock says. */
	struct chainview_options o = { .urls = mock_urls(w->chain),
		.n = 1,
		.quorum = 1,
		.chain_id = KMS_CHAIN_ID,
		.tag = CHAIN_FINALIZED,
		.max_age_s = UINT32_MAX,
		.poll_ms = POLL_MS,
		.timeout_ms = 20000,
		.mono_ms = mono };

	cr_assert_eq(chainview_new(&n->view, &o), ERR_OK);
	cr_assert_eq(gate_new(&n->gate, n->view, contract), ERR_OK);
}

static void
configure(struct kms_node *n, const struct kms_world *w, const char *slot,
    bool genesis, const char *peer)
{
	struct kmsd_config *c = &n->cfg;

	(void)snprintf(c->slot, sizeof c->slot, "%s", slot);
	(void)snprintf(c->listen, sizeof c->listen, "tcp://127.0.0.1:0");
	cr_assert_eq(
	    file_join(c->data_dir, sizeof c->data_dir, w->sim.dir, slot),
	    ERR_OK);
	c->genesis = genesis;
	if (peer != NULL)
		(void)snprintf(c->peer[c->n_peers++], KMSD_URL_MAX, "%s", peer);
	c->chain_id = KMS_CHAIN_ID;
	memcpy(c->kms_contract, contract, sizeof contract);
	c->simulated = true;
	memcpy(c->sim_host, w->sim.host, sizeof c->sim_host);
	memcpy(c->sim_image, w->sim.image, sizeof c->sim_image);
	(void)snprintf(
	    c->app_compose, sizeof c->app_compose, "%.500s", w->compose);
	c->evidence_life_s = 3600;
}

static void
hear(void *cookie, const struct member *from, struct bytes bytes)
{
	(void)cookie;
	(void)from;
	(void)bytes;
}

static void
open_links(struct kms_node *n)
{
	struct links_options o = { .loop = &n->loop,
		.cx = &n->cx,
		.slot = n->cfg.slot,
		.on_message = hear };

	cr_assert_eq(incarnation_new(&n->incarnation), ERR_OK);
	o.incarnation = n->incarnation;
	cr_assert_eq(links_new(&n->links, &o), ERR_OK);
}

static void
open_service(struct kms_node *n)
{
	struct cluster_options co = { .loop = &n->loop,
		.cfg = &n->cfg,
		.keyring = n->keyring,
		.gate = n->gate,
		.view = n->view,
		.self = n->self,
		.cx = &n->cx,
		.tick_ms = NEVER_MS };
	struct service_options so = { .loop = &n->loop,
		.cfg = &n->cfg,
		.keyring = n->keyring,
		.gate = n->gate,
		.self = n->self,
		.metrics = &n->metrics,
		.links = n->links };
	struct channel_server_options cso = { .listen_url = n->cfg.listen,
		.cx = &n->cx,
		.on_request = service_on_request,
		.on_close = service_on_close };

	cr_assert_eq(cluster_new(&n->cluster, &co), ERR_OK);
	so.cluster = n->cluster;
	cr_assert_eq(service_new(&n->service, &so), ERR_OK);
	cso.cookie = n->service;
	channel_limits_default(&cso.limits);
	cr_assert_eq(channel_server_start(&n->server, &n->loop, &cso), ERR_OK);
	service_set_server(n->service, n->server);
	if (n->links != NULL)
		links_set_server(n->links, n->server);
}

static struct kms_node *
start(struct kms_world *w, const char *slot, bool genesis, const char *peer,
    bool linked)
{
	struct kms_node *n = calloc(1, sizeof *n);
	struct refusal why = { 0 };

	cr_assert_not_null(n);
	cr_assert_eq(sem_init(&n->done, 0, 0), 0);
	cr_assert_eq(uv_loop_init(&n->loop), 0);
	cr_assert_eq(uv_async_init(&n->loop, &n->async, on_async), 0);
	n->async.data = n;
	configure(n, w, slot, genesis, peer);
	open_chain(n, w);
	cr_assert_eq(self_open(&n->self, &n->cfg, w->verifier, n->gate, &why),
	    ERR_OK, "%s", why.detail);
	self_channel(n->self, &n->cx);
	cr_assert_eq(keyring_new(&n->keyring), ERR_OK);
	if (linked)
		open_links(n);
	open_service(n);
	(void)snprintf(n->url, sizeof n->url, "tcp://127.0.0.1:%u",
	    (unsigned)channel_server_port(n->server));
	cr_assert_eq(pthread_create(&n->thread, NULL, run, n), 0);
	return n;
}

struct kms_node *
kms_node_start(
    struct kms_world *w, const char *slot, bool genesis, const char *peer)
{
	return start(w, slot, genesis, peer, false);
}

struct kms_node *
kms_node_start_linked(struct kms_world *w, const char *slot)
{
	return start(w, slot, false, NULL, true);
}

/* As kmsd stops: requests, then steps, then links, then sessions. */
static void
server_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	uv_close((uv_handle_t *)&n->async, NULL);
}

static void
links_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	channel_server_stop(n->server, server_stopped, n);
}

static void
cluster_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	if (n->links != NULL)
		links_stop(n->links, links_stopped, n);
	else
		links_stopped(n);
}

static void
service_stopped(void *cookie)
{
	struct kms_node *n = cookie;

	cluster_stop(n->cluster, cluster_stopped, n);
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
	service_free(n->service);
	links_free(n->links);
	incarnation_free(n->incarnation);
	cluster_free(n->cluster);
	keyring_free(n->keyring);
	self_close(n->self);
	gate_free(n->gate);
	chainview_free(n->view);
	(void)sem_destroy(&n->done);
	free(n);
}

const char *
kms_node_url(const struct kms_node *n)
{
	return n->url;
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

static void
task_links(struct kms_node *n)
{
	links_stats(n->links, &n->links_stats);
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
kms_node_do(struct kms_node *n, void (*fn)(const struct cluster *c, void *arg),
    void *arg)
{
	n->fn = fn;
	n->arg = arg;
	on_loop(n, task_do);
}

static void
task_step(struct kms_node *n)
{
	cluster_start(n->cluster);
}

static void
read_phase(const struct cluster *c, void *arg)
{
	*(enum cluster_phase *)arg = cluster_phase(c);
}

void
kms_node_step(struct kms_node *n, enum cluster_phase want)
{
	const struct timespec nap = { .tv_nsec = 2 * 1000 * 1000 };
	uint64_t end = clock_mono_ms() + KMS_WAIT_MS;
	enum cluster_phase p;

	kms_node_do(n, read_phase, &p);
	cr_assert_neq(p, want);
	on_loop(n, task_step);
	do {
		cr_assert_lt(
		    clock_mono_ms(), end, "never %s", cluster_phase_text(want));
		(void)nanosleep(&nap, NULL);
		kms_node_do(n, read_phase, &p);
	} while (p != want);
}

/* ---- those who call ---- */

static enum err
caller_prove(void *cookie, struct evidence *out, const uint8_t rd[static 64],
    struct refusal *why)
{
	struct kms_caller *c = cookie;

	return tee_evidence(c->td, out, rd, why);
}

/* Verifies in earnest, but leaves the contract to the other side: what is
 * refused is refused by the node. */
static enum err
caller_check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t rd[static 64], enum channel_role role, struct refusal *why)
{
	struct kms_caller *c = cookie;

	(void)role;
	return verifier_check(
	    c->w->verifier, out, e, rd, BOOT_KMS, clock_wall_s(), why);
}

static int64_t
caller_now(void *cookie)
{
	(void)cookie;
	return clock_wall_s();
}

void
kms_caller_boot(struct kms_caller *c, struct kms_world *w,
    enum channel_role role, uint8_t id)
{
	struct refusal why = { 0 };
	char run_dir[600];
	struct tee_options o = { .simulated = true,
		.sim_host = w->sim.host,
		.sim_image = w->sim.image,
		.run_dir = run_dir };
	static const char provider[] = "{\"name\":\"none\",\"id\":\"\"}";
	uint8_t hash[32];

	memset(hash, id, sizeof hash);
	const struct {
		const char *name;
		struct bytes payload;
	} events[] = {
		{ "system-preparing", { NULL, 0 } },
		{ "app-id", { hash, 20 } },
		{ "compose-hash", { hash, 32 } },
		{ "instance-id", { hash, role == CHANNEL_APP ? 20 : 0 } },
		{ "boot-mr-done", { NULL, 0 } },
		{ "key-provider", BYTES_STR(provider) },
		{ "system-ready", { NULL, 0 } },
	};

	*c = (struct kms_caller){ .w = w, .role = role };
	(void)snprintf(run_dir, sizeof run_dir, "%s/caller-%u", w->sim.dir, id);
	cr_assert_eq(file_mkdirs(run_dir), ERR_OK);
	cr_assert_eq(tee_boot(&c->td, &o, &why), ERR_OK, "%s", why.detail);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		cr_assert_eq(
		    tee_extend(c->td, events[i].name, events[i].payload),
		    ERR_OK);
	c->cx = (struct channel_context){ .chain_id = KMS_CHAIN_ID,
		.evidence_life_s = 3600,
		.cookie = c,
		.prove = caller_prove,
		.check = caller_check,
		.now = caller_now };
	memcpy(c->cx.kms_contract, contract, sizeof contract);
}

void
kms_caller_close(struct kms_caller *c)
{
	tee_close(c->td);
}

void
kms_caller_attested(struct attested *out, struct kms_caller *c)
{
	static const uint8_t rd[64] = { 7 };
	struct evidence ev = { 0 };
	struct refusal why = { 0 };

	cr_assert_eq(tee_evidence(c->td, &ev, rd, &why), ERR_OK);
	cr_assert_eq(verifier_check(c->w->verifier, out, &ev, rd,
			 c->role == CHANNEL_APP ? BOOT_APP : BOOT_KMS,
			 clock_wall_s(), &why),
	    ERR_OK, "%s", why.detail);
	evidence_fini(&ev);
}
