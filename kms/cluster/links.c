/* links: the owner's side.  links_int.h says which file has what. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/name.h"
#include "kms/cluster/links_int.h"

static const uint8_t nobody[INCARNATION_ID_LEN];

/* ---- life ---- */

static void on_ended(uv_async_t *a);

/* A cond variable that waits by the monotonic clock. */
static bool
cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;
	bool ok;

	if (pthread_condattr_init(&a) != 0)
		return false;
	ok = pthread_condattr_setclock(&a, CLOCK_MONOTONIC) == 0 &&
	    pthread_cond_init(c, &a) == 0;
	(void)pthread_condattr_destroy(&a);
	return ok;
}

static void
link_fini(struct link *k)
{
	if (k->links == NULL)
		return;
	if (k->ring != NULL)
		link_clear(k);
	free(k->ring);
	free(k->item);
	free(k->data);
	free(k->w.p);
	buf_fini(&k->request);
	buf_fini(&k->reply);
	channel_abort_free(k->abort);
	(void)pthread_cond_destroy(&k->wake);
}

static enum err
link_init(struct link *k, struct links *l, const char *url)
{
	if (!cond_init(&k->wake))
		return ERR_NOMEM;
	k->links = l;
	(void)memccpy(k->url, url, '\0', sizeof k->url - 1);
	k->status.url = k->url;
	k->status.since = clock_wall_s();
	k->ring = calloc(LIMIT_LINK_QUEUE_ITEMS, sizeof *k->ring);
	k->item = calloc(LIMIT_LINK_BATCH, sizeof *k->item);
	k->data = calloc(LIMIT_LINK_BATCH, sizeof *k->data);
	k->w.cap = LIMIT_LINK_PART + LIMIT_LINK_BATCH * LINKS_PART_HEAD;
	k->w.p = malloc(k->w.cap);
	if (k->ring == NULL || k->item == NULL || k->data == NULL ||
	    k->w.p == NULL)
		return ERR_NOMEM;
	k->cx = *l->o.cx;
	if (channel_abort_new(&k->abort) != ERR_OK)
		return ERR_NOMEM;
	k->cx.abort = k->abort;
	return ERR_OK;
}

enum err
links_new(struct links **out, const struct links_options *o)
{
	struct links *l;
	enum err e = ERR_OK;

	if (!name_ok(o->slot, SLOT_MAX) || o->n_peers > KMSD_PEERS)
		return ERR_CONFIG;
	if ((l = calloc(1, sizeof *l)) == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&l->lock, NULL) != 0) {
		free(l);
		return ERR_NOMEM;
	}
	l->o = *o;
	l->n = o->n_peers;
	l->inbound = calloc(LIMIT_LINK_SESSIONS, sizeof *l->inbound);
	l->link = calloc(l->n + 1, sizeof *l->link);
	if (l->inbound == NULL || l->link == NULL)
		e = ERR_NOMEM;
	for (unsigned i = 0; e == ERR_OK && i < l->n; i++)
		e = link_init(&l->link[i], l, o->peer[i]);
	if (e == ERR_OK && uv_async_init(o->loop, &l->ended, on_ended) != 0)
		e = ERR_NOMEM;
	if (e != ERR_OK) {
		links_free(l);
		return e;
	}
	l->o.peer = NULL;
	l->ended.data = l;
	*out = l;
	return ERR_OK;
}

void
links_free(struct links *l)
{
	if (l == NULL)
		return;
	for (unsigned i = 0; l->link != NULL && i < l->n; i++)
		link_fini(&l->link[i]);
	if (l->inbound != NULL)
		links_answer_fini(l);
	free(l->inbound);
	free(l->link);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

void
links_set_server(struct links *l, struct channel_server *server)
{
	l->server = server;
}

enum err
links_start(struct links *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct link *k = &l->link[i];

		(void)pthread_mutex_lock(&l->lock);
		k->has_thread =
		    pthread_create(&k->thread, NULL, link_run, k) == 0;
		l->n_threads += k->has_thread;
		(void)pthread_mutex_unlock(&l->lock);
		if (!k->has_thread)
			return ERR_NOMEM;
	}
	return ERR_OK;
}

/* On the loop, once nobody is left but for their last breath. */
static void
on_closed(uv_handle_t *h)
{
	struct links *l = h->data;

	if (l->done != NULL)
		l->done(l->done_cookie);
}

static void
on_ended(uv_async_t *a)
{
	struct links *l = a->data;
	bool last;

	(void)pthread_mutex_lock(&l->lock);
	last = l->stopping && l->n_threads == 0;
	(void)pthread_mutex_unlock(&l->lock);
	if (!last || uv_is_closing((uv_handle_t *)a))
		return;
	for (unsigned i = 0; i < l->n; i++)
		if (l->link[i].has_thread)
			(void)pthread_join(l->link[i].thread, NULL);
	uv_close((uv_handle_t *)a, on_closed);
}

void
links_stop(struct links *l, void (*done)(void *), void *cookie)
{
	l->done = done;
	l->done_cookie = cookie;
	l->server = NULL;
	(void)pthread_mutex_lock(&l->lock);
	l->stopping = true;
	for (unsigned i = 0; i < l->n; i++) {
		channel_abort_fire(l->link[i].abort);
		(void)pthread_cond_signal(&l->link[i].wake);
	}
	(void)pthread_mutex_unlock(&l->lock);
	(void)uv_async_send(&l->ended);
}

