#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/secret.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/lab.h"
#include "kms/ctl/proc.h"
#include "tests/bench/bench_counter.h"
#include "tests/bench/bench_line.h"
#include "tests/bench/bench_load.h"
#include "tests/lib/counter_client.h"

#define SECONDS 4.0
#define TIMEOUT_MS 10000
#define KILLS_MAX 64
#define READY_S 60.0
#define POLL_US 10000

struct bench {
	struct lab *lab; /* owns */
	struct app_cvm *cvm; /* owns */
	unsigned node; /* that clients talk to */
	struct refusal *why;
};

/* ---- one client, one counter ---- */

struct client {
	struct counter_client c;
	struct history_op op;
	struct refusal *why;
};

/* Until it is answered: the same operation, so that it is done once. */
static enum err
until_told(struct client *k)
{
	for (;;) {
		enum err e = counter_client_dial(&k->c);

		if (e == ERR_OK) {
			counter_client_ask(&k->c, &k->op);
			if (k->op.outcome == HISTORY_OK)
				return ERR_OK;
			if (k->op.outcome == HISTORY_MISMATCH)
				return refuse(k->why, REASON_COUNTER_MISMATCH,
				    "%s", k->op.counter);
		}
		if (e != ERR_OK && e != ERR_TIMEOUT && e != ERR_IO) {
			*k->why = k->c.why;
			return e;
		}
		(void)usleep(1000);
	}
}

static enum err
increment(void *state)
{
	struct client *k = state;

	k->op.kind = HISTORY_INC;
	k->op.expected = k->op.value;
	secret_random(k->op.operation, sizeof k->op.operation);
	return until_told(k);
}

static void
close_client(void *state)
{
	struct client *k = state;

	counter_client_close(&k->c);
	free(k);
}

static enum err
open_client(void *cookie, void **state, unsigned thread)
{
	struct bench *b = cookie;
	struct client *k = calloc(1, sizeof *k);
	enum err e;

	if (k == NULL)
		return ERR_NOMEM;
	k->c = (struct counter_client){
		.cvm = b->cvm, .node = b->node, .timeout_ms = TIMEOUT_MS
	};
	k->why = b->why;
	(void)snprintf(k->op.counter, sizeof k->op.counter, "bench-%u", thread);
	k->op.kind = HISTORY_GET;
	if ((e = until_told(k)) != ERR_OK) {
		close_client(k);
		return e;
	}
	*state = k;
	return ERR_OK;
}

/* ---- the cluster ---- */

/* What `n` says of itself; NULL if it does not answer. */
static json_t *
status(const struct lab_node *n)
{
	char url[CONTRACT_URL_MAX];
	json_t *o = NULL;

	lab_admin_url(url, n);
	return admin_get(&o, url, "/status", 2000) == ERR_OK ? o : NULL;
}

/* Ready, and the whole cluster with it; `leader` is told if so. */
static bool
well(const struct bench *b, const struct lab_node *n, char leader[SLOT_MAX])
{
	json_t *o = status(n), *c = json_object_get(o, "cluster");
	const char *phase = "", *who = "";
	json_int_t voters = 0;
	int fresh = 0;
	bool ok = json_unpack(o, "{s:s}", "phase", &phase) == 0 &&
	    json_unpack(c, "{s:s,s:I,s:b}", "leader", &who, "voters", &voters,
		"fresh", &fresh) == 0 &&
	    strcmp(phase, "ready") == 0 && who[0] != '\0' && fresh &&
	    voters == (json_int_t)b->lab->n_nodes;

	if (ok)
		(void)snprintf(leader, SLOT_MAX, "%s", who);
	json_decref(o);
	return ok;
}

/* Waits until all are ready and agree on the leader: its number. */
static enum err
find_leader(const struct bench *b, unsigned *out)
{
	double until = bench_now_us() + READY_S * 1e6;

	while (bench_now_us() < until) {
		char first[SLOT_MAX] = "", other[SLOT_MAX];
		unsigned n = 0;

		for (unsigned i = 0; i < b->lab->n_nodes; i++)
			if (well(b, &b->lab->node[i], n == 0 ? first : other) &&
			    (n == 0 || strcmp(first, other) == 0))
				n++;
		for (unsigned i = 0; i < b->lab->n_nodes; i++)
			if (n == b->lab->n_nodes &&
			    strcmp(b->lab->node[i].name, first) == 0) {
				*out = i;
				return ERR_OK;
			}
		(void)usleep(POLL_US);
	}
	return refuse(b->why, REASON_NOT_READY, "no leader of all nodes");
}

static enum err
bench_open(struct bench *b, const char *dir)
{
	char text[LAB_WHY_MAX];
	enum err e = lab_load(&b->lab, dir, text);

	if (e != ERR_OK) {
		(void)refuse(b->why, REASON_INTERNAL, "%s", text);
		return e;
	}
	return app_cvm_boot(&b->cvm, dir, "bench", "cvm", b->why);
}

