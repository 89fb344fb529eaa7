#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/net/httpd.h"
#include "common/wire/kms_public.pb-c.h"
#include "common/wire/pbjson.h"
#include "kms/keys/certs.h"
#include "kms/service/envpub.h"
#include "kms/service/public.h"

#define LOOK_MS 250
/* What the loop has not said again for so long is no word about now. */
#define LOOK_LIFE_MS 3000
#define BODY_MAX 4096

#define FORM(name) (&devproof__kms__pub__##name##__descriptor)

struct public
{
	struct service_options o;
	struct httpd *http; /* owns */
	uv_timer_t timer;
	void (*done)(void *cookie);
	void *done_cookie;

	pthread_mutex_t lock; /* guards all below */
	struct ledger_epoch *epochs; /* owns: a copy */
	size_t n_epochs;
	bool serves;
	uint64_t looked_ms;
	uint64_t tokens_ms; /* a request costs 1000 / PUBLIC_RATE of these */
	uint64_t filled_ms;
};

/* ---- what the loop knows ---- */

static void
on_timer(uv_timer_t *t)
{
	struct public *p = t->data;
	struct refusal why;
	bool serves = cluster_phase(p->o.cluster) == PHASE_READY &&
	    cluster_serves(p->o.cluster, &why) == ERR_OK;
	size_t n = 0;
	struct ledger_epoch *epochs = cluster_copy_epochs(p->o.cluster, &n);

	(void)pthread_mutex_lock(&p->lock);
	free(p->epochs);
	p->epochs = epochs;
	p->n_epochs = epochs != NULL ? n : 0;
	p->serves = serves && epochs != NULL;
	p->looked_ms = clock_boot_ms();
	(void)pthread_mutex_unlock(&p->lock);
}

/* A job of nobody in particular; NULL with the reply made: not now. */
static struct job *
begin(struct public *p, struct refusal *why)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		(void)refuse(why, REASON_INTERNAL, "no memory");
		return NULL;
	}
	j->o = &p->o;
	j->now = clock_wall_s();
	(void)pthread_mutex_lock(&p->lock);
	if (p->serves && clock_boot_ms() - p->looked_ms <= LOOK_LIFE_MS)
		j->epochs = calloc(p->n_epochs + 1, sizeof *j->epochs);
	if (j->epochs != NULL) {
		j->n_epochs = p->n_epochs;
		memcpy(j->epochs, p->epochs, p->n_epochs * sizeof *j->epochs);
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (j->epochs != NULL)
		return j;
	(void)refuse(why, REASON_NOT_READY, "not in service");
	free(j);
	return NULL;
}

static void
end(struct job *j)
{
	if (j == NULL)
		return;
	free(j->epochs);
	free(j);
}

static bool
may_ask(struct public *p)
{
	const uint64_t cost = 1000 / PUBLIC_RATE, full = cost * PUBLIC_BURST;
	uint64_t now;
	bool may;

	(void)pthread_mutex_lock(&p->lock);
	/* Read outside, it could be before another's, and less than nothing
	 * has passed. */
	now = clock_boot_ms();
	p->tokens_ms += now - p->filled_ms;
	if (p->tokens_ms > full)
		p->tokens_ms = full;
	p->filled_ms = now;
	may = p->tokens_ms >= cost;
	if (may)
		p->tokens_ms -= cost;
	(void)pthread_mutex_unlock(&p->lock);
	return may;
}

/* ---- replies ---- */

/* A reply, and in which of two forms. */
struct out {
	struct httpd_reply *rp;
	bool proto; /* protobuf; else JSON */
};

static enum err
write_form(struct out *o, const ProtobufCMessageDescriptor *form, json_t *v)
{
	if (!o->proto)
		return form == FORM(error) ? json_write_pretty(&o->rp->body, v)
					   : json_write(&o->rp->body, v);
	o->rp->content_type = "application/octet-stream";
	return pbjson_write(&o->rp->body, form, v);
}

