/* kmsd: a KMS node.  Options and wiring; no logic. */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "kms/service/admin.h"
#include "kms/service/confine.h"
#include "kms/service/disk.h"
#include "kms/service/floors.h"
#include "kms/service/public.h"

#define STORE_MAP_MAX (1u << 30)
/* Each worker may wait for the chain, a quote, or a peer. */
#define WORKERS "16"

struct node {
	struct kmsd_config cfg;
	uv_loop_t loop;
	uv_signal_t sigterm, sigint;
	struct buf simulated_root;
	struct verifier *verifier;
	struct chainview *view;
	struct gate *gate;
	struct registry *registry; /* NULL: there is none */
	struct self *self;
	struct channel_context cx;
	struct store *store;
	enum err disk_trouble; /* it should be there, and cannot be used */
	struct floors *floors;
	struct keyring *keyring;
	struct anchor *anchor;
	struct incarnation *incarnation;
	struct cluster *cluster;
	struct metrics metrics;
	struct service *service;
	struct channel_server *server;
	struct admin *admin;
	struct public *public; /* NULL: not asked for */
	bool draining, stopping;
	struct keeper_life life;
};

static const char usage[] =
    "usage: kmsd --config FILE [--check]\n"
    "\n"
    "  --config FILE  the node's configuration (deploy/kmsd.yaml shows one)\n"
    "  --check        read it, print the effective values, and exit\n"
    "  --version\n"
    "\n"
    "exit status: 0 stopped by a signal, 1 could not go on, 2 bad usage or\n"
    "configuration\n";

/* ---- start ---- */

static void
say(const char *what, enum err e, const struct refusal *why)
{
	if (why->code != REASON_NONE)
		log_event(LOG_ERROR, "start_failed", log_str("what", what),
		    log_why(why));
	else
		log_event(LOG_ERROR, "start_failed", log_str("what", what),
		    log_str("cause", err_text(e)));
}

static enum err
open_registry(struct node *n, const char *const *urls)
{
	const struct kmsd_config *c = &n->cfg;
	struct registry_options o = { .view = n->view,
		.chain_id = c->chain_id,
		.urls = urls,
		.n_urls = c->n_rpcs,
		.timeout_ms = c->rpc_timeout_ms };

	if (!c->has_registry)
		return ERR_OK;
	memcpy(o.contract, c->registry_contract, sizeof o.contract);
	memcpy(o.kms, c->kms_contract, sizeof o.kms);
	memcpy(o.anchor, c->anchor_contract, sizeof o.anchor);
	return registry_new(&n->registry, &o);
}

static enum err
open_chain(struct node *n)
{
	const struct kmsd_config *c = &n->cfg;
	const char *urls[KMSD_RPCS];
	struct chainview_options o = { .urls = urls,
		.n = c->n_rpcs,
		.quorum = c->rpc_quorum,
		.chain_id = c->chain_id,
		.max_age_s = c->max_age_s,
		.max_ahead_s = c->max_ahead_s,
		.poll_ms = c->poll_ms,
		.timeout_ms = c->rpc_timeout_ms,
		.proof = c->chain_proof,
		.mono_ms = clock_boot_ms };
	char *end;
	enum err e;

	for (unsigned i = 0; i < c->n_rpcs; i++)
		urls[i] = c->rpc[i];
	if (strcmp(c->block_tag, "finalized") == 0) {
		o.tag = CHAIN_FINALIZED;
	} else if (strcmp(c->block_tag, "safe") == 0) {
		o.tag = CHAIN_SAFE;
	} else if (strcmp(c->block_tag, "latest") == 0) {
		o.tag = CHAIN_LATEST;
	} else if (strncmp(c->block_tag, "latest-", 7) == 0 &&
	    c->block_tag[7] >= '0' && c->block_tag[7] <= '9') {
		o.tag = CHAIN_LATEST;
		o.depth = strtoull(c->block_tag + 7, &end, 10);
		if (*end != '\0')
			return ERR_CONFIG;
	} else {
		return ERR_CONFIG;
	}
	struct anchor_options ao = { .chain_id = c->chain_id,
		.urls = urls,
		.n_urls = c->n_rpcs,
		.timeout_ms = c->rpc_timeout_ms };

	if ((e = chainview_new(&n->view, &o)) != ERR_OK)
		return e;
	ao.view = n->view;
	memcpy(ao.contract, c->anchor_contract, sizeof ao.contract);
	memcpy(ao.kms, c->kms_contract, sizeof ao.kms);
	if ((e = anchor_new(&n->anchor, &ao)) != ERR_OK ||
	    (e = open_registry(n, urls)) != ERR_OK)
		return e;
	e = gate_new(&n->gate, n->view, c->kms_contract);
	if (e == ERR_OK && c->n_codes > 0)
		e = gate_pin(n->gate, c->code, c->n_codes);
	return e;
}