static void
bench_close(struct bench *b)
{
	app_cvm_free(b->cvm);
	lab_free(b->lab);
}

enum err
bench_counter(FILE *json, const char *dir, struct refusal *why)
{
	static const unsigned clients[] = { 1, 32, 256 };
	struct bench b = { .why = why };
	const struct bench_load_work w = {
		.cookie = &b,
		.open = open_client,
		.once = increment,
		.close = close_client,
	};
	enum err e = bench_open(&b, dir);

	for (size_t i = 0; e == ERR_OK && i < 3; i++) {
		struct bench_load_result r;
		char name[40];

		(void)snprintf(
		    name, sizeof name, "commits_per_second_%u", clients[i]);
		if ((e = find_leader(&b, &b.node)) == ERR_OK &&
		    (e = bench_load(&r, &w, clients[i], SECONDS)) == ERR_OK)
			bench_load_line(json, name, clients[i], &r);
	}
	bench_close(&b);
	return e;
}

/* ---- failures ---- */

static enum err
kill_node(const struct bench *b, unsigned node)
{
	char path[LAB_PATH_MAX];
	pid_t pid;

	lab_pid_path(path, b->lab, b->lab->node[node].name);
	return proc_alive(path, &pid) && kill(-pid, SIGKILL) == 0
	    ? ERR_OK
	    : ERR_NOTFOUND;
}

/* The command goes on while this waits for what it starts. */
static pid_t
start_node(const struct bench *b, const char *kmsctl, unsigned node)
{
	pid_t pid = fork();
	int null;

	if (pid != 0)
		return pid;
	if ((null = open("/dev/null", O_WRONLY)) >= 0) {
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
	}
	(void)execl(kmsctl, kmsctl, "sim", "start", b->lab->dir,
	    b->lab->node[node].name, (char *)NULL);
	_exit(127);
}

static enum err
one_failover(struct bench *b, const char *kmsctl, unsigned i, double *ms)
{
	unsigned leader = 0;
	void *state = NULL;
	double began = 0;
	enum err e = find_leader(b, &leader);
	pid_t pid;

	b->node = (leader + 1 + i % (b->lab->n_nodes - 1)) % b->lab->n_nodes;
	if (e == ERR_OK && (e = open_client(b, &state, 0)) == ERR_OK)
		e = increment(state);
	if (e == ERR_OK) {
		/* Not in step with the heartbeats. */
		(void)usleep(100000 + i * 7919 % 60000);
		began = bench_now_us();
		e = kill_node(b, leader);
	}
	if (e == ERR_OK && (e = increment(state)) == ERR_OK)
		*ms = (bench_now_us() - began) / 1e3;
	if (state != NULL)
		close_client(state);
	if (e == ERR_OK && (pid = start_node(b, kmsctl, leader)) > 0)
		(void)waitpid(pid, NULL, 0);
	return e;
}

static enum err
one_replaced(struct bench *b, const char *kmsctl, unsigned i, double *ms)
{
	unsigned leader = 0, node;
	char who[SLOT_MAX];
	double began;
	enum err e = find_leader(b, &leader);
	pid_t pid;

	node = i % 2 == 0 ? leader : (leader + 1) % b->lab->n_nodes;
	if (e != ERR_OK)
		return e;
	began = bench_now_us();
	if ((e = kill_node(b, node)) != ERR_OK)
		return e;
	if ((pid = start_node(b, kmsctl, node)) < 0)
		return ERR_IO;
	while (!well(b, &b->lab->node[node], who) &&
	    bench_now_us() < began + READY_S * 1e6)
		(void)usleep(POLL_US);
	*ms = (bench_now_us() - began) / 1e3;
	(void)waitpid(pid, NULL, 0);
	return ERR_OK;
}

enum err
bench_failover(FILE *json, const char *dir, const char *kmsctl, unsigned kills,
    unsigned replaced, struct refusal *why)
{
	struct bench b = { .why = why };
	double ms[KILLS_MAX];
	enum err e = bench_open(&b, dir);

	if (kills > KILLS_MAX || replaced > KILLS_MAX)
		e = ERR_LIMIT;
	for (unsigned i = 0; e == ERR_OK && i < kills; i++)
		e = one_failover(&b, kmsctl, i, &ms[i]);
	if (e == ERR_OK)
		bench_load_times(json, "failover", ms, kills);
	for (unsigned i = 0; e == ERR_OK && i < replaced; i++)
		e = one_replaced(&b, kmsctl, i, &ms[i]);
	if (e == ERR_OK && replaced > 0)
		bench_load_times(json, "node_replaced", ms, replaced);
	bench_close(&b);
	return e;
}
