/* chaos: clients of the counters, and what they were told; README.md.
 *
 * usage: chaos load DIR APP FILE SECONDS CLIENTS SEED PREFIX COUNTERS
 *        chaos read DIR APP FILE PREFIX COUNTERS
 *        chaos check FILE
 *
 * DIR is the folder of a simulated cluster with an app APP.  `load` and
 * `read` append to the history FILE (tests/lib/history.h): `load` lets
 * CLIENTS threads increment and read counters PREFIX-0.. for a while, each
 * asking one node until that fails and then another; `read` asks every node
 * for every counter until it answers.  Each says what came of it on standard
 * output; `check` exits 1 if the history cannot be true. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "tests/lib/counter_client.h"

#define MAX_CLIENTS 64
#define MAX_COUNTERS 16
#define READ_FOR_S 30
#define S_NS 1000000000ull

struct counter {
	char name[HISTORY_NAME_MAX];
	/* The highest value that anybody was told: what most expect. */
	_Atomic uint64_t seen;
};

struct run {
	struct app_cvm *cvm; /* owns */
	struct counter counter[MAX_COUNTERS];
	unsigned n_counters;
	uint64_t until_ns;
};

struct client {
	struct run *run;
	unsigned number;
	uint64_t seed;
	struct counter_client c;
	struct history h; /* owns */
	pthread_t thread;
	unsigned dials, outcomes[4];
};

/* Reproducible choices; timing is not, so runs differ all the same. */
static uint64_t
draw(struct client *k, uint64_t n)
{
	k->seed ^= k->seed << 13;
	k->seed ^= k->seed >> 7;
	k->seed ^= k->seed << 17;
	return (k->seed >> 11) % n;
}

static unsigned
another_node(struct client *k)
{
	unsigned n = (unsigned)k->run->cvm->config.n_kms_urls;

	return n < 2 ? 0 : (k->c.node + 1 + (unsigned)draw(k, n - 1)) % n;
}

/* One attempt, in the books. */
static void
attempt(struct client *k, struct counter *counter, struct history_op *op)
{
	counter_client_ask(&k->c, op);
	k->outcomes[op->outcome]++;
	if (history_add(&k->h, op) != ERR_OK)
		abort();
	if (op->outcome != HISTORY_OK && op->outcome != HISTORY_MISMATCH)
		return;
	for (uint64_t was = atomic_load(&counter->seen); was < op->value;)
		if (atomic_compare_exchange_weak(
			&counter->seen, &was, op->value))
			break;
}

/* A session with a node that answers, or false for now. */
static bool
ready(struct client *k)
{
	if (k->c.conn != NULL)
		return true;
	k->dials++;
	k->c.timeout_ms = 300 + (unsigned)draw(k, 1200);
	if (counter_client_dial(&k->c) == ERR_OK)
		return true;
	counter_client_move(&k->c, another_node(k));
	(void)usleep(20000);
	return false;
}

/* An increment is wished once; without an answer it is tried again, at times
 * elsewhere, at times given up. */
static void
one_wish(struct client *k)
{
	struct counter *counter = &k->run->counter[draw(k, k->run->n_counters)];
	struct history_op op = { .client = k->number,
		.kind = draw(k, 4) == 0 ? HISTORY_GET : HISTORY_INC,
		.expected = atomic_load(&counter->seen) };

	memcpy(op.counter, counter->name, sizeof op.counter);
	/* Some name a value that is gone, or not there yet. */
	if (draw(k, 20) == 0)
		op.expected += draw(k, 2) == 0 || op.expected == 0 ? 1 : -1ull;
	secret_random(op.operation, sizeof op.operation);
	for (unsigned tries = 0; tries < 4; tries++) {
		if (!ready(k)) {
			tries--;
			if (counter_client_now() >= k->run->until_ns)
				return;
			continue;
		}
		attempt(k, counter, &op);
		if (op.outcome == HISTORY_OK || op.outcome == HISTORY_MISMATCH)
			return;
		if (draw(k, 3) != 0)
			counter_client_move(&k->c, another_node(k));
		if (op.outcome == HISTORY_NO)
			(void)usleep(10000);
		if (draw(k, 3) == 0)
			return;
	}
}

static void *
run_client(void *arg)
{
	struct client *k = arg;

	while (counter_client_now() < k->run->until_ns) {
		one_wish(k);
		if (draw(k, 200) == 0) /* they roam */
			counter_client_move(&k->c, another_node(k));
	}
	counter_client_close(&k->c);
	return NULL;
}

static bool
save(struct client *k, unsigned n, const char *path)
{
	FILE *to = fopen(path, "a");
	unsigned outcomes[4] = { 0 }, dials = 0;
	size_t ops = 0;
	bool ok;

	if (to == NULL)
		return false;
	for (unsigned i = 0; i < n; i++) {
		for (size_t j = 0; j < k[i].h.n; j++)
			history_write(to, &k[i].h.op[j]);
		for (unsigned j = 0; j < 4; j++)
			outcomes[j] += k[i].outcomes[j];
		ops += k[i].h.n;
		dials += k[i].dials;
		history_fini(&k[i].h);
	}
	ok = ferror(to) == 0;
	ok &= fclose(to) == 0;
	printf("%zu attempts: %u ok, %u mismatch, %u refused, %u unknown; "
	       "%u dials\n",
	    ops, outcomes[HISTORY_OK], outcomes[HISTORY_MISMATCH],
	    outcomes[HISTORY_NO], outcomes[HISTORY_UNKNOWN], dials);
	return ok;
}

