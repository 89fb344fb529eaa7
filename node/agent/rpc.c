#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#include "node/agent/params.h"
#include "node/agent/rpc.h"
#include "node/agent/rpc_counter.h"
#include "node/agent/rpc_info.h"
#include "node/agent/rpc_keys.h"
#include "node/agent/rpc_quote.h"
#include "node/agent/rpc_replica.h"
#include "node/agent/rpc_v1.h"

/* SDKs ask for the version before they use newer methods. */
enum err
rpc_version(struct rpc_call *c)
{
	rpc_put_str(c, "version", RPC_API_VERSION);
	rpc_put_str(
	    c, "rev", c->backend->simulated ? RPC_REV_SIMULATED : RPC_REV);
	return ERR_OK;
}

static const struct rpc_method methods[] = {
	{ "GetKey", rpc_keys_get_key, true },
	{ "GetTlsKey", rpc_keys_get_tls_key, true },
	{ "Sign", rpc_keys_sign, false },
	{ "Verify", rpc_keys_verify, false },
	{ "GetQuote", rpc_quote_get_quote, false },
	{ "Attest", rpc_quote_attest, false },
	{ "EmitEvent", rpc_quote_emit_event, false },
	{ "Info", rpc_info, false },
	{ "GetReplicaKey", rpc_replica_get_key, true },
	{ "CounterGet", rpc_counter_get, false },
	{ "CounterIncrement", rpc_counter_increment, false },
	{ "GpuInfo", rpc_v1_gpu_info, false },
	{ "Version", rpc_version, false },
};
const struct rpc_service rpc_guest = { "DstackGuest", methods,
	sizeof methods / sizeof methods[0] };

enum err
rpc_fail(struct rpc_call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->error, sizeof c->error, fmt, ap);
	va_end(ap);
	return ERR_DENIED;
}

enum err
rpc_fail_why(
    struct rpc_call *c, const char *what, enum err e, const struct refusal *why)
{
	if (why->code == REASON_NONE)
		return rpc_fail(c, "%s: %s", what, err_text(e));
	if (c->public) {
		log_event(LOG_WARN, "public_request_failed",
		    log_str("what", what), log_why(why));
		return rpc_fail(c, "%s: %s", what, reason_text(why->code));
	}
	/* The app beside us is no stranger: it may see the detail. */
	return rpc_fail(c, "%s: %s%s%s", what, reason_text(why->code),
	    why->detail[0] != '\0' ? ": " : "", why->detail);
}

void
rpc_put_hex(struct rpc_call *c, const char *key, const void *p, size_t len)
{
	if (json_set_hex(c->out, key, p, len) != ERR_OK)
		c->put_failed = true;
}

void
rpc_put_str(struct rpc_call *c, const char *key, const char *text)
{
	if (json_set_str(c->out, key, text) != ERR_OK)
		c->put_failed = true;
}

void
rpc_put_u64(struct rpc_call *c, const char *key, uint64_t v)
{
	if (json_set_u64(c->out, key, v) != ERR_OK)
		c->put_failed = true;
}

void
rpc_put_new(struct rpc_call *c, const char *key, json_t *v)
{
	if (json_set_new(c->out, key, v) != ERR_OK)
		c->put_failed = true;
}

/* refuse_with says out->error, and `beside` (or NULL) in the same object. */
static void
refuse_with(struct rpc_reply *out, unsigned status, json_t *beside)
{
	json_t *o = json_object();

	/* Texts may repeat what came in: ASCII only, so that they are JSON. */
	for (char *s = out->error; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
	out->status = status;
	out->secret = false;
	out->body.len = 0;
	if (o == NULL || json_set_str(o, "error", out->error) != ERR_OK ||
	    (beside != NULL && json_object_update(o, beside) != 0) ||
	    (out->write != NULL ? out->write(&out->body, NULL, NULL, o)
				: json_write_pretty(&out->body, o)) != ERR_OK)
		out->status = 500;
	json_decref(o);
}

void
rpc_refuse(struct rpc_reply *out, unsigned status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out->error, sizeof out->error, fmt, ap);
	va_end(ap);
	refuse_with(out, status, NULL);
}

static const struct rpc_method *
find(const struct rpc_service *s, const char *name)
{
	for (size_t i = 0; i < s->n_methods; i++)
		if (strcmp(s->methods[i].name, name) == 0)
			return &s->methods[i];
	return NULL;
}

bool
rpc_has(const struct rpc_service *service, const char *method)
{
	return find(service, method) != NULL;
}

void
rpc_call(const struct agent_backend *b, struct rpc_reply *out,
    const struct rpc_service *service, const char *name, json_t *fields,
    bool text)
{
	const struct rpc_method *m = find(service, name);
	struct params in = { .text = text };
	struct rpc_call c = { .backend = b,
		.in = &in,
		.public = service == &rpc_worker || service == &rpc_worker_v1 };
	enum err e = ERR_NOMEM;

	if (m == NULL) {
		/* By the status clients of 0.6 know that v1 is there. */
		rpc_refuse(out,
		    service == &rpc_guest_v1 || service == &rpc_worker_v1 ? 404
									  : 400,
		    "Service not found: %.64s", name);
		return;
	}
	in.obj = fields != NULL ? json_incref(fields) : json_object();
	c.out = json_object();
	c.beside_error = json_object();
	if (c.out == NULL || c.beside_error == NULL || in.obj == NULL)
		goto done;
	e = json_is_object(in.obj) ? m->run(&c)
				   : rpc_fail(&c, "request is not an object");
	if (e == ERR_OK && c.put_failed)
		e = ERR_NOMEM;
	if (e == ERR_OK)
		e = out->write != NULL
		    ? out->write(&out->body, service, m->name, c.out)
		    : json_write(&out->body, c.out);
done:
	if (e == ERR_OK) {
		out->status = 200;
		out->secret = m->secret;
		out->error[0] = '\0';
	} else {
		buf_wipe(&out->body);
		(void)snprintf(out->error, sizeof out->error, "%s",
		    c.error[0] != '\0' ? c.error : err_text(e));
		if (c.status == 0)
			c.status = e == ERR_NOMEM ? 500 : 400;
		refuse_with(out, c.status, c.beside_error);
	}
	json_decref(c.beside_error);
	json_wipe(c.out);
	json_decref(in.obj);
}