static enum err
open_verifier(struct node *n)
{
	struct verifier_options o = { .pccs_url = n->cfg.pccs_url[0],
		.pccs_insecure_tls = n->cfg.pccs_insecure_tls,
		.policy = n->cfg.policy };
	uint8_t fp[32];
	enum err e;

	for (unsigned i = 1; i < n->cfg.n_pccs; i++)
		o.pccs_more[o.n_pccs_more++] = n->cfg.pccs_url[i];
	if (n->cfg.simulated_root[0] != '\0') {
		e = file_read(&n->simulated_root, n->cfg.simulated_root, 4096);
		if (e != ERR_OK)
			return e;
		o.simulated_root = buf_view(&n->simulated_root);
		sha256(fp, n->simulated_root.p, n->simulated_root.len);
		log_event(LOG_WARN, "INSECURE_simulated_root",
		    log_str("file", n->cfg.simulated_root),
		    log_hex("sha256", fp, 32));
	}
	return verifier_new(&n->verifier, &o);
}

static enum err
open_store(struct node *n)
{
	const struct kmsd_config *c = &n->cfg;
	char dir[KMSD_PATH_MAX + 8];
	struct store_options o = {
		.dir = dir, .slot = c->slot, .map_max = STORE_MAP_MAX
	};
	uint8_t key[32], number[8];
	struct wr w = { .p = number, .cap = sizeof number };
	enum err e;

	if (!c->seal)
		return ERR_OK;
	/* The life before ended because its disk failed.  A disk that takes the
	 * probe may not take the log: do not join and leave without end. */
	if (n->life.disk_failed) {
		n->disk_trouble = ERR_IO;
		return ERR_OK;
	}
	wr_be64(&w, c->chain_id);
	sha256_v(o.cluster,
	    (const struct bytes[]){ BYTES_STR("devproof-kms/cluster/v1"),
		BYTES_OF(number), BYTES_OF(c->kms_contract) },
	    3);
	if ((e = file_join(dir, sizeof dir, c->data_dir, "db")) != ERR_OK)
		return e;
	e = tee_seal_key(self_tee(n->self), key, "devproof-kms/store/v1");
	if (e == ERR_OK)
		e = store_open(&n->store, &o, key);
	if (e == ERR_CORRUPT && disk_set_aside(dir) == ERR_OK)
		e = store_open(&n->store, &o, key);
	if (e == ERR_OK)
		e = disk_probe(n->store);
	if (e == ERR_IO || e == ERR_LIMIT) {
		log_event(
		    LOG_ERROR, "disk_unusable", log_str("cause", err_text(e)));
		store_close(n->store);
		n->store = NULL;
		n->disk_trouble = e;
		e = ERR_OK;
	}
	secret_wipe(key, sizeof key);
	return e;
}

static void on_signal(uv_signal_t *sig, int number);
static void on_halt(void *cookie, enum core_halt why);

static enum err
open_loop(struct node *n)
{
	if (uv_loop_init(&n->loop) != 0 ||
	    uv_signal_init(&n->loop, &n->sigterm) != 0 ||
	    uv_signal_init(&n->loop, &n->sigint) != 0)
		return ERR_IO;
	n->sigterm.data = n;
	n->sigint.data = n;
	if (uv_signal_start(&n->sigterm, on_signal, SIGTERM) != 0 ||
	    uv_signal_start(&n->sigint, on_signal, SIGINT) != 0)
		return ERR_IO;
	return ERR_OK;
}

static enum err
open_cluster(struct node *n)
{
	const struct cluster_options co = { .loop = &n->loop,
		.cfg = &n->cfg,
		.store = n->store,
		.disk_trouble = n->disk_trouble,
		.keyring = n->keyring,
		.gate = n->gate,
		.view = n->view,
		.anchor = n->anchor,
		.registry = n->registry,
		.self = n->self,
		.verifier = n->verifier,
		.cx = &n->cx,
		.incarnation = n->incarnation,
		.on_halt = on_halt,
		.cookie = n };

	return cluster_new(&n->cluster, &co);
}

