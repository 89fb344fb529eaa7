/* fixture_read: the files of a folder, each recognised whole. */
#include <string.h>

#include "common/attest/attestation.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/crypto/hash.h"

#include "node/agent/cacert.h"
#include "node/agent/fixture_int.h"

#define SYS_CONFIG_MAX (64u * 1024)
#define ATTESTATION_MAX (LIMIT_QUOTE + 2 * LIMIT_EVENT_LOG + LIMIT_VM_CONFIG)

static enum err
read_sys_config(struct fixture *f, struct bytes json, struct refusal *why)
{
	json_t *o = NULL;
	const char *text;
	char where[120];
	enum err e;

	e = json_parse(
	    &o, json.p, json.len, SYS_CONFIG_MAX, where, sizeof where);
	if (e != ERR_OK)
		e = fixture_bad(why, "sys-config.json: %s",
		    e == ERR_LIMIT ? "too long" : where);
	else if (json_get_str(&text, o, "vm_config") != ERR_OK ||
	    strlen(text) > LIMIT_VM_CONFIG)
		e = fixture_bad(why,
		    "sys-config.json: vm_config is no text of at "
		    "most %u bytes",
		    LIMIT_VM_CONFIG);
	else
		e = buf_set(&f->vm_config, text, strlen(text));
	json_decref(o);
	return e;
}

/* Hex text with white space behind it. */
static enum err
read_quote_hex(struct buf *out, struct bytes hex, struct refusal *why)
{
	size_t n = 0;

	while (hex.len > 0 && strchr(" \t\r\n", hex.p[hex.len - 1]) != NULL)
		hex.len--;
	if (buf_reserve(out, LIMIT_QUOTE) != ERR_OK)
		return ERR_NOMEM;
	if (hex.len == 0 ||
	    hex_decode(out->p, LIMIT_QUOTE, &n, (const char *)hex.p, hex.len) !=
		ERR_OK)
		return fixture_bad(
		    why, "quote.hex: not hex, or over %u bytes", LIMIT_QUOTE);
	out->len = n;
	return ERR_OK;
}

/* What attestations carry as their configuration is vm_config, unless the
 * folder has one with another. */
static enum err
read_evidence(
    struct fixture *f, const struct fixture_files *in, struct refusal *why)
{
	uint8_t rd[64];
	struct quote q;
	enum err e;

	f->has_attestation = in->attestation.len > 0;
	if (f->has_attestation) {
		e = attestation_decode(
		    &f->ev, rd, buf_view(&in->attestation), why);
		if (e == ERR_DENIED)
			return fixture_bad(why,
			    "attestation.bin: no attestation of "
			    "a TD");
	} else {
		f->ev.tee = TEE_TDX;
		e = read_quote_hex(&f->ev.quote, buf_view(&in->quote_hex), why);
		if (e == ERR_OK)
			e = buf_set(&f->ev.event_log, in->event_log.p,
			    in->event_log.len);
		if (e == ERR_OK)
			e = buf_set(
			    &f->ev.vm_config, f->vm_config.p, f->vm_config.len);
	}
	if (e != ERR_OK)
		return e;
	if (quote_parse(&q, buf_view(&f->ev.quote), NULL) != ERR_OK ||
	    q.tee != TEE_TDX || q.version != 4)
		return fixture_bad(why, "%s: no TDX quote of version 4",
		    f->has_attestation ? "attestation.bin" : "quote.hex");
	f->td = q.td;
	return ERR_OK;
}

/* The image's hash was measured, or is at least in vm_config. */
static void
read_os_image(struct fixture *f, const struct event_log *log)
{
	const struct event *ev = event_log_find(log, "os-image-hash");
	json_t *o = NULL;

	if (ev != NULL && ev->payload.len == 32)
		memcpy(f->boot.os_image_hash, ev->payload.p, 32);
	else if (json_parse(&o, f->vm_config.p, f->vm_config.len,
		     LIMIT_VM_CONFIG, NULL, 0) == ERR_OK)
		(void)!json_get_hex(
		    f->boot.os_image_hash, 32, o, "os_image_hash");
	json_decref(o);
}

/* {"name":"kms","id":"<SPKI>"}, as boot.c writes it. */
static bool
read_provider(struct fixture *f, const struct event_log *log)
{
	const struct event *ev = event_log_find(log, "key-provider");
	struct p256_pub pub;
	const char *name;
	json_t *o = NULL;
	bool ok;

	ok = ev != NULL && ev->payload.len < KEY_PROVIDER_MAX &&
	    json_parse(&o, ev->payload.p, ev->payload.len, KEY_PROVIDER_MAX,
		NULL, 0) == ERR_OK &&
	    json_get_str(&name, o, "name") == ERR_OK &&
	    strcmp(name, "kms") == 0 &&
	    json_get_hex(f->provider_spki, P256_SPKI_LEN, o, "id") == ERR_OK &&
	    p256_spki_parse(&pub, f->provider_spki, P256_SPKI_LEN) == ERR_OK;
	if (ok) {
		memcpy(f->boot.key_provider, ev->payload.p, ev->payload.len);
		f->boot.key_provider[ev->payload.len] = '\0';
	}
	json_decref(o);
	return ok;
}

static bool
event_id(
    uint8_t *out, size_t len, const struct event_log *log, const char *name)
{
	const struct event *ev = event_log_find(log, name);

	if (ev == NULL || ev->payload.len != len)
		return false;
	memcpy(out, ev->payload.p, len);
	return true;
}

