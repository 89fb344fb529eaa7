#include "node/agent/rpc_info.h"
#include "node/agent/info.h"

static enum err
gather(struct rpc_call *c, struct info *i)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e = info_gather(i, c->backend, &why);

	return e == ERR_OK
	    ? e
	    : rpc_fail_why(c, "Failed to read measurements", e, &why);
}

static enum err
put_tcb_info(struct rpc_call *c, const struct info *i)
{
	struct buf text = { 0 };
	enum err e = info_tcb(&text, c->backend, i);

	if (e == ERR_OK)
		rpc_put_str(c, "tcb_info", (const char *)text.p);
	else if (e == ERR_MALFORMED)
		e = rpc_fail(c, "Failed to read event log");
	buf_fini(&text);
	return e;
}

static void
put_app_cert(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	struct buf pem = { 0 };

	if (b->app_cert != NULL)
		b->app_cert(b->cookie, &pem);
	rpc_put_str(c, "app_cert", rpc_text(&pem));
	buf_fini(&pem);
}

/* What all versions have under these names. */
static void
put_identity(struct rpc_call *c, const struct info *i)
{
	const struct agent_backend *b = c->backend;
	const struct app_identity *id = b->identity;

	rpc_put_hex(c, "app_id", id->app_id, 20);
	rpc_put_hex(
	    c, "instance_id", id->instance_id, id->has_instance_id ? 20 : 0);
	rpc_put_str(c, "app_name", id->name);
	rpc_put_hex(c, "device_id", i->device_id, 32);
	rpc_put_hex(c, "mr_aggregated", i->m.mr_aggregated, 32);
	rpc_put_hex(c, "os_image_hash", b->os_image_hash, 32);
	rpc_put_hex(c, "compose_hash", id->compose_hash, 32);
	rpc_put_str(c, "cloud_vendor", i->cloud_vendor);
	rpc_put_str(c, "cloud_product", i->cloud_product);
}

/* Ours: whose keys these are, and whether they are worth anything. */
static void
put_kms(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	struct heldkeys_pin pin;

	rpc_put_hex(c, "kms_contract", b->kms_contract, 20);
	rpc_put_u64(c, "chain_id", b->chain_id);
	b->pin(b->cookie, &pin);
	rpc_put_u64(c, "epoch", pin.epoch);
	rpc_put_hex(c, "registry", pin.registry, pin.has_registry ? 20 : 0);
	if (b->simulated)
		rpc_put_new(c, "simulated", json_true());
}

static enum err
info_v0(struct rpc_call *c, bool hide)
{
	struct info i = { .m = { .event_log = { 0 } } };
	enum err e = gather(c, &i);

	if (e != ERR_OK)
		return e;
	if (hide)
		rpc_put_str(c, "tcb_info", "");
	else
		e = put_tcb_info(c, &i);
	if (e == ERR_OK) {
		put_identity(c, &i);
		put_app_cert(c);
		rpc_put_str(c, "key_provider_info", rpc_text(&i.key_provider));
		rpc_put_str(
		    c, "vm_config", hide ? "" : rpc_text(&i.m.vm_config));
		put_kms(c);
	}
	info_fini(&i);
	return e;
}

/* The new Info has no measurements: they belong to evidence. */
static enum err
info_v1(struct rpc_call *c, bool hide)
{
	const struct buf *compose = &c->backend->identity->compose;
	struct info i = { .m = { .event_log = { 0 } } };
	enum err e = gather(c, &i);

	if (e != ERR_OK)
		return e;
	put_identity(c, &i);
	rpc_put_str(c, "app_compose", hide ? "" : rpc_text(compose));
	rpc_put_str(c, "vm_config", hide ? "" : rpc_text(&i.m.vm_config));
	rpc_put_str(
	    c, "key_provider_info", hide ? "" : rpc_text(&i.key_provider));
	put_kms(c);
	info_fini(&i);
	return ERR_OK;
}

enum err
rpc_info(struct rpc_call *c)
{
	return info_v0(c, false);
}

enum err
rpc_info_v1(struct rpc_call *c)
{
	return info_v1(c, false);
}

enum err
rpc_info_worker(struct rpc_call *c)
{
	return info_v0(c, !c->backend->identity->public_tcbinfo);
}

enum err
rpc_info_worker_v1(struct rpc_call *c)
{
	return info_v1(c, !c->backend->identity->public_tcbinfo);
}