static void
service_parts(struct service_options *out, struct node *n)
{
	*out = (struct service_options){ .loop = &n->loop,
		.cfg = &n->cfg,
		.cluster = n->cluster,
		.keyring = n->keyring,
		.gate = n->gate,
		.registry = n->registry,
		.self = n->self,
		.verifier = n->verifier,
		.metrics = &n->metrics };
}

static enum err
open_service(struct node *n)
{
	struct service_options so;
	struct channel_server_options cso = { .listen_url = n->cfg.listen,
		.cx = &n->cx,
		.on_request = service_on_request,
		.on_close = service_on_close };
	enum err e;

	service_parts(&so, n);
	if ((e = service_new(&n->service, &so)) != ERR_OK)
		return e;
	cso.cookie = n->service;
	cso.limits = n->cfg.limits;
	e = channel_server_start(&n->server, &n->loop, &cso);
	if (e == ERR_OK)
		e = service_set_server(n->service, n->server);
	return e;
}

static enum err
open_public(struct node *n)
{
	struct service_options so;

	if (n->cfg.public_host[0] == '\0')
		return ERR_OK;
	service_parts(&so, n);
	return public_start(&n->public, &so);
}

static enum err
open_admin(struct node *n)
{
	const struct admin_options ao = { .loop = &n->loop,
		.cfg = &n->cfg,
		.cluster = n->cluster,
		.gate = n->gate,
		.view = n->view,
		.self = n->self,
		.server = n->server,
		.metrics = &n->metrics,
		.verifier = n->verifier,
		.simulated_root = buf_view(&n->simulated_root) };

	return admin_start(&n->admin, &ao);
}

static enum err
start(struct node *n)
{
	struct refusal why = { 0 };
	const char *what;
	enum err e;

	what = "loop";
	if ((e = open_loop(n)) != ERR_OK)
		goto done;
	what = "attestation.insecure_simulated_root";
	if ((e = open_verifier(n)) != ERR_OK)
		goto done;
	what = "chain";
	if ((e = open_chain(n)) != ERR_OK)
		goto done;
	what = "tee";
	if ((e = self_open(&n->self, &n->cfg, n->verifier, n->gate, &why)) !=
	    ERR_OK)
		goto done;
	self_channel(n->self, &n->cx);
	what = "sealed store";
	if ((e = open_store(n)) != ERR_OK)
		goto done;
	what = "evaluation numbers";
	if ((e = floors_open(&n->floors, &n->loop, n->store,
		 verifier_floors(n->verifier))) != ERR_OK)
		goto done;
	what = "cluster";
	if ((e = keyring_new(&n->keyring)) != ERR_OK ||
	    (e = incarnation_new(&n->incarnation)) != ERR_OK ||
	    (e = open_cluster(n)) != ERR_OK)
		goto done;
	what = "listen";
	if ((e = open_service(n)) != ERR_OK)
		goto done;
	what = "admin";
	if ((e = open_admin(n)) != ERR_OK)
		goto done;
	what = "public";
	if ((e = open_public(n)) != ERR_OK)
		goto done;
	what = "links";
	if ((e = cluster_start(n->cluster, n->server)) != ERR_OK)
		goto done;
	log_event(LOG_INFO, "started", log_str("slot", n->cfg.slot),
	    log_u64("port", channel_server_port(n->server)),
	    log_u64("admin_port", admin_port(n->admin)),
	    log_u64(
		"public_port", n->public != NULL ? public_port(n->public) : 0),
	    log_hex("incarnation", incarnation_id(n->incarnation), 32),
	    log_str("simulated", n->cfg.simulated ? "yes" : "no"));
done:
	if (e != ERR_OK)
		say(what, e, &why);
	return e;
}

/* ---- stop: requests, then sessions, then steps, then the pages ---- */

static void
all_stopped(void *cookie)
{
	struct node *n = cookie;

	floors_stop(n->floors);
	uv_close((uv_handle_t *)&n->sigterm, NULL);
	uv_close((uv_handle_t *)&n->sigint, NULL);
}

static void
cluster_stopped(void *cookie)
{
	struct node *n = cookie;

	channel_server_stop(n->server, all_stopped, n);
}

