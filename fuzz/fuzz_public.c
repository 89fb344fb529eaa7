/* fuzz_public: what anybody may send to kmsd's public listener.
 *
 * Targets: on_http of kms/service/public.c and all below it (routes, JSON,
 * protobuf, decision_env), http1_feed.  public.c is part of this file: its
 * handler is nobody else's.  The chain and the cluster are service_world.c.
 *
 * Input: n u8 % 8 pairs (what u8, to u8) that set what the world says, then
 * requests as they come from a socket, each answered.
 *
 * Asserted: a reply has a status of the list, and is what its content type
 * says; an env key is given only by a node that serves, is allowed and has the
 * contract's root; nothing secret is in any reply. */
#include "kms/service/public.c"

#include "common/base/rd.h"
#include "fuzz/service_world.h"

#define REQUESTS 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct metrics counts;
static const struct kmsd_config config = { .chain_id = 31337,
	.kms_contract = { 1 } };

/* Nobody talks over the channel here. */
enum err
service_world_reply(uint64_t conn, struct bytes reply)
{
	(void)conn;
	(void)reply;
	must(false);
	return ERR_OK;
}

void
service_world_dropped(uint64_t conn)
{
	(void)conn;
	must(false);
}

void
service_world_submitted(const struct command *c)
{
	(void)c;
	must(false);
}

static void
set(uint8_t what, uint8_t to)
{
	switch (what % 10) {
	case 0:
		sw.self = to % SAYS;
		break;
	case 1:
		sw.info = to % SAYS;
		break;
	case 2:
		sw.gateway = to % SAYS;
		break;
	case 3:
		sw.registry = to % SAYS;
		break;
	case 4:
		sw.registered = to % SAYS;
		break;
	case 5:
		sw.pinned = sw.active = to % 4;
		break;
	case 6:
		sw.status[to % EPOCHS] = (to >> 2) % 6;
		break;
	case 7:
		sw.state[to % EPOCHS] =
		    (enum ledger_epoch_state)(1 + (to >> 2) % 4);
		break;
	case 8:
		sw.serves = (to & 1) != 0;
		break;
	case 9:
		sw.phase = (enum cluster_phase)(to % (PHASE_HALTED + 1));
		break;
	}
}

static bool
has(struct bytes in, const void *secret)
{
	return in.len >= 32 && memmem(in.p, in.len, secret, 32) != NULL;
}

static void
check_secrets(struct bytes in)
{
	for (unsigned e = 0; e < EPOCHS; e++) {
		must(!has(in, sw.root[e][0]) && !has(in, sw.root[e][1]));
		must(!has(in, sw.wrap[e].b) && !has(in, sw.anchor.b));
		for (unsigned i = 0; i < CALLERS; i++)
			must(!has(in, sw.caller[i].keys[e].k256.b) &&
			    !has(in, sw.caller[i].keys[e].env_crypt_key));
	}
}

static void
check_value(const struct httpd_reply *rp, const json_t *v, uint64_t env_before)
{
	if (rp->status != 200) {
		must(json_string_length(json_object_get(v, "error")) > 0);
		return;
	}
	must(sw.serves && sw.phase == PHASE_READY);
	if (atomic_load(&counts.answered[RQ_GET_ENV_PUB]) == env_before)
		return;
	must(sw.self == SAY_YES && sw.info == SAY_YES);
	must(json_string_length(json_object_get(v, "public_key")) == 64);
	must(json_string_length(json_object_get(v, "signature_v1")) == 130);
}

static void
check(const struct httpd_reply *rp, bool env, uint64_t env_before)
{
	struct bytes in = buf_view(&rp->body);
	json_t *v = NULL;

	must(rp->status == 200 || rp->status == 400 || rp->status == 404 ||
	    rp->status == 405 || rp->status == 429 || rp->status == 503);
	check_secrets(in);
	if (strcmp(rp->content_type, "text/plain") == 0) {
		must(rp->status == 200 && in.len == 2);
		return;
	}
	if (strcmp(rp->content_type, "application/json") == 0) {
		v = json_loadb((const char *)in.p, in.len, 0, NULL);
		for (size_t i = 0; i < in.len; i++)
			must(in.p[i] < 0x80);
	} else if (rp->status != 200) {
		must(pbjson_read(&v, FORM(error), in) == ERR_OK);
	} else {
		must(pbjson_read(&v,
			 env ? FORM(get_app_env_encrypt_pub_key_reply)
			     : FORM(get_meta_reply),
			 in) == ERR_OK);
	}
	must(v != NULL);
	check_value(rp, v, env_before);
	json_decref(v);
}

/* True: there may be another behind it. */
static bool
request(struct public *p, struct bytes *in)
{
	struct http1 h;
	enum http1_step got;
	struct httpd_request rq;
	struct httpd_reply rp = { .status = 200,
		.content_type = "application/json" };
	uint64_t before = atomic_load(&counts.answered[RQ_GET_ENV_PUB]);

	http1_init(&h, BODY_MAX);
	while ((got = http1_feed(&h, in)) == HTTP1_HEAD)
		;
	if (got == HTTP1_WHOLE) {
		httpd_request_of(&rq, &h);
		on_http(p, &rq, &rp);
		check(&rp,
		    atomic_load(&counts.answered[RQ_GET_ENV_PUB]) != before,
		    before);
		buf_fini(&rp.body);
	}
	http1_fini(&h);
	return got == HTTP1_WHOLE && in->len > 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct rd r = { .p = data, .left = size };
	struct public p = { .o = { .cfg = &config, .metrics = &counts } };
	uv_timer_t timer = { .data = &p };
	struct bytes in;
	uint8_t n = rd_u8(&r), what;

	if (!ready)
		service_world_init();
	ready = true;
	service_world_reset();
	p.o.keyring = sw.ring;
	p.o.registry = (n & 8) != 0 ? (struct registry *)&sw : NULL;
	p.tokens_ms = PUBLIC_BURST * (1000 / PUBLIC_RATE);
	p.filled_ms = clock_boot_ms();
	must(pthread_mutex_init(&p.lock, NULL) == 0);
	for (unsigned i = 0; i < n % 8u; i++) {
		what = rd_u8(&r);
		set(what, rd_u8(&r));
	}
	on_timer(&timer);
	in = (struct bytes){ r.p, r.bad ? 0 : r.left };
	for (unsigned i = 0; i < REQUESTS && in.len > 0; i++)
		if (!request(&p, &in))
			break;
	free(p.epochs);
	(void)pthread_mutex_destroy(&p.lock);
	service_world_end();
	return 0;
}