/* ---- queues ---- */

void
link_release(struct links_message *m)
{
	if (--m->refs == 0)
		free(m);
}

struct links_message *
link_pop(struct link *k)
{
	struct links_message *m = k->ring[k->first];

	k->first = (k->first + 1) % LIMIT_LINK_QUEUE_ITEMS;
	k->n--;
	if (m->len <= LIMIT_LINK_PART)
		k->small_bytes -= m->len;
	return m;
}

void
link_clear(struct link *k)
{
	k->status.dropped += k->n;
	while (k->n > 0)
		link_release(link_pop(k));
	k->has_big = false;
}

static void
push(struct link *k, struct links_message *m)
{
	bool big = m->len > LIMIT_LINK_PART;

	/* The newest gives way: those before it are what raft waits for, and
	 * it says again what was lost. */
	if (k->n == LIMIT_LINK_QUEUE_ITEMS ||
	    (big ? k->has_big : k->small_bytes + m->len > LIMIT_LINK_QUEUE)) {
		k->status.dropped++;
		return;
	}
	m->refs++;
	k->ring[(k->first + k->n++) % LIMIT_LINK_QUEUE_ITEMS] = m;
	if (big)
		k->has_big = true;
	else
		k->small_bytes += m->len;
	(void)pthread_cond_signal(&k->wake);
}

/* The peer that is known to be `to`, or NULL. */
static struct link *
known(struct links *l, const struct member *to)
{
	bool named = memcmp(to->incarnation, nobody, sizeof nobody) != 0;

	if (!named && to->slot[0] == '\0')
		return NULL;
	for (unsigned i = 0; i < l->n; i++) {
		const struct links_peer *s = &l->link[i].status;

		if (s->connected &&
		    (named ? memcmp(s->incarnation, to->incarnation,
				 sizeof nobody) == 0
			   : strcmp(s->slot, to->slot) == 0))
			return &l->link[i];
	}
	return NULL;
}

/* Whether the peer may be `to`, when none is known to be. */
static bool
may_be(const struct link *k, const struct member *to)
{
	if (memcmp(to->incarnation, nobody, sizeof nobody) != 0)
		return false;
	return to->slot[0] == '\0' || !k->status.connected;
}

static bool
has_taker(struct links *l, const struct member *to)
{
	if (known(l, to) != NULL)
		return true;
	for (unsigned i = 0; i < l->n; i++)
		if (may_be(&l->link[i], to))
			return true;
	return false;
}

void
links_send(struct links *l, const struct member *to, struct bytes bytes)
{
	struct links_message *m = NULL;
	struct link *one;
	bool taker;

	(void)pthread_mutex_lock(&l->lock);
	taker = !l->stopping && bytes.len > 0 &&
	    bytes.len <= LIMIT_LINK_MESSAGE && has_taker(l, to);
	l->unclaimed += !taker;
	(void)pthread_mutex_unlock(&l->lock);
	if (!taker || (m = malloc(sizeof *m + bytes.len)) == NULL)
		return;
	m->refs = 1;
	m->to = *to;
	m->len = bytes.len;
	memcpy(m->b, bytes.p, bytes.len);
	/* Who is who may have changed; what counts is now. */
	(void)pthread_mutex_lock(&l->lock);
	one = known(l, to);
	for (unsigned i = 0; i < l->n; i++)
		if (one != NULL ? one == &l->link[i] : may_be(&l->link[i], to))
			push(&l->link[i], m);
	link_release(m);
	(void)pthread_mutex_unlock(&l->lock);
}

/* ---- what is known ---- */

size_t
links_peers(struct links *l, struct links_peer *out, size_t max)
{
	size_t n = l->n < max ? l->n : max;

	(void)pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < n; i++)
		out[i] = l->link[i].status;
	(void)pthread_mutex_unlock(&l->lock);
	return n;
}

void
links_stats(struct links *l, struct links_stats *out)
{
	*out = (struct links_stats){ .received = l->received };
	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++)
		out->sessions += l->inbound[i].used;
	(void)pthread_mutex_lock(&l->lock);
	out->unclaimed = l->unclaimed;
	(void)pthread_mutex_unlock(&l->lock);
}

bool
links_attested(struct links *l, struct attested *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	bool found = links_answer_attested(l, out, incarnation);

	(void)pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; !found && i < l->n; i++) {
		const struct link *k = &l->link[i];

		found = k->status.connected &&
		    memcmp(k->status.incarnation, incarnation,
			INCARNATION_ID_LEN) == 0;
		if (found)
			*out = k->attested;
	}
	(void)pthread_mutex_unlock(&l->lock);
	return found;
}

void
links_drop(
    struct links *l, const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	links_answer_drop(l, incarnation);
	(void)pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < l->n; i++) {
		struct link *k = &l->link[i];

		if (!k->status.connected ||
		    memcmp(k->status.incarnation, incarnation,
			INCARNATION_ID_LEN) != 0)
			continue;
		/* From now on nothing is queued for it. */
		k->status.connected = false;
		k->status.since = clock_wall_s();
		k->drop = true;
		channel_abort_fire(k->abort);
		(void)pthread_cond_signal(&k->wake);
	}
	(void)pthread_mutex_unlock(&l->lock);
}