static void
fail(struct out *o, unsigned status, const char *text)
{
	char ascii[REFUSAL_DETAIL_MAX + 64];
	json_t *v;

	/* It may repeat what came in: ASCII only, so that it is JSON. */
	(void)snprintf(ascii, sizeof ascii, "%s", text);
	for (char *s = ascii; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
	v = json_pack("{s:s}", "error", ascii);
	o->rp->status = status;
	o->rp->body.len = 0;
	if (v == NULL || write_form(o, FORM(error), v) != ERR_OK)
		o->rp->status = 500;
	json_decref(v);
}

/* As on the channel: the code's sentence, and the detail only where an app's
 * owner has to know it. */
static void
fail_why(struct public *p, struct out *o, enum err e, const struct refusal *why)
{
	bool owner = why->code == REASON_EPOCH_CLOSED ||
	    why->code == REASON_EPOCH_UNKNOWN;
	bool later = e != ERR_DENIED || why->code == REASON_NOT_READY ||
	    why->code == REASON_SELF_DENIED ||
	    why->code == REASON_ROOT_MISMATCH;
	enum reason code =
	    why->code != REASON_NONE ? why->code : REASON_INTERNAL;
	char text[REFUSAL_DETAIL_MAX + 64];

	atomic_fetch_add(&p->o.metrics->refusals[code], 1);
	(void)snprintf(text, sizeof text, "%s%s%s", reason_text(code),
	    owner ? ": " : "", owner ? why->detail : "");
	fail(o, later ? 503 : 400, text);
}

static void
give(struct out *o, const ProtobufCMessageDescriptor *form, json_t *v)
{
	if (v == NULL || write_form(o, form, v) != ERR_OK)
		fail(o, 500, "out of memory");
	json_decref(v);
}

/* ---- the methods ---- */

/* Where new apps begin. */
static const struct ledger_epoch *
active_epoch(const struct job *j)
{
	for (size_t i = j->n_epochs; i-- > 0;)
		if (j->epochs[i].state == LEDGER_EPOCH_ACTIVE)
			return &j->epochs[i];
	return NULL;
}

static json_t *
epochs_json(const struct job *j)
{
	static const char *const states[] = {
		[LEDGER_EPOCH_PREPARED] = "prepared",
		[LEDGER_EPOCH_ACTIVE] = "active",
		[LEDGER_EPOCH_TAINTED] = "tainted",
		[LEDGER_EPOCH_DESTROYED] = "destroyed",
	};
	json_t *list = json_array();

	for (size_t i = 0; i < j->n_epochs; i++) {
		const struct ledger_epoch *en = &j->epochs[i];
		uint8_t spki[P256_SPKI_LEN];
		json_t *o = json_object();

		(void)json_set_u64(o, "number", en->pub.number);
		(void)json_set_str(o, "state", states[en->state]);
		(void)json_set_hex(
		    o, "k256_pubkey", en->pub.k256.b, sizeof en->pub.k256.b);
		if (p256_spki(spki, &en->pub.ca) == ERR_OK)
			(void)json_set_hex(o, "ca_pubkey", spki, sizeof spki);
		(void)json_array_append_new(list, o);
	}
	return list;
}

static enum err
ca_pem(json_t *o, struct job *j, uint64_t number)
{
	struct buf der = { 0 }, pem = { 0 };
	enum err e = keyring_ca_cert(j->o->keyring, &der, number);

	if (e == ERR_OK)
		e = cert_to_pem(&pem, buf_view(&der));
	if (e == ERR_OK)
		e = json_set_new(
		    o, "ca_cert", json_stringn((const char *)pem.p, pem.len));
	if (e == ERR_NOTFOUND)
		e = refuse(&j->why, REASON_NOT_READY, "no roots");
	buf_fini(&der);
	buf_fini(&pem);
	return e;
}

/* Its members are dstack's, and the epochs. */
static enum err
meta(json_t *o, struct job *j)
{
	const struct kmsd_config *c = j->o->cfg;
	const struct ledger_epoch *en = active_epoch(j);
	char gateway[GATE_GATEWAY_ID_MAX], address[43] = "0x";
	struct chain_block at;
	enum err e;

	if (en == NULL)
		return refuse(&j->why, REASON_NOT_READY, "no active epoch");
	e = gate_gateway_app_id(j->o->gate, j->now, gateway, &at, &j->why);
	if (e != ERR_OK || (e = ca_pem(o, j, en->pub.number)) != ERR_OK)
		return e;
	(void)json_set_bool(o, "allow_any_upgrade", false);
	(void)json_set_hex(
	    o, "k256_pubkey", en->pub.k256.b, sizeof en->pub.k256.b);
	(void)json_set_new(o, "bootstrap_info", json_null());
	(void)json_set_bool(
	    o, "is_dev", c->simulated || c->simulated_root[0] != '\0');
	(void)json_set_new(o, "gateway_app_id",
	    gateway[0] != '\0' ? json_string(gateway) : json_null());
	hex_encode(address + 2, c->kms_contract, 20);
	(void)json_set_str(o, "kms_contract_address", address);
	(void)json_set_u64(o, "chain_id", c->chain_id);
	(void)json_set_new(o, "app_auth_implementation", json_null());
	(void)json_set_u64(o, "epoch", en->pub.number);
	return json_set_new(o, "epochs", epochs_json(j));
}

static void
get_meta(struct public *p, struct out *out)
{
	struct refusal why = { .code = REASON_NONE };
	struct job *j = begin(p, &why);
	json_t *o = json_object();
	enum err e = ERR_DENIED;

	if (j != NULL) {
		e = meta(o, j);
		why = j->why;
	}
	if (e != ERR_OK) {
		fail_why(p, out, e, &why);
		json_decref(o);
	} else {
		atomic_fetch_add(&p->o.metrics->answered[RQ_GET_META], 1);
		give(out, FORM(get_meta_reply), o);
	}
	end(j);
}

static json_t *
env_json(const struct envpub *v)
{
	json_t *o = json_object();

	(void)json_set_hex(o, "public_key", v->pub, sizeof v->pub);
	(void)json_set_hex(o, "signature", v->sig.b, sizeof v->sig.b);
	(void)json_set_u64(o, "timestamp", v->timestamp);
	(void)json_set_hex(o, "signature_v1", v->sig_v1.b, sizeof v->sig_v1.b);
	(void)json_set_u64(o, "epoch", v->epoch);
	return o;
}

static void
get_env_pub(struct public *p, struct out *out, const uint8_t app_id[static 20])
{
	struct refusal why = { .code = REASON_NONE };
	struct job *j = begin(p, &why);
	enum err e = ERR_DENIED;
	struct envpub v;

	if (j != NULL) {
		e = envpub_make(&v, j, app_id);
		why = j->why;
	}
	if (e != ERR_OK) {
		fail_why(p, out, e, &why);
	} else {
		atomic_fetch_add(&p->o.metrics->answered[RQ_GET_ENV_PUB], 1);
		give(
		    out, FORM(get_app_env_encrypt_pub_key_reply), env_json(&v));
	}
	end(j);
}

/* ---- HTTP ---- */

static bool
is_json(const struct httpd_request *rq)
{
	const char *q = httpd_query(rq, "json");

	return strncasecmp(rq->content_type, "application/json", 16) == 0 ||
	    (q != NULL &&
		(q[0] == '\0' || strcmp(q, "true") == 0 ||
		    strcmp(q, "1") == 0));
}

/* The object that a POST brings; ERR_NOTFOUND: no body. */
static enum err
read_body(json_t **out, const struct httpd_request *rq, bool proto,
    const ProtobufCMessageDescriptor *form, char *why, size_t why_cap)
{
	enum err e;

	if (proto) {
		if ((e = pbjson_read(out, form, rq->body)) != ERR_OK)
			(void)snprintf(why, why_cap,
			    "Failed to decode request: %s", err_text(e));
		return e;
	}
	if (rq->body.len == 0)
		return ERR_NOTFOUND;
	return json_parse(
	    out, rq->body.p, rq->body.len, BODY_MAX, why, why_cap);
}

/* Of a GET its query's. */
static enum err
read_app_id(uint8_t out[static 20], const struct httpd_request *rq, bool proto,
    char *why, size_t why_cap)
{
	static const char words[] = "app_id must be 20 bytes";
	const char *q = httpd_query(rq, "app_id");
	json_t *v = NULL;
	enum err e;

	(void)snprintf(why, why_cap, "%s", words);
	if (strcmp(rq->method, "GET") == 0)
		return q != NULL ? hex_fixed(out, 20, q) : ERR_NOTFOUND;
	e = read_body(&v, rq, proto, FORM(get_app_env_encrypt_pub_key_request),
	    why, why_cap);
	if (e == ERR_OK && !json_is_object(v))
		e = ERR_MALFORMED;
	if (e == ERR_OK) {
		(void)snprintf(why, why_cap, "%s", words);
		e = json_get_hex(out, 20, v, "app_id");
	}
	json_decref(v);
	return e;
}

static void
on_method(struct public *p, const struct httpd_request *rq, struct out *out,
    const char *name)
{
	json_t *v = NULL;
	char why[160];
	uint8_t app_id[20];

	if (strncmp(name, "KMS.", 4) == 0)
		name += 4;
	if (strcmp(name, "GetMeta") == 0) {
		atomic_fetch_add(&p->o.metrics->requests[RQ_GET_META], 1);
		/* It has no fields; what is no message is none of it. */
		if (out->proto &&
		    read_body(&v, rq, true, FORM(empty), why, sizeof why) !=
			ERR_OK)
			fail(out, 400, why);
		else
			get_meta(p, out);
		json_decref(v);
	} else if (strcmp(name, "GetAppEnvEncryptPubKey") == 0) {
		atomic_fetch_add(&p->o.metrics->requests[RQ_GET_ENV_PUB], 1);
		if (read_app_id(app_id, rq, out->proto, why, sizeof why) !=
		    ERR_OK)
			fail(out, 400, why);
		else
			get_env_pub(p, out, app_id);
	} else {
		(void)snprintf(
		    why, sizeof why, "Service not found: %.100s", name);
		fail(out, 400, why);
	}
}

static void
on_http(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	struct public *p = cookie;
	bool get = strcmp(rq->method, "GET") == 0,
	     post = strcmp(rq->method, "POST") == 0,
	     prpc = strncmp(rq->path, "/prpc/", 6) == 0 &&
	    strchr(rq->path + 6, '/') == NULL;
	/* What is no method is answered as people read it. */
	struct out out = { .rp = rp, .proto = prpc && post && !is_json(rq) };

	if (!get && !post) {
		fail(&out, 405, "GET or POST");
	} else if (strcmp(rq->path, "/health") == 0) {
		rp->content_type = "text/plain";
		(void)!buf_printf(&rp->body, "OK");
	} else if (!prpc) {
		fail(&out, 404, "Not found");
	} else if (!may_ask(p)) {
		fail(&out, 429, "Too many requests");
	} else {
		on_method(p, rq, &out, rq->path + 6);
	}
}

enum err
public_start(struct public **out, const struct service_options *o)
{
	const struct httpd_options ho = { .host = o->cfg->public_host,
		.port = o->cfg->public_port,
		.max_body = BODY_MAX,
		.max_connections = 64,
		.timeout_s = 5,
		.threads = 2 };
	struct public *p = calloc(1, sizeof *p);
	enum err e;

	if (p == NULL)
		return ERR_NOMEM;
	p->o = *o;
	p->filled_ms = clock_boot_ms();
	p->tokens_ms = PUBLIC_BURST * (1000 / PUBLIC_RATE);
	if (pthread_mutex_init(&p->lock, NULL) != 0) {
		free(p);
		return ERR_NOMEM;
	}
	if ((e = httpd_start(&p->http, &ho, on_http, p)) != ERR_OK) {
		public_free(p);
		return e;
	}
	(void)uv_timer_init(o->loop, &p->timer);
	p->timer.data = p;
	(void)uv_timer_start(&p->timer, on_timer, 0, LOOK_MS);
	*out = p;
	return ERR_OK;
}

uint16_t
public_port(const struct public *p)
{
	return httpd_port(p->http);
}

static void
on_timer_closed(uv_handle_t *h)
{
	struct public *p = h->data;

	p->done(p->done_cookie);
}

void
public_stop(struct public *p, void (*done)(void *), void *cookie)
{
	httpd_stop(p->http);
	p->http = NULL;
	p->done = done;
	p->done_cookie = cookie;
	uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

void
public_free(struct public *p)
{
	if (p == NULL)
		return;
	httpd_stop(p->http);
	free(p->epochs);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}
