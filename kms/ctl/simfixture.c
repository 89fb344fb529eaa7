#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/attest/evidence.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "kms/ctl/simfixture.h"
#include "kms/keys/certs.h"
#include "node/agent/boot.h"
#include "node/agent/cacert.h"
#include "node/tee/simhost.h"
#include "node/tee/simimage.h"
#include "node/tee/simpki.h"
#include "node/tee/tee.h"

#define DIR_MAX 768
#define HOST "simulator"
#define IMAGE "simulator"

static const char compose[] =
    "{\n"
    "  \"manifest_version\": 2,\n"
    "  \"name\": \"simulator\",\n"
    "  \"runner\": \"docker-compose\",\n"
    "  \"docker_compose_file\": \"services: {}\\n\",\n"
    "  \"kms_enabled\": true,\n"
    "  \"key_provider\": \"kms\",\n"
    "  \"public_logs\": true,\n"
    "  \"public_sysinfo\": true,\n"
    "  \"public_tcbinfo\": true,\n"
    "  \"allowed_envs\": [],\n"
    "  \"no_instance_id\": false\n"
    "}\n";

/* Everything that goes into the files.  Holds secrets: wipe. */
struct draft {
	char dir[DIR_MAX], platform[DIR_MAX + 16];
	struct app_identity id; /* owns */
	struct k256_secret root_k256;
	struct p256_secret root_ca;
	struct epoch_roots *roots; /* owns; the same two */
	uint8_t ca_spki[P256_SPKI_LEN];
	struct evidence ev; /* owns */
};

static void
draft_wipe(struct draft *d)
{
	identity_fini(&d->id);
	evidence_fini(&d->ev);
	epoch_roots_free(d->roots);
	secret_wipe(d, sizeof *d);
}

static enum err
make_roots(struct draft *d)
{
	struct p256_pub pub;
	enum err e;

	k256_generate(&d->root_k256);
	p256_generate(&d->root_ca);
	if ((e = p256_pubkey(&pub, &d->root_ca)) != ERR_OK ||
	    (e = p256_spki(d->ca_spki, &pub)) != ERR_OK)
		return e;
	return epoch_roots_import(&d->roots, 0, d->root_k256.b, d->root_ca.b);
}

/* ---- the TD that is quoted ---- */

static enum err
if_new(enum err e)
{
	return e == ERR_EXISTS ? ERR_OK : e;
}

static enum err
on_log(void *cookie, struct buf *out)
{
	return tee_event_log(cookie, out);
}

static enum err
on_extend(void *cookie, const char *name, struct bytes payload)
{
	return tee_extend(cookie, name, payload);
}

static enum err
image_hash(uint8_t out[static 32], struct tee *t)
{
	struct buf text = { 0 };
	json_t *o = NULL;
	enum err e = tee_vm_config(t, &text);

	if (e == ERR_OK)
		e = json_parse(&o, text.p, text.len, LIMIT_VM_CONFIG, NULL, 0);
	if (e == ERR_OK)
		e = json_get_hex(out, 32, o, "os_image_hash");
	json_decref(o);
	buf_fini(&text);
	return e;
}

static enum err
boot(struct tee **out, const struct draft *d, struct refusal *why)
{
	char host[DIR_MAX + 64], image[DIR_MAX + 64], run[DIR_MAX + 64];
	const struct tee_options o = { .simulated = true,
		.sim_host = host,
		.sim_image = image,
		.run_dir = run,
		.sim_compose_hash = d->id.compose_hash };
	int64_t now = clock_wall_s();
	enum err e;

	if ((e = file_mkdirs(d->platform)) != ERR_OK ||
	    (e = if_new(sim_pki_init(d->platform, 0, now))) != ERR_OK ||
	    (e = if_new(sim_host_create(d->platform, HOST, now))) != ERR_OK ||
	    (e = if_new(sim_image_create(d->platform, IMAGE, IMAGE))) != ERR_OK)
		return e;
	(void)snprintf(host, sizeof host, "%s/hosts/" HOST, d->platform);
	(void)snprintf(image, sizeof image, "%s/images/" IMAGE, d->platform);
	(void)snprintf(run, sizeof run, "%s/run", d->platform);
	if ((e = file_mkdirs(run)) != ERR_OK)
		return e;
	return tee_boot(out, &o, why);
}

/* Measures what an app's agent does, and quotes it. */
static enum err
take_quote(struct draft *d, struct refusal *why)
{
	static const uint8_t no_data[64];
	struct tee *t = NULL;
	struct boot_register reg = { .log = on_log, .extend = on_extend };
	struct boot_plan plan;
	uint8_t image[32];
	enum err e;

	if ((e = boot(&t, d, why)) != ERR_OK)
		goto done;
	reg.cookie = t;
	boot_plan_identity(&plan, &d->id);
	if ((e = image_hash(image, t)) != ERR_OK ||
	    (e = boot_plan_keys(&plan, image, BYTES_OF(d->ca_spki))) !=
		ERR_OK ||
	    (e = boot_run(&reg, &plan, why)) != ERR_OK)
		goto done;
	e = tee_evidence(t, &d->ev, no_data, why);
done:
	tee_close(t);
	return e;
}

/* ---- the files ---- */

