#include <string.h>

#include "common/base/limits.h"
#include "common/crypto/hash.h"

#include "node/agent/boot.h"
#include "node/agent/params.h"
#include "node/agent/rpc_quote.h"

/* "ACPI DATA" in hex: the one payload of boot events that is kept. */
#define ACPI_DATA "414350492044415441"

/* A buffer as a string; one that was never written has no memory. */
static const char *
text_of(const struct buf *b)
{
	return b->p != NULL ? (const char *)b->p : "";
}

/* report_data: up to 64 bytes, zeros behind. */
static enum err
read_report_data(struct rpc_call *c, uint8_t out[static 64])
{
	struct buf given = { 0 };
	enum err e = ERR_OK;

	params_bytes(
	    c->in, &given, "report_data", 64, "Report data is too long");
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

/* The log as the socket shows it: dstack empties the payloads of boot
 * events, which are large and which replay does not need. */
static json_t *
shown_log(const struct buf *log)
{
	json_t *all = NULL, *ev;
	const char *payload;
	uint64_t imr;
	size_t i;

	if (json_parse(&all, log->p, log->len, LIMIT_EVENT_LOG, NULL, 0) !=
	    ERR_OK)
		return NULL;
	json_array_foreach(all, i, ev)
	{
		if (json_get_u64(&imr, ev, "imr") != ERR_OK)
			goto bad;
		if (imr > 2)
			continue;
		if (json_get_str(&payload, ev, "event_payload") == ERR_OK &&
		    strcmp(payload, ACPI_DATA) == 0)
			continue;
		if (json_set_str(ev, "event_payload", "") != ERR_OK)
			goto bad;
	}
	return all;
bad:
	json_decref(all);
	return NULL;
}

enum err
rpc_quote_get_quote(struct rpc_call *c)
{
	struct refusal why = { .code = REASON_NONE };
	struct evidence ev = { .tee = 0 };
	struct buf text = { 0 };
	json_t *log = NULL;
	uint8_t rd[64];
	enum err e;

	if ((e = read_report_data(c, rd)) != ERR_OK)
		return e;
	e = c->backend->quote(c->backend->cookie, &ev, rd, &why);
	if (e != ERR_OK)
		return rpc_fail_why(c, "Failed to get quote", e, &why);
	log = shown_log(&ev.event_log);
	if (log == NULL || (e = json_write(&text, log)) != ERR_OK) {
		e = rpc_fail(c, "Failed to read event log");
		goto done;
	}
	rpc_put_hex(c, "quote", ev.quote.p, ev.quote.len);
	rpc_put_str(c, "event_log", (const char *)text.p);
	rpc_put_hex(c, "report_data", rd, sizeof rd);
	rpc_put_str(c, "vm_config", text_of(&ev.vm_config));
done:
	json_decref(log);
	buf_fini(&text);
	evidence_fini(&ev);
	return e;
}

enum err
rpc_quote_attest(struct rpc_call *c)
{
	struct refusal why = { .code = REASON_NONE };
	struct buf out = { 0 };
	uint8_t rd[64];
	enum err e;

	if ((e = read_report_data(c, rd)) != ERR_OK)
		return e;
	e = c->backend->attest(c->backend->cookie, &out, rd, false, &why);
	if (e == ERR_OK)
		rpc_put_hex(c, "attestation", out.p, out.len);
	else
		e = rpc_fail_why(c, "Failed to attest", e, &why);
	buf_fini(&out);
	return e;
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

/* Info.tcb_info: JSON in a string, pretty. */
static enum err
put_tcb_info(struct rpc_call *c, const struct agent_measured *m,
    const uint8_t device_id[static 32])
{
	static const char *const rtmr[] = { "rtmr0", "rtmr1", "rtmr2",
		"rtmr3" };
	const struct app_identity *id = c->backend->identity;
	struct rpc_call tcb = { .out = json_object() };
	json_t *log = shown_log(&m->event_log);
	struct buf text = { 0 };
	enum err e = ERR_OK;

	if (tcb.out == NULL || log == NULL) {
		e = rpc_fail(c, "Failed to read event log");
		goto done;
	}
	rpc_put_hex(&tcb, "mrtd", m->mrtd, 48);
	for (size_t i = 0; i < 4; i++)
		rpc_put_hex(&tcb, rtmr[i], m->rtmr[i], 48);
	rpc_put_hex(&tcb, "mr_aggregated", m->mr_aggregated, 32);
	rpc_put_hex(&tcb, "os_image_hash", c->backend->os_image_hash, 32);
	rpc_put_hex(&tcb, "compose_hash", id->compose_hash, 32);
	rpc_put_hex(&tcb, "device_id", device_id, 32);
	rpc_put_new(&tcb, "event_log", json_incref(log));
	rpc_put_str(&tcb, "app_compose", (const char *)id->compose.p);
	if (tcb.put_failed || json_write_pretty(&text, tcb.out) != ERR_OK)
		c->put_failed = true;
	else
		rpc_put_str(c, "tcb_info", (const char *)text.p);
done:
	json_decref(log);
	json_decref(tcb.out);
	buf_fini(&text);
	return e;
}

enum err
rpc_quote_info(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	const struct app_identity *id = b->identity;
	struct refusal why = { .code = REASON_NONE };
	struct agent_measured m = { .event_log = { 0 } };
	struct heldkeys_pin pin;
	struct buf provider = { 0 };
	uint8_t device_id[32];
	enum err e;

	/* Our own platform is unverified from inside: no PPID is known. */
	sha256(device_id, "", 0);
	if ((e = b->measured(b->cookie, &m, &why)) != ERR_OK) {
		e = rpc_fail_why(c, "Failed to read measurements", e, &why);
		goto done;
	}
	e = boot_key_provider(&provider,
	    (struct bytes){ b->boot_ca_spki, sizeof b->boot_ca_spki });
	if (e != ERR_OK)
		goto done;
	if ((e = put_tcb_info(c, &m, device_id)) != ERR_OK)
		goto done;
	rpc_put_hex(c, "app_id", id->app_id, 20);
	rpc_put_hex(
	    c, "instance_id", id->instance_id, id->has_instance_id ? 20 : 0);
	/* dstack has a certificate here that nobody checks; none is minted. */
	rpc_put_str(c, "app_cert", "");
	rpc_put_str(c, "app_name", id->name);
	rpc_put_hex(c, "device_id", device_id, 32);
	rpc_put_hex(c, "mr_aggregated", m.mr_aggregated, 32);
	rpc_put_hex(c, "os_image_hash", b->os_image_hash, 32);
	rpc_put_str(c, "key_provider_info", (const char *)provider.p);
	rpc_put_hex(c, "compose_hash", id->compose_hash, 32);
	rpc_put_str(c, "vm_config", text_of(&m.vm_config));
	rpc_put_str(c, "cloud_vendor", "");
	rpc_put_str(c, "cloud_product", "");
	rpc_put_hex(c, "kms_contract", b->kms_contract, 20);
	rpc_put_u64(c, "chain_id", b->chain_id);
	b->pin(b->cookie, &pin);
	rpc_put_u64(c, "epoch", pin.epoch);
	rpc_put_hex(c, "registry", pin.registry, pin.has_registry ? 20 : 0);
done:
	buf_fini(&m.event_log);
	buf_fini(&m.vm_config);
	buf_fini(&provider);
	return e;
}
