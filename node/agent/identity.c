#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"

#include "node/agent/identity.h"

#define SEED_FILE "instance-seed"

/* refuse() marks a refusal; here the operator's files are at fault. */
#define bad_config(why, ...) \
	((void)refuse((why), REASON_BOOT_INFO, __VA_ARGS__), ERR_CONFIG)

static enum err
read_flag(bool *out, const json_t *o, const char *key, struct refusal *why)
{
	enum err e = json_get_bool(out, o, key);

	if (e == ERR_MALFORMED)
		return bad_config(why, "app-compose: %s is no boolean", key);
	return ERR_OK;
}

/* key_provider "kms" is what this agent is; with others it cannot boot. */
static enum err
read_key_provider(struct app_identity *id, const json_t *o, struct refusal *why)
{
	bool local = false;
	const char *kind;
	enum err e;

	e = json_get_str(&kind, o, "key_provider");
	if (e == ERR_MALFORMED || (e == ERR_OK && strcmp(kind, "kms") != 0))
		return bad_config(why, "app-compose: key_provider is not kms");
	if ((e = read_flag(&local, o, "local_key_provider_enabled", why)) !=
	    ERR_OK)
		return e;
	if (local)
		return bad_config(why, "app-compose: local key provider");
	e = json_get_hex_buf(
	    &id->key_provider_id, LIMIT_KEY_PATH, o, "key_provider_id");
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return bad_config(why, "app-compose: key_provider_id");
	return ERR_OK;
}

static enum err
read_public(struct app_identity *id, const json_t *o, struct refusal *why)
{
	const json_t *wants = json_object_get(o, "requirements");
	enum err e;

	id->public_tcbinfo = true;
	if ((e = read_flag(&id->public_tcbinfo, o, "public_tcbinfo", why)) !=
		ERR_OK ||
	    (e = read_flag(&id->public_logs, o, "public_logs", why)) !=
		ERR_OK ||
	    (e = read_flag(&id->public_sysinfo, o, "public_sysinfo", why)) !=
		ERR_OK)
		return e;
	if (wants == NULL || json_is_null(wants))
		return ERR_OK;
	return read_flag(&id->health_check, wants, "health_check", why);
}

static enum err
read_compose(struct app_identity *id, struct refusal *why)
{
	bool no_instance = false;
	json_t *o = NULL;
	uint64_t version;
	const char *name = "";
	char where[120];
	enum err e;

	e = json_parse(&o, id->compose.p, id->compose.len, LIMIT_APP_COMPOSE,
	    where, sizeof where);
	if (e != ERR_OK) {
		e = bad_config(why, "app-compose: %s", where);
		goto done;
	}
	if (!json_is_object(o)) {
		e = bad_config(why, "app-compose: not an object");
		goto done;
	}
	e = json_get_str(&name, o, "name");
	if (e == ERR_MALFORMED ||
	    (e == ERR_OK && strlen(name) >= sizeof id->name)) {
		e = bad_config(why, "app-compose: name");
		goto done;
	}
	(void)snprintf(id->name, sizeof id->name, "%s", name);
	/* We measure V1 digests only; a verifier would expect V2. */
	e = json_get_u64(&version, o, "event_log_version");
	if (e == ERR_MALFORMED || (e == ERR_OK && version != 1)) {
		e = bad_config(why, "app-compose: event_log_version not 1");
		goto done;
	}
	if ((e = read_flag(&no_instance, o, "no_instance_id", why)) != ERR_OK)
		goto done;
	id->has_instance_id = !no_instance;
	if ((e = read_public(id, o, why)) != ERR_OK)
		goto done;
	e = read_key_provider(id, o, why);
done:
	json_decref(o);
	return e;
}

enum err
identity_make(struct app_identity *out, struct bytes compose,
    const uint8_t *app_id, const uint8_t seed[static IDENTITY_SEED_LEN],
    struct refusal *why)
{
	struct app_identity id = { .has_instance_id = false };
	enum err e;

	if (compose.len > LIMIT_APP_COMPOSE) {
		e = bad_config(why, "app-compose: too long");
		goto done;
	}
	if ((e = buf_set(&id.compose, compose.p, compose.len)) != ERR_OK)
		goto done;
	if ((e = read_compose(&id, why)) != ERR_OK)
		goto done;
	sha256(id.compose_hash, compose.p, compose.len);
	memcpy(id.app_id, app_id != NULL ? app_id : id.compose_hash, 20);
	if (id.has_instance_id) {
		/* instance_id = SHA-256(seed20 || app_id)[0..20) */
		const struct bytes part[] = { { seed, IDENTITY_SEED_LEN },
			BYTES_OF(id.app_id) };
		uint8_t h[32];

		sha256_v(h, part, 2);
		memcpy(id.instance_id, h, 20);
	}
	*out = id; /* transferred */
	memset(&id, 0, sizeof id);
done:
	identity_fini(&id);
	return e;
}

/* The seed names this disk: random once, then kept. */
static enum err
load_seed(uint8_t seed[static IDENTITY_SEED_LEN], const char *state_dir,
    struct refusal *why)
{
	struct buf old = { 0 };
	char path[1024];
	enum err e;

	if (file_mkdirs(state_dir) != ERR_OK ||
	    file_join(path, sizeof path, state_dir, SEED_FILE) != ERR_OK)
		return bad_config(why, "cannot use folder %s", state_dir);
	e = file_read(&old, path, IDENTITY_SEED_LEN);
	if (e == ERR_OK && old.len == IDENTITY_SEED_LEN) {
		memcpy(seed, old.p, IDENTITY_SEED_LEN);
	} else if (e == ERR_NOTFOUND) {
		secret_random(seed, IDENTITY_SEED_LEN);
		e = file_write(path, seed, IDENTITY_SEED_LEN, 0600);
		if (e != ERR_OK)
			e = bad_config(why, "cannot write %s", path);
	} else {
		/* A new seed would silently make this another instance. */
		e = bad_config(why, "%s is damaged", path);
	}
	buf_fini(&old);
	return e;
}

enum err
identity_load(struct app_identity *out, const char *compose_file,
    const char *state_dir, const uint8_t *app_id, struct refusal *why)
{
	uint8_t seed[IDENTITY_SEED_LEN];
	struct buf compose = { 0 };
	enum err e;

	e = file_read(&compose, compose_file, LIMIT_APP_COMPOSE);
	if (e != ERR_OK)
		e = bad_config(why, "%s: %s", compose_file, err_text(e));
	else if ((e = load_seed(seed, state_dir, why)) == ERR_OK)
		e = identity_make(out, buf_view(&compose), app_id, seed, why);
	buf_fini(&compose);
	return e;
}

void
identity_fini(struct app_identity *id)
{
	buf_fini(&id->compose);
	buf_fini(&id->key_provider_id);
}