static enum err
write_text(const struct draft *d, const char *name, const void *p, size_t len)
{
	char path[DIR_MAX + 64];
	enum err e = file_join(path, sizeof path, d->dir, name);

	return e == ERR_OK ? file_write(path, p, len, 0600) : e;
}

static enum err
write_json(const struct draft *d, const char *name, json_t *o)
{
	struct buf text = { 0 };
	enum err e = o == NULL ? ERR_NOMEM : json_write_pretty(&text, o);

	if (e == ERR_OK)
		e = write_text(d, name, text.p, text.len);
	buf_wipe(&text);
	json_wipe(o);
	return e;
}

static enum err
write_quote(const struct draft *d)
{
	const struct buf *q = &d->ev.quote;
	struct buf hex = { 0 };
	enum err e = buf_reserve(&hex, 2 * q->len + 1);

	if (e == ERR_OK) {
		hex_encode((char *)hex.p, q->p, q->len);
		e = write_text(d, "quote.hex", hex.p, 2 * q->len);
	}
	buf_fini(&hex);
	return e;
}

static enum err
write_sys_config(const struct draft *d)
{
	return write_json(d, "sys-config.json",
	    json_pack("{s:[], s:[], s:s, s:s, s:s, s:s}", "kms_urls",
		"gateway_urls", "pccs_url", "", "docker_registry", "",
		"host_api_url", "", "vm_config",
		(const char *)d->ev.vm_config.p));
}

/* The CA's key and certificate as appkeys.json has them. */
static enum err
ca_pem(struct buf *key, struct buf *cert, const struct draft *d)
{
	uint8_t der[P256_PKCS8_LEN];
	struct buf root = { 0 };
	enum err e;

	if ((e = p256_pkcs8(der, &d->root_ca)) != ERR_OK ||
	    (e = buf_reserve(key, cacert_pem_len("PRIVATE KEY", sizeof der))) !=
		ERR_OK ||
	    (e = cacert_pem(key, "PRIVATE KEY", BYTES_OF(der))) != ERR_OK ||
	    (e = certs_root(&root, d->roots)) != ERR_OK)
		goto done;
	e = cacert_pem(cert, "CERTIFICATE", buf_view(&root));
done:
	secret_wipe(der, sizeof der);
	buf_fini(&root);
	return e;
}

static enum err
write_app_keys(const struct draft *d)
{
	struct buf key = { 0 }, cert = { 0 };
	json_t *o = json_object(), *none = json_object();
	struct app_keys k = { .epoch = 0 };
	enum err e;

	if ((e = keys_app(&k, d->roots, d->id.app_id, d->id.instance_id)) !=
		ERR_OK ||
	    (e = ca_pem(&key, &cert, d)) != ERR_OK ||
	    (e = json_set_hex(o, "disk_crypt_key", k.disk_crypt_key, 32)) !=
		ERR_OK ||
	    (e = json_set_hex(o, "env_crypt_key", k.env_crypt_key, 32)) !=
		ERR_OK ||
	    (e = json_set_hex(o, "k256_key", k.k256.b, 32)) != ERR_OK ||
	    (e = json_set_hex(o, "k256_signature", k.k256_signature.b, 65)) !=
		ERR_OK ||
	    (e = json_set_str(o, "gateway_app_id", "any")) != ERR_OK ||
	    (e = json_set_str(o, "ca_cert", (const char *)cert.p)) != ERR_OK ||
	    (e = json_set_str(none, "key", (const char *)key.p)) != ERR_OK ||
	    (e = json_set_new(o, "key_provider",
		 json_pack("{s:O}", "None", none))) != ERR_OK) {
		json_wipe(o);
		goto done;
	}
	e = write_json(d, "appkeys.json", o);
done:
	json_decref(none);
	app_keys_wipe(&k);
	buf_wipe(&key);
	buf_fini(&cert);
	return e;
}

enum err
simfixture_make(const char *dir, struct refusal *why)
{
	struct draft d = { .roots = NULL };
	uint8_t seed[IDENTITY_SEED_LEN];
	char have[DIR_MAX + 64];
	enum err e = ERR_LIMIT;
	int n;

	n = snprintf(d.dir, sizeof d.dir, "%s", dir);
	if (n < 0 || (size_t)n >= sizeof d.dir)
		goto done;
	(void)snprintf(d.platform, sizeof d.platform, "%s/platform", dir);
	(void)snprintf(have, sizeof have, "%s/appkeys.json", dir);
	e = ERR_EXISTS;
	if (access(have, F_OK) == 0)
		goto done;
	secret_random(seed, sizeof seed);
	if ((e = file_mkdirs(dir)) != ERR_OK ||
	    (e = identity_make(&d.id, BYTES_STR(compose), NULL, seed, why)) !=
		ERR_OK ||
	    (e = make_roots(&d)) != ERR_OK ||
	    (e = take_quote(&d, why)) != ERR_OK ||
	    (e = write_text(&d, "app-compose.json", compose,
		 sizeof compose - 1)) != ERR_OK ||
	    (e = write_sys_config(&d)) != ERR_OK ||
	    (e = write_quote(&d)) != ERR_OK ||
	    (e = write_text(&d, "eventlog.json", d.ev.event_log.p,
		 d.ev.event_log.len)) != ERR_OK)
		goto done;
	e = write_app_keys(&d);
done:
	draft_wipe(&d);
	return e;
}
