/* The plain cluster is made by the linker: --wrap puts the functions of the
 * last part here before sealing and hashing (Makefile).  Its records keep
 * their room for hashes, so its writes are about as long. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "common/base/rd.h"
#include "kms/cluster/disklog.h"
#include "node/store/seal.h"
#include "tests/bench/bench_line.h"
#include "tests/bench/bench_load.h"
#include "tests/bench/bench_raft.h"

#define NODES 3
#define GENERATION 1ull
#define TERM (GENERATION << 32 | 1)
#define MAP_MAX ((size_t)2 << 30)
#define SLICES 12
#define SLICE_US 200000.0
#define BATCH_MAX 256
#define COMMAND_LEN 80 /* about an increment's */
#define QUEUE_MAX 4096

static bool plain; /* what runs now */

struct message {
	unsigned from, to;
	struct buf bytes; /* owns */
};

struct node {
	struct engine *e; /* owns */
	struct store *s; /* owns */
	uint64_t writes;
};

struct cluster {
	struct node node[NODES];
	uint64_t now_ms; /* fake: one turn is one */
	struct message queue[QUEUE_MAX];
	unsigned n_queue;
	/* Measured. */
	double us, cpu_us;
	uint64_t commits;
};

/* ---- one node ---- */

static void
send(struct cluster *c, unsigned from, struct engine_effects *x, bool early)
{
	for (size_t i = 0; i < x->n_messages; i++) {
		struct engine_message *m = &x->message[i];

		if (m->early != early || c->n_queue == QUEUE_MAX)
			continue;
		c->queue[c->n_queue++] =
		    (struct message){ from, (unsigned)m->to - 1, m->bytes };
		m->bytes = (struct buf){ 0 };
	}
}

static enum err
write_disk(struct node *n, const struct engine_effects *x)
{
	static const uint8_t incarnation[32] = { 1 };
	const struct core_write w = { .number = ++n->writes,
		.generation = GENERATION,
		.term = x->term,
		.vote = x->vote,
		.truncate = x->truncate,
		.first = x->first,
		.last = x->last };
	enum err e = store_begin(n->s);

	if (e != ERR_OK)
		return e;
	if ((e = disklog_write(n->s, &w, n->e, incarnation)) != ERR_OK) {
		store_abort(n->s);
		return e;
	}
	return store_commit(n->s);
}

/* What kmsd's loop does at the end of a turn. */
static enum err
turn(struct cluster *c, unsigned i)
{
	struct node *n = &c->node[i];
	enum err e = ERR_OK;
	bool again = true;

	while (e == ERR_OK && again) {
		struct engine_effects x;

		engine_take(n->e, &x);
		again = x.meta || x.first != 0 || x.truncate != 0;
		send(c, i, &x, true);
		if (again)
			e = write_disk(n, &x);
		send(c, i, &x, false);
		if (e == ERR_OK && x.last != 0)
			e = engine_persisted(n->e, c->now_ms, x.last);
		engine_effects_fini(&x);
	}
	return e;
}

/* Everybody takes all that has come, then ends the turn. */
static enum err
round_trip(struct cluster *c)
{
	static struct message now[QUEUE_MAX];
	unsigned n = c->n_queue;
	enum err e = ERR_OK;

	memcpy(now, c->queue, n * sizeof *now);
	c->n_queue = 0;
	for (unsigned to = 0; to < NODES; to++) {
		bool any = false;

		for (unsigned i = 0; i < n; i++) {
			if (now[i].to != to)
				continue;
			any = true;
			if (e == ERR_OK)
				e = engine_receive(c->node[to].e, c->now_ms,
				    now[i].from + 1, buf_view(&now[i].bytes));
			buf_fini(&now[i].bytes);
		}
		if (e == ERR_OK && any)
			e = turn(c, to);
	}
	return e;
}

/* ---- three of them ---- */

static enum err
node_open(struct cluster *c, unsigned i, const char *dir,
    const struct engine_boot *boot)
{
	struct node *n = &c->node[i];
	char path[256], slot[8];
	static const uint8_t key[32] = { 7 };
	const struct store_options so = {
		.dir = path, .slot = slot, .map_max = MAP_MAX
	};
	const struct engine_options eo = { .id = i + 1,
		.address = slot,
		.seed = i + 1,
		.election_ms = 300,
		.heartbeat_ms = 60 };
	const struct engine_effects first = {
		.term = TERM, .first = 1, .last = 1
	};
	enum err e;

	(void)snprintf(slot, sizeof slot, "n%u", i);
	(void)snprintf(
	    path, sizeof path, "%s/%s%u", dir, plain ? "plain" : "sealed", i);
	if ((e = store_open(&n->s, &so, key)) != ERR_OK ||
	    (e = engine_new(&n->e, &eo)) != ERR_OK ||
	    (e = engine_start(n->e, 0, boot)) != ERR_OK)
		return e;
	return write_disk(n, &first);
}