static void
admin_stopped(void *cookie)
{
	struct node *n = cookie;

	cluster_stop(n->cluster, cluster_stopped, n);
}

static void
public_stopped(void *cookie)
{
	struct node *n = cookie;

	admin_stop(n->admin, admin_stopped, n);
}

static void
service_stopped(void *cookie)
{
	struct node *n = cookie;

	if (n->public != NULL)
		public_stop(n->public, public_stopped, n);
	else
		public_stopped(n);
}

static void
stop(struct node *n)
{
	if (n->stopping)
		return;
	n->stopping = true;
	service_stop(n->service, service_stopped, n);
}

/* A first signal leaves the cluster in an orderly way (leadership and seat are
 * handed on, within seconds); a second one does not wait for it. */
static void
on_signal(uv_signal_t *sig, int number)
{
	struct node *n = sig->data;

	if (n->stopping || n->admin == NULL)
		return;
	log_event(LOG_INFO, "stopping", log_u64("signal", (uint64_t)number));
	if (n->draining) {
		stop(n);
		return;
	}
	n->draining = true;
	cluster_drain(n->cluster);
}

/* This life is over.  Another one may begin: it has nothing of this one, so
 * the process is made anew (P7, P8). */
static void
on_halt(void *cookie, enum core_halt why)
{
	struct node *n = cookie;

	if (why == HALT_LEFT) {
		stop(n);
		return;
	}
	if (n->draining)
		exit(0);
	if (n->admin != NULL)
		admin_over(n->admin);
	keeper_again(why == HALT_DISK && n->disk_trouble == ERR_OK
		? KEEPER_DISK
		: KEEPER_AGAIN);
}

static void
node_free(struct node *n)
{
	public_free(n->public);
	admin_free(n->admin);
	service_free(n->service);
	cluster_free(n->cluster);
	keyring_free(n->keyring);
	floors_free(n->floors);
	store_close(n->store);
	self_close(n->self);
	gate_free(n->gate);
	registry_free(n->registry);
	anchor_free(n->anchor);
	chainview_free(n->view);
	verifier_free(n->verifier);
	buf_fini(&n->simulated_root);
	free(n);
}

static int
print_config(const struct kmsd_config *c)
{
	struct buf b = { 0 };
	int rc = 1;

	if (kmsd_config_print(&b, c) == ERR_OK)
		rc = fwrite(b.p, 1, b.len, stdout) == b.len ? 0 : 1;
	buf_fini(&b);
	return rc;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *path = NULL;
	char why[YAML_WHY_MAX];
	bool check = false;
	struct node *n;
	int opt, rc = 1;

	/* What is large (batches, snapshots) goes back as soon as it is freed.
	 * Left to itself the threshold grows with them, and each thread's
	 * arena keeps what its busiest moment took. */
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case 'n':
			check = true;
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return 0;
		case 'v':
			(void)puts("kmsd " KMSD_VERSION);
			return 0;
		default:
			(void)fputs(usage, stderr);
			return 2;
		}
	}
	if (path == NULL || optind != argc) {
		(void)fputs(usage, stderr);
		return 2;
	}
	log_set_program("kmsd");
	/* Before the first thread: libuv reads it once. */
	if (setenv("UV_THREADPOOL_SIZE", WORKERS, 1) != 0 ||
	    secret_process_init() != ERR_OK ||
	    (n = calloc(1, sizeof *n)) == NULL) {
		log_plain(LOG_ERROR, "process_init_failed");
		return 1;
	}
	if (kmsd_config_load(&n->cfg, path, why) != ERR_OK) {
		(void)fprintf(stderr, "kmsd: %s: %s\n", path, why);
		free(n);
		return 2;
	}
	log_set_level(n->cfg.log_level);
	if (check) {
		rc = print_config(&n->cfg);
		free(n);
		return rc;
	}
	if (kmsd_confine(&n->life, &n->cfg) != ERR_OK)
		return 1;
	if (start(n) != ERR_OK) {
		/* Nothing is under way that needs an orderly end.  Who has
		 * been up before does not die of a passing trouble. */
		if (!n->life.first)
			keeper_again(KEEPER_LATER);
		return 1;
	}
	(void)uv_run(&n->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&n->loop);
	node_free(n);
	log_plain(LOG_INFO, "stopped");
	return 0;
}
