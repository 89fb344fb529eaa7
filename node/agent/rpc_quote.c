#include <string.h>

#include "common/base/limits.h"

#include "node/agent/boot.h"
#include "node/agent/info.h"
#include "node/agent/params.h"
#include "node/agent/rpc_quote.h"

enum err
rpc_quote_report_data(
    struct rpc_call *c, uint8_t out[static 64], const char *too_long)
{
	struct buf given = { 0 };
	enum err e = ERR_OK;

	params_bytes(c->in, &given, "report_data", 64, too_long);
	if (params_bad(c->in) != NULL) {
		e = rpc_fail(c, "%s", params_bad(c->in));
	} else {
		memset(out, 0, 64);
		if (given.len > 0)
			memcpy(out, given.p, given.len);
	}
	buf_fini(&given);
	return e;
}

enum err
rpc_quote_take(struct rpc_call *c, struct evidence *out,
    const uint8_t report_data[static 64])
{
	struct refusal why = { .code = REASON_NONE };
	struct evidence ev = { .tee = 0 };
	struct buf text = { 0 };
	json_t *log = NULL;
	enum err e;

	e = c->backend->quote(c->backend->cookie, &ev, report_data, &why);
	if (e != ERR_OK)
		return rpc_fail_why(c, "Failed to get quote", e, &why);
	log = info_event_log(&ev.event_log);
	if (log == NULL || (e = json_write(&text, log)) != ERR_OK) {
		e = rpc_fail(c, "Failed to read event log");
		goto done;
	}
	rpc_put_hex(c, "quote", ev.quote.p, ev.quote.len);
	rpc_put_str(c, "event_log", (const char *)text.p);
	*out = ev; /* transferred */
	ev = (struct evidence){ .tee = 0 };
done:
	json_decref(log);
	buf_fini(&text);
	evidence_fini(&ev);
	return e;
}

static enum err
put_attestation(struct rpc_call *c, const uint8_t report_data[static 64])
{
	struct refusal why = { .code = REASON_NONE };
	struct buf out = { 0 };
	enum err e;

	e = c->backend->attest(
	    c->backend->cookie, &out, report_data, false, &why);
	if (e == ERR_OK)
		rpc_put_hex(c, "attestation", out.p, out.len);
	else
		e = rpc_fail_why(c, "Failed to attest", e, &why);
	buf_fini(&out);
	return e;
}

enum err
rpc_quote_answer(struct rpc_call *c, const uint8_t report_data[static 64])
{
	struct evidence ev = { .tee = 0 };
	enum err e = rpc_quote_take(c, &ev, report_data);

	if (e != ERR_OK)
		return e;
	rpc_put_hex(c, "report_data", report_data, 64);
	rpc_put_str(c, "vm_config", rpc_text(&ev.vm_config));
	evidence_fini(&ev);
	return c->backend->quote_attestation ? put_attestation(c, report_data)
					     : ERR_OK;
}

enum err
rpc_quote_get_quote(struct rpc_call *c)
{
	uint8_t rd[64];
	enum err e = rpc_quote_report_data(c, rd, "Report data is too long");

	return e != ERR_OK ? e : rpc_quote_answer(c, rd);
}

enum err
rpc_quote_attest(struct rpc_call *c)
{
	uint8_t rd[64];
	enum err e = rpc_quote_report_data(c, rd, "Report data is too long");

	return e == ERR_OK ? put_attestation(c, rd) : e;
}

enum err
rpc_quote_emit_event(struct rpc_call *c)
{
	const char *name = params_str(c->in, "event", EVENT_NAME_MAX - 1);
	struct buf payload = { 0 };
	enum err e = ERR_OK;

	params_bytes(c->in, &payload, "payload", LIMIT_EVENT_PAYLOAD,
	    "Event payload is too long");
	if (params_bad(c->in) != NULL)
		e = rpc_fail(c, "%s", params_bad(c->in));
	else if (name[0] == '\0')
		e = rpc_fail(c, "Event name cannot be empty");
	else if (boot_reserved(name))
		e = rpc_fail(c, "Event name is reserved: %s", name);
	else if (c->backend->no_events)
		e = rpc_fail(c,
		    "runtime event emission is unavailable in simulator "
		    "mode: %s",
		    name);
	if (e != ERR_OK)
		goto done;
	e = c->backend->emit(c->backend->cookie, name, buf_view(&payload));
	if (e != ERR_OK) {
		e = rpc_fail(c, "Failed to extend RTMR3: %s", err_text(e));
		goto done;
	}
	/* dstack's empty message is the JSON value null. */
	json_decref(c->out);
	c->out = json_null();
done:
	buf_fini(&payload);
	return e;
}