static bool
leads(const struct cluster *c)
{
	return engine_state(c->node[0].e) == ENGINE_LEADER;
}

static enum err
cluster_open(struct cluster *c, const char *dir)
{
	struct engine_config k = { .n = NODES };
	struct engine_entry first = {
		.index = 1, .term = TERM, .kind = ENTRY_CONFIG
	};
	struct engine_boot boot = {
		.term = TERM, .entry = &first, .n_entries = 1
	};
	static const uint8_t zero[32];
	struct buf data = { 0 };
	enum err e;

	for (unsigned i = 0; i < NODES; i++) {
		k.member[i].id = i + 1;
		k.member[i].role = ENGINE_VOTER;
		(void)snprintf(
		    k.member[i].address, ENGINE_ADDRESS_MAX, "n%u", i);
	}
	if ((e = engine_config_write(&data, &k)) != ERR_OK)
		return e;
	first.data = buf_view(&data);
	engine_entry_hash(first.hash, zero, 1, TERM, ENTRY_CONFIG, first.data);
	for (unsigned i = 0; e == ERR_OK && i < NODES; i++)
		e = node_open(c, i, dir, &boot);
	buf_fini(&data);
	/* Only the first node's time goes on until it leads. */
	for (unsigned i = 0; e == ERR_OK && !leads(c) && i < 10000; i++) {
		c->now_ms++;
		if ((e = engine_tick(c->node[0].e, c->now_ms)) == ERR_OK &&
		    (e = turn(c, 0)) == ERR_OK)
			e = round_trip(c);
	}
	return e == ERR_OK && !leads(c) ? ERR_TIMEOUT : e;
}

static void
cluster_close(struct cluster *c)
{
	for (unsigned i = 0; i < NODES; i++) {
		engine_free(c->node[i].e);
		store_close(c->node[i].s);
	}
	for (unsigned i = 0; i < c->n_queue; i++)
		buf_fini(&c->queue[i].bytes);
}

/* A batch, from submission to commit. */
static enum err
commit(struct cluster *c, unsigned batch)
{
	static uint8_t command[COMMAND_LEN] = { 'K', 'C' };
	struct bytes data[BATCH_MAX];
	struct node *leader = &c->node[0];
	uint64_t index = 0;
	enum err e;

	for (unsigned i = 0; i < batch; i++)
		data[i] = BYTES_OF(command);
	c->now_ms++;
	if ((e = engine_tick(leader->e, c->now_ms)) != ERR_OK ||
	    (e = engine_submit(leader->e, c->now_ms, ENTRY_COMMAND, data, batch,
		 &index)) != ERR_OK)
		return e;
	e = turn(c, 0);
	while (e == ERR_OK && engine_commit(leader->e) < index + batch - 1) {
		if (c->n_queue == 0)
			return ERR_TIMEOUT;
		e = round_trip(c);
	}
	c->commits += batch;
	return e;
}

/* ---- both ---- */

