#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/crypto/hash.h"
#include "common/eth/appauth.h"
#include "kms/service/recheck.h"

/* How often it is looked whether there is a new block; the chain itself is
 * looked at by the cluster. */
#define LOOK_MS 250
/* When not all could be judged at a block: until they are asked for again. */
#define AGAIN_MS 1000

struct one {
	uint64_t conn;
	enum channel_role role;
	struct boot_info boot;
	uint8_t key[32]; /* of the question */
	bool seen; /* it was there at the look before */
	/* The answer, if there is one. */
	bool answered, denied;
	struct refusal why;
};

struct recheck {
	uv_timer_t timer;
	uv_work_t work;
	struct gate *gate; /* borrow, these four */
	struct cluster *cluster;
	struct channel_server *server;
	struct metrics *metrics;
	bool working, closed;
	bool has_block;
	struct chain_block block; /* the one under way, or the last */
	uint64_t again_ms; /* when it is to be looked at again; 0: not */
	struct one *list; /* owns: under way */
	size_t n, cap;
	uint64_t *known; /* owns: sessions of the look before */
	size_t n_known;
	void (*done)(void *cookie);
	void *cookie;
};

/* ---- on the worker ---- */

static bool
was_known(const struct recheck *r, uint64_t conn)
{
	for (size_t i = 0; i < r->n_known; i++)
		if (r->known[i] == conn)
			return true;
	return false;
}

/* The same question was asked already. */
static bool
known_answer(const struct recheck *r, struct one *o, size_t before)
{
	for (size_t k = 0; k < before; k++) {
		const struct one *p = &r->list[k];

		if (memcmp(p->key, o->key, sizeof o->key) != 0)
			continue;
		o->answered = p->answered;
		o->denied = p->denied;
		o->why = p->why;
		return true;
	}
	return false;
}

/* False: the chain cannot be read, and nobody more is judged. */
static bool
ask(struct recheck *r, size_t i)
{
	struct one *o = &r->list[i];
	enum gate_kind kind = o->role == CHANNEL_APP ? GATE_APP : GATE_KMS;
	struct gate_decision d;
	struct chain_block at;
	struct buf call = { 0 };
	enum err e;

	e = appauth_call(&call,
	    kind == GATE_APP ? APPAUTH_IS_APP_ALLOWED : APPAUTH_IS_KMS_ALLOWED,
	    &o->boot);
	if (e == ERR_OK)
		sha256(o->key, call.p, call.len);
	buf_fini(&call);
	if (e != ERR_OK)
		return false;
	if (known_answer(r, o, i))
		return true;
	e = gate_ask(r->gate, kind, &o->boot, clock_wall_s(), &d, &o->why);
	o->answered = e == ERR_OK || e == ERR_DENIED;
	o->denied = e == ERR_DENIED;
	/* A contract can see to it that it has no answer.  The others have. */
	return o->answered ||
	    gate_block(r->gate, clock_wall_s(), &at, NULL) == ERR_OK;
}

static void
run(uv_work_t *w)
{
	struct recheck *r = w->data;

	for (size_t i = 0; i < r->n; i++)
		r->list[i].seen = r->list[i].role != CHANNEL_APP ||
		    was_known(r, r->list[i].conn);
	for (size_t i = 0; i < r->n && ask(r, i); i++)
		continue;
}

/* ---- on the loop ---- */

static void
maybe_done(struct recheck *r)
{
	if (!r->closed || r->working)
		return;
	if (r->done != NULL)
		r->done(r->cookie);
	free(r->list);
	free(r->known);
	free(r);
}

static void
drop(struct recheck *r, const struct one *o)
{
	log_event(LOG_WARN, "session_ended", log_u64("conn", o->conn),
	    log_u64("role", (uint64_t)o->role),
	    log_hex("app", o->boot.app_id, 20),
	    log_hex("device", o->boot.device_id, 32),
	    log_u64("block", r->block.number), log_why(&o->why));
	atomic_fetch_add(&r->metrics->sessions_ended, 1);
	channel_server_drop(r->server, o->conn, o->why.code);
}

/* Who is denied is dropped as soon as that is known, also if others could not
 * be asked for. */
static void
conclude(struct recheck *r)
{
	uint64_t *known = calloc(r->n + 1, sizeof *known);
	bool whole = true, all = known != NULL;

	for (size_t i = 0; i < r->n; i++) {
		const struct one *o = &r->list[i];

		if (known != NULL)
			known[i] = o->conn;
		if (o->denied && o->seen)
			drop(r, o);
		whole = whole && o->answered;
		all = all && o->answered && (o->seen || !o->denied);
	}
	if (known != NULL) {
		free(r->known);
		r->known = known;
		r->n_known = r->n;
	}
	r->again_ms = all ? 0 : clock_mono_ms() + AGAIN_MS;
	if (whole)
		atomic_store(&r->metrics->rechecked_block, r->block.number);
}

static void
after(uv_work_t *w, int status)
{
	struct recheck *r = w->data;

	r->working = false;
	if (status != 0)
		r->again_ms = clock_mono_ms() + AGAIN_MS;
	else if (!r->closed)
		conclude(r);
	free(r->list);
	r->list = NULL;
	maybe_done(r);
}

static void
gather(void *cookie, const struct channel_caller *who)
{
	struct recheck *r = cookie;

	if (r->n == r->cap)
		return;
	r->list[r->n++] = (struct one){
		.conn = who->conn, .role = who->role, .boot = who->peer->boot
	};
}

static bool
is_due(const struct recheck *r, const struct chain_block *b)
{
	return !r->has_block ||
	    memcmp(r->block.hash, b->hash, sizeof b->hash) != 0 ||
	    (r->again_ms != 0 && clock_mono_ms() >= r->again_ms);
}

static void
on_timer(uv_timer_t *t)
{
	struct recheck *r = t->data;
	struct channel_stats cs;
	struct cluster_info info;

	if (r->working)
		return;
	cluster_info(r->cluster, &info);
	if (!info.has_block || !is_due(r, &info.block))
		return;
	channel_server_stats(r->server, &cs);
	r->n = 0;
	r->cap = cs.sessions_open;
	if ((r->list = calloc(r->cap + 1, sizeof *r->list)) == NULL)
		return;
	channel_server_each(r->server, gather, r);
	if (uv_queue_work(t->loop, &r->work, run, after) == 0) {
		r->working = true;
		r->block = info.block;
		r->has_block = true;
		return;
	}
	free(r->list);
	r->list = NULL;
}

enum err
recheck_start(struct recheck **out, uv_loop_t *loop, struct gate *gate,
    struct cluster *cluster, struct channel_server *server,
    struct metrics *metrics)
{
	struct recheck *r = calloc(1, sizeof *r);

	if (r == NULL)
		return ERR_NOMEM;
	r->gate = gate;
	r->cluster = cluster;
	r->server = server;
	r->metrics = metrics;
	r->timer.data = r;
	r->work.data = r;
	if (uv_timer_init(loop, &r->timer) != 0 ||
	    uv_timer_start(&r->timer, on_timer, LOOK_MS, LOOK_MS) != 0) {
		free(r);
		return ERR_IO;
	}
	*out = r;
	return ERR_OK;
}

static void
on_closed(uv_handle_t *h)
{
	struct recheck *r = h->data;

	r->closed = true;
	maybe_done(r);
}

void
recheck_stop(struct recheck *r, void (*done)(void *), void *cookie)
{
	r->done = done;
	r->cookie = cookie;
	uv_close((uv_handle_t *)&r->timer, on_closed);
}
