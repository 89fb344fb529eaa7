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

struct one {
	uint64_t conn;
	enum channel_role role;
	struct boot_info boot;
	uint8_t key[32]; /* of the question */
	bool seen; /* it was there at the block before */
	/* The answer. */
	bool denied;
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
	struct chain_block block; /* the last one that was done */
	struct chain_block next; /* the one under way */
	struct one *list; /* owns: under way */
	size_t n, cap;
	bool whole; /* all of them were answered */
	uint64_t *known; /* owns: sessions of the block before */
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

/* False: the chain cannot be read, and nobody is judged. */
static bool
ask(struct recheck *r, size_t i)
{
	struct one *o = &r->list[i];
	enum gate_kind kind = o->role == CHANNEL_APP ? GATE_APP : GATE_KMS;
	struct gate_decision d;
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
	for (size_t k = 0; k < i; k++)
		if (memcmp(r->list[k].key, o->key, sizeof o->key) == 0) {
			o->denied = r->list[k].denied;
			o->why = r->list[k].why;
			return true;
		}
	e = gate_ask(r->gate, kind, &o->boot, clock_wall_s(), &d, &o->why);
	o->denied = e == ERR_DENIED;
	return e == ERR_OK || e == ERR_DENIED;
}

static void
run(uv_work_t *w)
{
	struct recheck *r = w->data;

	r->whole = true;
	for (size_t i = 0; i < r->n && r->whole; i++) {
		r->list[i].seen = r->list[i].role != CHANNEL_APP ||
		    was_known(r, r->list[i].conn);
		r->whole = ask(r, i);
	}
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
	    log_u64("block", r->next.number), log_why(&o->why));
	atomic_fetch_add(&r->metrics->sessions_ended, 1);
	channel_server_drop(r->server, o->conn, o->why.code);
}

/* Who is denied is dropped as soon as that is known, also if others could not
 * be asked for. */
static void
conclude(struct recheck *r)
{
	uint64_t *known = calloc(r->n + 1, sizeof *known);
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (known != NULL)
			known[n++] = r->list[i].conn;
		if (r->list[i].denied && r->list[i].seen)
			drop(r, &r->list[i]);
	}
	if (known == NULL || !r->whole) {
		free(known);
		return; /* again, soon */
	}
	free(r->known);
	r->known = known;
	r->n_known = n;
	r->block = r->next;
	r->has_block = true;
	atomic_store(&r->metrics->rechecked_block, r->next.number);
}

static void
after(uv_work_t *w, int status)
{
	struct recheck *r = w->data;

	r->working = false;
	if (status == 0 && !r->closed)
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
is_new(const struct recheck *r, const struct chain_block *b)
{
	return !r->has_block ||
	    memcmp(r->block.hash, b->hash, sizeof b->hash) != 0;
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
	if (!info.has_block || !is_new(r, &info.block))
		return;
	channel_server_stats(r->server, &cs);
	r->next = info.block;
	r->n = 0;
	r->cap = cs.sessions_open;
	if ((r->list = calloc(r->cap + 1, sizeof *r->list)) == NULL)
		return;
	channel_server_each(r->server, gather, r);
	if (uv_queue_work(t->loop, &r->work, run, after) == 0) {
		r->working = true;
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
