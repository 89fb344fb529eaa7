/* fuzz_guest: what anybody may send to the agent's sockets.
 *
 * Targets: http1_feed, server_answer with all that is below it: routes,
 * JSON, protobuf, the methods' fields.  The first byte chooses the surface,
 * the second the size of the pieces.
 *
 * Asserted: pieces do not matter; a refusal has a status and words; a reply
 * is what its content type says, JSON in ASCII or a message; a refused
 * method tells an error. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/wire/guest_v0.pb-c.h"
#include "common/wire/pbjson.h"

#include "fuzz/must.h"
#include "node/agent/server.h"

#define BODY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a CVM that has fixed keys, and no TEE ---- */

static enum err
keys(void *cookie, struct app_release *out, const uint64_t *epoch,
    struct refusal *why)
{
	(void)cookie;
	if (epoch != NULL && *epoch != 0)
		return refuse(why, REASON_EPOCH_UNKNOWN, "there is one");
	*out = (struct app_release){ .epoch = 0 };
	memset(&out->k256, 1, sizeof out->k256);
	return ERR_OK;
}

static void
pin(void *cookie, struct heldkeys_pin *out)
{
	(void)cookie;
	*out = (struct heldkeys_pin){ .epoch = 0 };
}

static enum err
measured(void *cookie, struct agent_measured *out, struct refusal *why)
{
	(void)cookie;
	(void)why;
	*out = (struct agent_measured){ .mrtd = { 0 } };
	return buf_set(&out->event_log, "[]", 2);
}

static enum err
quote(void *cookie, struct evidence *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	(void)cookie;
	(void)report_data;
	(void)why;
	*out = (struct evidence){ .tee = TEE_TDX };
	must(buf_set(&out->event_log, "[]", 2) == ERR_OK);
	return buf_set(&out->quote, "q", 1);
}

static enum err
attest(void *cookie, struct buf *out, const uint8_t report_data[static 64],
    bool stripped, struct refusal *why)
{
	(void)cookie;
	(void)report_data;
	(void)stripped;
	(void)why;
	return buf_append(out, "a", 1, 1);
}

static enum err
emit(void *cookie, const char *name, struct bytes payload)
{
	(void)cookie;
	must(name[0] != '\0');
	must(payload.len <= BODY_MAX);
	return ERR_OK;
}

static enum err
sign_cert(void *cookie, struct buf chain[static 3],
    const struct kms_cert_request *rq, struct refusal *why)
{
	(void)cookie;
	(void)rq;
	(void)why;
	for (size_t i = 0; i < 3; i++)
		must(buf_set(&chain[i], "c", 1) == ERR_OK);
	return ERR_OK;
}

static enum err
counter_get(void *cookie, struct kms_counter *out, const char *name,
    struct refusal *why)
{
	(void)cookie;
	(void)why;
	must(name[0] != '\0');
	*out = (struct kms_counter){ .value = 1 };
	return ERR_OK;
}

static enum err
counter_increment(void *cookie, struct kms_counter *out, const char *name,
    uint64_t expected, const uint8_t operation[static KMS_OPERATION_LEN],
    struct refusal *why)
{
	(void)operation;
	(void)counter_get(cookie, out, name, why);
	out->matched = expected == 1;
	return ERR_OK;
}

static struct app_identity identity = { .name = "caf\xc3\xa9",
	.compose = { (uint8_t[]){ "{}" }, 2, 2 } };
static const struct agent_backend backend = {
	.identity = &identity,
	.keys = keys,
	.pin = pin,
	.measured = measured,
	.quote = quote,
	.attest = attest,
	.emit = emit,
	.sign_cert = sign_cert,
	.counter_get = counter_get,
	.counter_increment = counter_increment,
};

/* ---- the request ---- */

static enum http1_step
feed(struct http1 *p, struct bytes in, size_t step)
{
	enum http1_step got = HTTP1_MORE;

	http1_init(p, BODY_MAX);
	for (size_t i = 0; i < in.len && got == HTTP1_MORE; i += step) {
		struct bytes piece = { in.p + i,
			in.len - i < step ? in.len - i : step };

		while ((got = http1_feed(p, &piece)) == HTTP1_HEAD)
			must(p->body_max <= BODY_MAX);
	}
	must(p->body.len <= BODY_MAX);
	if (got == HTTP1_REFUSED)
		must(p->status >= 400 && http1_reason(p->status)[0] != '\0' &&
		    p->why[0] != '\0');
	return got;
}

static void
compare(const struct http1 *a, const struct http1 *b)
{
	must(strcmp(a->method, b->method) == 0);
	must(strcmp(a->path, b->path) == 0);
	must(strcmp(a->content_type, b->content_type) == 0);
	must(a->n_query == b->n_query);
	must(a->body.len == b->body.len);
	must(
	    a->body.len == 0 || memcmp(a->body.p, b->body.p, a->body.len) == 0);
}

/* ---- the reply ---- */

static void
check_json(const struct httpd_reply *rp)
{
	json_t *v = json_loadb((const char *)rp->body.p, rp->body.len,
	    JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	must(v != NULL);
	for (size_t i = 0; i < rp->body.len; i++)
		must(rp->body.p[i] < 0x80);
	if (rp->status != 200)
		must(json_string_length(json_object_get(v, "error")) > 0);
	json_decref(v);
}

static void
check_message(const struct httpd_reply *rp)
{
	json_t *v = NULL;

	if (rp->status == 200)
		return;
	must(pbjson_read(&v, &devproof__guest__v0__error__descriptor,
		 buf_view(&rp->body)) == ERR_OK);
	must(json_string_length(json_object_get(v, "error")) > 0);
	json_decref(v);
}

static void
answer(const struct http1 *in, enum surface surface)
{
	struct httpd_reply rp = { .status = 200,
		.content_type = "application/json" };
	struct httpd_request rq;

	httpd_request_of(&rq, in);
	server_answer(&rp, &backend, surface, NULL, &rq);
	must(rp.status == 200 || rp.status == 400 || rp.status == 404 ||
	    rp.status == 405 || rp.status == 501);
	if (strcmp(rp.content_type, "application/json") == 0)
		check_json(&rp);
	else if (strcmp(rp.content_type, "application/octet-stream") == 0)
		check_message(&rp);
	else
		must(rp.status == 404);
	buf_fini(&rp.body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct http1 whole, pieces;
	enum http1_step a, b;

	if (!ready) {
		must(secret_process_init() == ERR_OK);
		log_set_level(LOG_ERROR);
		ready = true;
	}
	if (size < 2)
		return 0;
	a = feed(&whole, (struct bytes){ data + 2, size - 2 }, size);
	b = feed(
	    &pieces, (struct bytes){ data + 2, size - 2 }, data[1] % 16 + 1u);
	must(a == b);
	if (a == HTTP1_REFUSED)
		must(whole.status == pieces.status);
	if (a == HTTP1_WHOLE) {
		compare(&whole, &pieces);
		answer(&whole, data[0] % 3);
	}
	http1_fini(&whole);
	http1_fini(&pieces);
	return 0;
}