static void
client_init(struct client *k, struct run *r, unsigned number, uint64_t seed)
{
	*k = (struct client){ .run = r,
		.number = number,
		.seed = (seed + 1) * 0x9e3779b97f4a7c15 + number + 1,
		.c = { .cvm = r->cvm, .timeout_ms = 1000 } };
	(void)draw(k, 1);
	k->c.node = (unsigned)draw(k, r->cvm->config.n_kms_urls);
}

static int
load(struct run *r, const char *path, unsigned n, uint64_t seed)
{
	static struct client client[MAX_CLIENTS];

	for (unsigned i = 0; i < n; i++) {
		client_init(&client[i], r, i + 1, seed);
		if (pthread_create(
			&client[i].thread, NULL, run_client, &client[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(client[i].thread, NULL);
	return save(client, n, path) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool
read_one(struct client *k, struct counter *counter)
{
	struct history_op op = { .client = k->number, .kind = HISTORY_GET };

	memcpy(op.counter, counter->name, sizeof op.counter);
	k->c.timeout_ms = 2000;
	while (counter_client_now() < k->run->until_ns) {
		if (counter_client_dial(&k->c) == ERR_OK) {
			attempt(k, counter, &op);
			if (op.outcome == HISTORY_OK)
				return true;
		}
		(void)usleep(50000);
	}
	printf("node %u does not tell %s: %s %s\n", k->c.node, counter->name,
	    reason_label(k->c.why.code), k->c.why.detail);
	return false;
}

static int
read_all(struct run *r, const char *path)
{
	static struct client k;
	int rc = EXIT_SUCCESS;

	client_init(&k, r, 0, 0);
	for (unsigned node = 0; node < r->cvm->config.n_kms_urls; node++) {
		counter_client_move(&k.c, node);
		for (unsigned i = 0; i < r->n_counters; i++)
			if (!read_one(&k, &r->counter[i]))
				rc = EXIT_FAILURE;
	}
	counter_client_close(&k.c);
	return save(&k, 1, path) ? rc : EXIT_FAILURE;
}

static int
check(const char *path)
{
	char why[HISTORY_WHY_MAX] = "";
	struct history h = { 0 };
	FILE *in = fopen(path, "r");
	enum err e = in == NULL ? ERR_NOTFOUND : history_read(&h, in, why);

	if (e == ERR_OK)
		e = history_check(&h, why);
	if (e == ERR_OK)
		printf("linearizable: %zu attempts\n", h.n);
	else
		printf("%s: %s\n", err_text(e), why);
	if (in != NULL)
		(void)fclose(in);
	history_fini(&h);
	return e == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool
number(uint64_t *out, const char *text, uint64_t max)
{
	char *end;

	*out = strtoull(text, &end, 10);
	return *text != '\0' && *end == '\0' && *out <= max;
}

static bool
name_counters(struct run *r, const char *prefix, const char *n_text)
{
	uint64_t n;

	if (!number(&n, n_text, MAX_COUNTERS) || n == 0)
		return false;
	r->n_counters = (unsigned)n;
	for (unsigned i = 0; i < n; i++)
		(void)snprintf(r->counter[i].name, sizeof r->counter[i].name,
		    "%.40s-%u", prefix, i);
	return true;
}

static int
usage(void)
{
	(void)fprintf(stderr,
	    "usage: chaos load DIR APP FILE SECONDS CLIENTS SEED PREFIX "
	    "COUNTERS\n"
	    "       chaos read DIR APP FILE PREFIX COUNTERS\n"
	    "       chaos check FILE\n");
	return 2;
}

int
main(int argc, char **argv)
{
	static struct run r;
	struct refusal why = { 0 };
	uint64_t seconds = READ_FOR_S, clients = 0, seed = 0;
	bool loads = argc == 10 && strcmp(argv[1], "load") == 0;
	enum err e;
	int rc;

	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return check(argv[2]);
	if (loads ? !number(&seconds, argv[5], 86400) ||
		    !number(&clients, argv[6], MAX_CLIENTS) || clients == 0 ||
		    !number(&seed, argv[7], UINT64_MAX) ||
		    !name_counters(&r, argv[8], argv[9])
		  : argc != 7 || strcmp(argv[1], "read") != 0 ||
		    !name_counters(&r, argv[5], argv[6]))
		return usage();
	log_set_program("chaos");
	log_set_level(LOG_ERROR);
	(void)signal(SIGPIPE, SIG_IGN);
	if (secret_process_init() != ERR_OK)
		return EXIT_FAILURE;
	e = app_cvm_boot(&r.cvm, argv[2], argv[3], "chaos", &why);
	if (e != ERR_OK) {
		(void)fprintf(stderr, "chaos: %s: %s %s\n", err_text(e),
		    reason_text(why.code), why.detail);
		return EXIT_FAILURE;
	}
	r.until_ns = counter_client_now() + seconds * S_NS;
	rc = loads ? load(&r, argv[4], (unsigned)clients, seed)
		   : read_all(&r, argv[4]);
	app_cvm_free(r.cvm);
	return rc;
}