/* Who booted is what the log says: no file here can contradict it. */
static enum err
read_log(struct fixture *f, struct refusal *why)
{
	const char *file =
	    f->has_attestation ? "attestation.bin" : "eventlog.json";
	struct boot_info *b = &f->boot;
	struct event_log log = { .event = NULL };
	const struct event *ev;
	size_t id_len = 0;
	uint8_t rtmr3[48];
	enum err e;

	e = event_log_parse(&log, buf_view(&f->ev.event_log), why);
	if (e == ERR_DENIED)
		return fixture_bad(why, "%s: no event log", file);
	if (e != ERR_OK)
		return e;
	ev = event_log_find(&log, "instance-id");
	b->has_instance_id = ev != NULL && ev->payload.len > 0;
	if (b->has_instance_id)
		id_len = 20;
	if (!event_id(b->app_id, 20, &log, "app-id") ||
	    !event_id(b->compose_hash, 32, &log, "compose-hash") ||
	    !event_id(b->instance_id, id_len, &log, "instance-id")) {
		e = fixture_bad(
		    why, "%s: app-id, compose-hash or instance-id", file);
		goto done;
	}
	if (!read_provider(f, &log)) {
		e = fixture_bad(
		    why, "%s: key-provider is no KMS with a P-256 key", file);
		goto done;
	}
	read_os_image(f, &log);
	e = boot_info_measure(
	    b->mr_system, b->mr_aggregated, &f->td, &log, BOOT_KMS);
	event_log_replay(rtmr3, &log, 3, NULL);
	if (memcmp(rtmr3, f->td.rtmr[3], sizeof rtmr3) != 0)
		log_event(LOG_WARN, "fixture_log_does_not_replay",
		    log_str("file", file));
done:
	event_log_fini(&log);
	return e;
}

static enum err
read_identity(struct fixture *f, struct bytes compose, struct refusal *why)
{
	static const uint8_t no_seed[IDENTITY_SEED_LEN];
	struct app_identity *id = &f->identity;
	enum err e;

	e = identity_make(id, compose, f->boot.app_id, no_seed, why);
	if (e != ERR_OK)
		return e;
	/* What the file's own hash is does not matter: the published folders
	 * have another in their log. */
	memcpy(id->compose_hash, f->boot.compose_hash, 32);
	memcpy(id->instance_id, f->boot.instance_id, 20);
	id->has_instance_id = f->boot.has_instance_id;
	return ERR_OK;
}

static enum err
read_chain(struct fixture *f, struct refusal *why)
{
	struct k256_pub app;
	enum err e;

	e = cacert_spki(f->ca_spki, buf_view(&f->keys.ca_der));
	if (e == ERR_OK)
		e = k256_pubkey(&app, &f->keys.k256);
	if (e == ERR_OK)
		e = dstack_recover_app(
		    &f->root, &f->keys.k256_signature, f->boot.app_id, &app);
	if (e != ERR_OK)
		return fixture_bad(why,
		    "appkeys.json: k256_signature is by nobody "
		    "over this app's key");
	return ERR_OK;
}

enum err
fixture_read(
    struct fixture *f, const struct fixture_files *in, struct refusal *why)
{
	enum err e;

	if ((e = fixture_keys_parse(&f->keys, buf_view(&in->app_keys), why)) !=
		ERR_OK ||
	    (e = read_sys_config(f, buf_view(&in->sys_config), why)) !=
		ERR_OK ||
	    (e = read_evidence(f, in, why)) != ERR_OK ||
	    (e = read_log(f, why)) != ERR_OK ||
	    (e = read_identity(f, buf_view(&in->app_compose), why)) != ERR_OK)
		return e;
	/* "device_id is sha256("") because the local attestation is
	 * unverified." */
	sha256(f->boot.device_id, "", 0);
	f->boot.tee = TEE_TDX;
	f->boot.simulated = true;
	return read_chain(f, why);
}

static enum err
read_file(struct buf *out, const char *dir, const char *name, size_t max,
    bool optional, struct refusal *why)
{
	char path[1024];
	enum err e = file_join(path, sizeof path, dir, name);

	if (e == ERR_OK)
		e = file_read(out, path, max);
	if (e == ERR_OK && out->len > 0)
		return ERR_OK;
	if (e == ERR_NOTFOUND && optional)
		return ERR_OK;
	return fixture_bad(why, "%s: %s", name,
	    e == ERR_OK          ? "is empty"
		: e == ERR_LIMIT ? "is too long"
				 : err_text(e));
}

enum err
fixture_load(struct fixture **out, const char *dir, struct refusal *why)
{
	struct fixture_files in = { .app_compose = { 0 } };
	enum err e;

	if ((e = read_file(&in.app_keys, dir, "appkeys.json", LIMIT_CONFIG_FILE,
		 false, why)) != ERR_OK ||
	    (e = read_file(&in.app_compose, dir, "app-compose.json",
		 LIMIT_APP_COMPOSE, false, why)) != ERR_OK ||
	    (e = read_file(&in.sys_config, dir, "sys-config.json",
		 LIMIT_CONFIG_FILE, false, why)) != ERR_OK ||
	    (e = read_file(&in.attestation, dir, "attestation.bin",
		 ATTESTATION_MAX, true, why)) != ERR_OK)
		goto done;
	if (in.attestation.len == 0 &&
	    ((e = read_file(&in.quote_hex, dir, "quote.hex",
		  2 * LIMIT_QUOTE + 2, false, why)) != ERR_OK ||
		(e = read_file(&in.event_log, dir, "eventlog.json",
		     LIMIT_EVENT_LOG, false, why)) != ERR_OK))
		goto done;
	e = fixture_make(out, &in, why);
done:
	buf_fini(&in.app_compose);
	buf_wipe(&in.app_keys);
	buf_fini(&in.sys_config);
	buf_fini(&in.quote_hex);
	buf_fini(&in.event_log);
	buf_fini(&in.attestation);
	return e;
}