static double
cpu_us(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static enum err
slice(struct cluster *c, unsigned batch)
{
	double began = bench_now_us(), cpu = cpu_us();
	enum err e = ERR_OK;

	while (e == ERR_OK && bench_now_us() < began + SLICE_US)
		e = commit(c, batch);
	c->us += bench_now_us() - began;
	c->cpu_us += cpu_us() - cpu;
	return e;
}

static void
report(FILE *json, const char *what, unsigned batch, const struct cluster *c)
{
	(void)fprintf(json,
	    "{\"name\":\"raft_%s_%u\",\"value\":%.1f,\"unit\":\"1/s\","
	    "\"batch\":%u,\"cpu_us\":%.2f}\n",
	    what, batch, (double)c->commits / (c->us / 1e6), batch,
	    c->cpu_us / (double)c->commits);
}

static enum err
both(FILE *json, struct cluster c[static 2], unsigned batch)
{
	double cost, percent;
	enum err e = ERR_OK;

	for (unsigned i = 0; i < 2; i++)
		c[i].us = c[i].cpu_us = 0, c[i].commits = 0;
	/* By turns, so that both see the same machine. */
	for (unsigned i = 0; e == ERR_OK && i < 2 * SLICES; i++) {
		plain = i % 2 == 1;
		e = slice(&c[i % 2], batch);
	}
	if (e != ERR_OK)
		return e;
	report(json, "protected", batch, &c[0]);
	report(json, "plain", batch, &c[1]);
	cost = c[0].cpu_us / (double)c[0].commits -
	    c[1].cpu_us / (double)c[1].commits;
	percent = 100 * cost / (c[1].cpu_us / (double)c[1].commits);
	(void)fprintf(json,
	    "{\"name\":\"protection_cpu_%u\",\"value\":%.2f,\"unit\":\"us\","
	    "\"percent\":%.1f}\n",
	    batch, cost, percent);
	return ERR_OK;
}

enum err
bench_raft(FILE *json, const char *dir)
{
	static const unsigned batch[] = { 1, 32, BATCH_MAX };
	struct cluster *c = calloc(2, sizeof *c);
	enum err e = ERR_OK;

	if (c == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; e == ERR_OK && i < 2; i++) {
		plain = i == 1;
		e = cluster_open(&c[i], dir);
	}
	for (unsigned i = 0; e == ERR_OK && i < 3; i++)
		e = both(json, c, batch[i]);
	for (unsigned i = 0; i < 2; i++) {
		plain = i == 1;
		cluster_close(&c[i]);
	}
	plain = false;
	free(c);
	return e;
}

/* ---- what the linker puts before the real ones ---- */

/* The linker's names. */
/* NOLINTBEGIN */
size_t __real_seal_size(size_t clear_len, size_t value_len);
size_t __wrap_seal_size(size_t clear_len, size_t value_len);
void __real_seal_put(struct seal *s, uint8_t *out, struct bytes full,
    struct bytes clear, struct bytes value);
void __wrap_seal_put(struct seal *s, uint8_t *out, struct bytes full,
    struct bytes clear, struct bytes value);
enum err __real_seal_open(struct seal *s, struct buf *out, struct bytes *clear,
    struct bytes full, struct bytes sealed);
enum err __wrap_seal_open(struct seal *s, struct buf *out, struct bytes *clear,
    struct bytes full, struct bytes sealed);
int __real_crypto_generichash_update(crypto_generichash_state *st,
    const unsigned char *in, unsigned long long len);
int __wrap_crypto_generichash_update(crypto_generichash_state *st,
    const unsigned char *in, unsigned long long len);
int __real_crypto_generichash_final(
    crypto_generichash_state *st, unsigned char *out, const size_t len);
int __wrap_crypto_generichash_final(
    crypto_generichash_state *st, unsigned char *out, const size_t len);
/* NOLINTEND */

size_t
__wrap_seal_size(size_t clear_len, size_t value_len)
{
	return plain ? 1 + clear_len + value_len
		     : __real_seal_size(clear_len, value_len);
}

void
__wrap_seal_put(struct seal *s, uint8_t *out, struct bytes full,
    struct bytes clear, struct bytes value)
{
	if (!plain) {
		__real_seal_put(s, out, full, clear, value);
		return;
	}
	*out++ = (uint8_t)clear.len;
	if (clear.len > 0)
		memcpy(out, clear.p, clear.len);
	memcpy(out + clear.len, value.p, value.len);
}

enum err
__wrap_seal_open(struct seal *s, struct buf *out, struct bytes *clear,
    struct bytes full, struct bytes sealed)
{
	struct rd r = { .p = sealed.p, .left = sealed.len };

	if (!plain)
		return __real_seal_open(s, out, clear, full, sealed);
	clear->len = rd_u8(&r);
	clear->p = rd_bytes(&r, clear->len);
	return r.bad ? ERR_CORRUPT : buf_set(out, r.p, r.left);
}

int
__wrap_crypto_generichash_update(crypto_generichash_state *st,
    const unsigned char *in, unsigned long long len)
{
	return plain ? 0 : __real_crypto_generichash_update(st, in, len);
}

int
__wrap_crypto_generichash_final(
    crypto_generichash_state *st, unsigned char *out, const size_t len)
{
	if (!plain)
		return __real_crypto_generichash_final(st, out, len);
	memset(out, 1, len);
	return 0;
}
