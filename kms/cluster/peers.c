#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/cluster.h"
#include "kms/cluster/peers.h"

#define DIAL_TIMEOUT_MS 15000 /* a TDX quote may take seconds */
#define CALL_TIMEOUT_MS 10000

struct peer {
	char url[KMSD_URL_MAX];
	struct channel *channel; /* owns; used by the step alone */
	/* Under the lock: */
	bool connected;
	int64_t last_sync;
	enum reason error;
};

struct peers {
	pthread_mutex_t lock;
	struct peer peer[KMSD_PEERS];
	size_t n;
};

enum err
peers_new(struct peers **out, const struct kmsd_config *cfg)
{
	struct peers *p = calloc(1, sizeof *p);

	if (p == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&p->lock, NULL) != 0) {
		free(p);
		return ERR_NOMEM;
	}
	p->n = cfg->n_peers;
	for (size_t i = 0; i < p->n; i++)
		memcpy(p->peer[i].url, cfg->peer[i], sizeof p->peer[i].url);
	*out = p;
	return ERR_OK;
}

void
peers_free(struct peers *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		channel_close(p->peer[i].channel);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

void
peers_found_fini(struct peers_found *f)
{
	for (size_t i = 0; i < f->n_roots; i++)
		epoch_roots_free(f->roots[i]);
	for (size_t i = 0; i < f->n_records; i++)
		buf_fini(&f->record[i]);
	free(f->record);
	*f = (struct peers_found){ 0 };
}

static void
set_status(struct peers *p, struct peer *r, enum reason error, bool synced)
{
	bool changed;

	(void)pthread_mutex_lock(&p->lock);
	changed = r->error != error || r->connected != (r->channel != NULL);
	r->connected = r->channel != NULL;
	r->error = error;
	if (synced)
		r->last_sync = clock_wall_s();
	(void)pthread_mutex_unlock(&p->lock);
	if (changed)
		log_event(error == REASON_NONE ? LOG_INFO : LOG_WARN, "peer",
		    log_str("url", r->url),
		    log_str("connected", r->channel != NULL ? "yes" : "no"),
		    log_str("reason", reason_label(error)));
}

/* One request on the peer's channel, which is dialled when there is none.
 * A channel that failed is closed: the next step dials anew. */
static enum err
call(struct peers *p, struct peer *r, const struct channel_context *cx,
    struct bytes request, KmsReply **reply, struct refusal *why)
{
	struct buf answer = { 0 };
	enum err e = ERR_OK;

	if (r->channel == NULL)
		e = channel_dial(&r->channel, cx, CHANNEL_KMS_PEER, r->url,
		    DIAL_TIMEOUT_MS, why);
	if (e == ERR_OK &&
	    (e = channel_call(r->channel, &answer, request, CALL_TIMEOUT_MS,
		 why)) != ERR_OK) {
		channel_close(r->channel);
		r->channel = NULL;
	}
	if (e == ERR_OK && msg_reply_parse(reply, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_REQUEST, "reply does not parse");
	buf_wipe(&answer);
	if (e == ERR_OK && (e = msg_reply_refusal(*reply, why)) != ERR_OK)
		msg_reply_free(*reply);
	if (e != ERR_OK) {
		if (why->code == REASON_NONE)
			(void)refuse(why, REASON_TIMEOUT, "%s", err_text(e));
		set_status(p, r, why->code, false);
	}
	return e;
}

static enum err
import_roots(struct peers_found *f, const Devproof__Kms__V1__Joined *j,
    const uint8_t chain_root[static 33], struct refusal *why)
{
	bool has_genesis = false;

	for (size_t i = 0; i < j->n_roots; i++) {
		const Devproof__Kms__V1__EpochRoots *er = j->roots[i];
		struct epoch_public pub;

		if (f->n_roots == PEERS_ROOTS_MAX)
			return refuse(why, REASON_REQUEST, "too many roots");
		if (epoch_roots_import(&f->roots[f->n_roots], er->number,
			er->root_k256.data, er->root_ca.data) != ERR_OK)
			return refuse(why, REASON_REQUEST, "invalid root");
		epoch_roots_public(f->roots[f->n_roots++], &pub);
		if (er->number != 0)
			continue;
		if (memcmp(pub.k256.b, chain_root, 33) != 0)
			return refuse(why, REASON_ROOT_MISMATCH,
			    "the member's root is not the contract's");
		has_genesis = true;
	}
	return has_genesis ? ERR_OK
			   : refuse(why, REASON_REQUEST, "no genesis root");
}

enum err
peers_join(struct peers *p, const struct channel_context *cx,
    const struct kmsd_config *cfg,
    const uint8_t incarnation[static INCARNATION_LEN],
    const uint8_t chain_root[static 33], struct peers_found *found,
    struct refusal *why)
{
	Devproof__Kms__V1__Join join;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct buf request = { 0 };
	enum err e;

	devproof__kms__v1__join__init(&join);
	join.slot = (char *)(uintptr_t)cfg->slot;
	join.incarnation = msg_bytes(incarnation, INCARNATION_LEN);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	m.join = &join;
	if ((e = msg_request_pack(&request, &m)) != ERR_OK)
		goto done;
	e = refuse(why, REASON_NOT_READY, "no peer is configured");
	for (size_t i = 0; i < p->n; i++) {
		KmsReply *reply = NULL;

		why->code = REASON_NONE;
		e = call(p, &p->peer[i], cx, buf_view(&request), &reply, why);
		if (e != ERR_OK)
			continue;
		e = reply->body_case == DEVPROOF__KMS__V1__REPLY__BODY_JOINED
		    ? import_roots(found, reply->joined, chain_root, why)
		    : refuse(why, REASON_REQUEST, "unexpected reply");
		msg_reply_free(reply);
		set_status(p, &p->peer[i],
		    e == ERR_OK ? REASON_NONE : why->code, false);
		if (e == ERR_OK)
			break;
		peers_found_fini(found);
	}
	if (e != ERR_OK)
		e = ERR_AGAIN;
done:
	buf_fini(&request);
	return e;
}

static enum err
keep_records(struct peers_found *f, const Devproof__Kms__V1__Records *r)
{
	struct buf *grown;

	if (r->n_record == 0)
		return ERR_OK;
	grown = realloc(
	    f->record, (f->n_records + r->n_record) * sizeof *f->record);
	if (grown == NULL)
		return ERR_NOMEM;
	f->record = grown;
	for (size_t i = 0; i < r->n_record; i++) {
		struct buf b = { 0 };
		enum err e;

		if (r->record[i].len > STATE_RECORD_MAX)
			return ERR_MALFORMED;
		if ((e = buf_set(&b, r->record[i].data, r->record[i].len)) !=
		    ERR_OK)
			return e;
		f->record[f->n_records++] = b;
	}
	return ERR_OK;
}

enum err
peers_sync(struct peers *p, const struct channel_context *cx,
    struct bytes have_request, struct peers_found *found, struct refusal *why)
{
	for (size_t i = 0; i < p->n; i++) {
		KmsReply *reply = NULL;
		struct refusal w = { 0 };

		if (call(p, &p->peer[i], cx, have_request, &reply, &w) !=
		    ERR_OK)
			continue;
		if (reply->body_case !=
			DEVPROOF__KMS__V1__REPLY__BODY_RECORDS ||
		    keep_records(found, reply->records) != ERR_OK)
			set_status(p, &p->peer[i], REASON_REQUEST, false);
		else
			set_status(p, &p->peer[i], REASON_NONE, true);
		msg_reply_free(reply);
	}
	why->code = REASON_NONE;
	return ERR_OK;
}

void
peers_have_add(struct peers_have *h,
    const uint8_t incarnation[static INCARNATION_LEN], uint64_t seq)
{
	uint8_t item[INCARNATION_LEN + 8];
	struct wr w = { .p = item, .cap = sizeof item };

	wr_bytes(&w, incarnation, INCARNATION_LEN);
	wr_be64(&w, seq);
	if (h->err == ERR_OK)
		h->err = buf_append(&h->packed, item, sizeof item, SIZE_MAX);
}

enum err
peers_have_pack(struct peers_have *h, struct buf *request)
{
	size_t n = h->packed.len / (INCARNATION_LEN + 8);
	Devproof__Kms__V1__Have *item = calloc(n + 1, sizeof *item);
	Devproof__Kms__V1__Have **list = calloc(n + 1, sizeof *list);
	Devproof__Kms__V1__Sync sync = DEVPROOF__KMS__V1__SYNC__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct rd r = { .p = h->packed.p, .left = h->packed.len };
	enum err e = h->err;

	if (item == NULL || list == NULL)
		e = ERR_NOMEM;
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		devproof__kms__v1__have__init(&item[i]);
		item[i].incarnation =
		    msg_bytes(rd_bytes(&r, INCARNATION_LEN), INCARNATION_LEN);
		item[i].seq = rd_be64(&r);
		list[i] = &item[i];
	}
	sync.have = list;
	sync.n_have = n;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_SYNC;
	m.sync = &sync;
	if (e == ERR_OK)
		e = msg_request_pack(request, &m);
	free(item);
	free(list);
	buf_fini(&h->packed);
	return e;
}

size_t
peers_status(struct peers *p, struct cluster_peer *out, size_t max)
{
	size_t n = p->n < max ? p->n : max;

	(void)pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < n; i++)
		out[i] = (struct cluster_peer){ .url = p->peer[i].url,
			.connected = p->peer[i].connected,
			.last_sync = p->peer[i].last_sync,
			.error = p->peer[i].error };
	(void)pthread_mutex_unlock(&p->lock);
	return n;
}
