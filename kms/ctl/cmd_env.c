/* kmsctl env encrypt: an environment that only one app can read. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/envbox.h"
#include "common/net/fetch.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/appname.h"
#include "kms/ctl/envfile.h"
#include "kms/ctl/kmsroots.h"
#include "kms/ctl/lab.h"

#define TIMEOUT_MS 20000
#define REPLY_MAX (64u * 1024)
/* dstack-compat.md 2.3: "age <= 300 s and <= 60 s in the future". */
#define AGE_MAX_S 300
#define AHEAD_MAX_S 60

struct envkey {
	uint8_t pub[32];
	struct k256_sig65 sig; /* signature_v1 */
	uint64_t timestamp;
	struct k256_pub root; /* who signed it */
};

/* What its root must be: one that the caller names, or one of the chain's. */
struct trusted {
	bool by_key, by_address;
	uint8_t b[33];
	struct kmsroots roots;
};

static enum ctl_exit
trusted_from_args(struct trusted *t, const struct ctl *c, const struct args *a)
{
	const char *root = args_get(a, "root");

	if (root == NULL)
		return kmsroots_from_args(&t->roots, c, a);
	t->by_key = hex_fixed(t->b, 33, root) == ERR_OK;
	t->by_address = !t->by_key && hex_fixed(t->b, 20, root) == ERR_OK;
	if (t->by_key || t->by_address)
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE,
	    "--root: must be a compressed key (33 bytes in hex) or its "
	    "address (20)");
}

static bool
is_trusted(const struct trusted *t, const struct k256_pub *root)
{
	uint8_t address[20];

	if (t->by_key)
		return memcmp(t->b, root->b, 33) == 0;
	if (t->by_address)
		return k256_address(address, root) == ERR_OK &&
		    memcmp(address, t->b, 20) == 0;
	for (size_t i = 0; i < t->roots.n; i++)
		if (memcmp(&t->roots.root[i].k256, root, sizeof *root) == 0)
			return true;
	return false;
}

/* ---- the key ---- */

static enum err
ask(struct fetch_reply *r, const char *base, const char *app_id)
{
	struct buf url = { 0 }, body = { 0 };
	size_t n = strlen(base);
	enum err e;

	while (n > 0 && base[n - 1] == '/')
		n--;
	e = buf_printf(
	    &url, "%.*s/prpc/GetAppEnvEncryptPubKey?json", (int)n, base);
	if (e == ERR_OK)
		e = buf_printf(&body, "{\"app_id\":\"%s\"}", app_id);
	if (e == ERR_OK) {
		const struct fetch_request rq = { .url = (char *)url.p,
			.post = buf_view(&body),
			.content_type = "application/json",
			.timeout_ms = TIMEOUT_MS,
			.max_reply = REPLY_MAX,
			/* What it says is signed by the root. */
			.insecure_tls = true };

		fetch_all(r, &rq, 1);
		e = r->err;
	}
	buf_fini(&url);
	buf_fini(&body);
	return e;
}

static enum ctl_exit
read_reply(struct envkey *k, const struct ctl *c, const char *base,
    const struct fetch_reply *r)
{
	const char *fault = NULL;
	json_t *v = NULL;
	enum ctl_exit rc = CTL_OK;

	if (json_parse(&v, r->body.p, r->body.len, REPLY_MAX, NULL, 0) !=
	    ERR_OK)
		rc = ctl_fail(c, CTL_FAILED,
		    "%.200s: status %ld, and no JSON: is that a KMS's public "
		    "address?",
		    base, r->status);
	else if (r->status != 200)
		rc =
		    ctl_fail(c, r->status >= 500 ? CTL_UNREACHABLE : CTL_FAILED,
			"%.200s: %.300s", base,
			json_get_str(&fault, v, "error") == ERR_OK ? fault
								   : "refused");
	else if (json_get_hex(k->pub, 32, v, "public_key") != ERR_OK ||
	    json_get_hex(k->sig.b, 65, v, "signature_v1") != ERR_OK ||
	    json_get_u64(&k->timestamp, v, "timestamp") != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED,
		    "%.200s: no public_key, timestamp and signature_v1 (the "
		    "form without a time is not taken)",
		    base);
	json_decref(v);
	return rc;
}

static enum ctl_exit
check(struct envkey *k, const struct ctl *c, const struct trusted *t,
    const uint8_t app_id[static 20])
{
	uint64_t now = (uint64_t)clock_wall_s();
	char hex[67];

	if (envbox_signer(&k->root, &k->sig, app_id, &k->timestamp, k->pub) !=
	    ERR_OK)
		return ctl_fail(c, CTL_FAILED,
		    "the env key is not signed: its signature recovers no key");
	if (!is_trusted(t, &k->root))
		return ctl_fail(c, CTL_FAILED,
		    "the env key is signed by %s, which is no root that %s "
		    "has in use",
		    hex_encode(hex, k->root.b, 33),
		    t->by_key || t->by_address ? "--root" : t->roots.by);
	if (k->timestamp > now + AHEAD_MAX_S)
		return ctl_fail(c, CTL_FAILED,
		    "the env key's signature is from the future: the clock "
		    "there or here is wrong");
	if (now > k->timestamp && now - k->timestamp > AGE_MAX_S)
		return ctl_fail(c, CTL_FAILED,
		    "the env key's signature is %llu s old, over %d: a replay, "
		    "or a wrong clock",
		    (unsigned long long)(now - k->timestamp), AGE_MAX_S);
	return CTL_OK;
}

static enum ctl_exit
from_one(struct envkey *k, const struct ctl *c, const char *base,
    const uint8_t app_id[static 20])
{
	struct fetch_reply r = { .err = ERR_OK };
	char hex[41];
	enum ctl_exit rc;
	enum err e = ask(&r, base, hex_encode(hex, app_id, 20));

	rc = e == ERR_OK
	    ? read_reply(k, c, base, &r)
	    : ctl_fail(c, CTL_UNREACHABLE, "%.200s: %s", base, err_text(e));
	fetch_reply_fini(&r);
	return rc;
}

/* The first node of a lab that serves. */
static enum ctl_exit
from_lab(struct envkey *k, const struct ctl *c, const char *dir,
    const uint8_t app_id[static 20], char url[static CONTRACT_URL_MAX])
{
	char why[LAB_WHY_MAX];
	struct lab *l = NULL;
	bool serves = false;

	if (lab_load(&l, dir, why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	for (unsigned i = 0; !serves && i < l->n_nodes; i++) {
		json_t *v = NULL;

		lab_public_url(url, &l->node[i]);
		serves = url[0] != '\0' && l->node[i].listed &&
		    admin_get(&v, url, "/prpc/GetMeta", TIMEOUT_MS) == ERR_OK;
		json_decref(v);
	}
	lab_free(l);
	if (!serves)
		return ctl_fail(c, CTL_UNREACHABLE,
		    "no node of %.200s serves: `kmsctl sim status` says why",
		    dir);
	return from_one(k, c, url, app_id);
}

/* ---- what is encrypted ---- */

static enum ctl_exit
read_env(json_t *env, const struct ctl *c, const struct args *a)
{
	const char *file = args_get(a, "f");
	char why[ENVFILE_WHY_MAX] = "";
	struct buf text = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e = ERR_OK;

	if (file != NULL) {
		e = file_read(&text, file, ENVFILE_MAX);
		if (e == ERR_OK)
			e = envfile_add_lines(env, buf_view(&text), why);
		if (e != ERR_OK)
			rc = ctl_fail(c, CTL_USAGE, "%.200s: %s", file,
			    why[0] != '\0' ? why : err_text(e));
	}
	for (unsigned i = 0; rc == CTL_OK && i < a->n_pos; i++)
		if ((e = envfile_add(env, a->pos[i], why)) != ERR_OK)
			rc = ctl_fail(c, CTL_USAGE, "%s",
			    why[0] != '\0' ? why : err_text(e));
	if (rc == CTL_OK && file == NULL && a->n_pos == 0)
		rc = ctl_fail(c, CTL_USAGE,
		    "what is to be encrypted? give -f FILE, or NAME=value");
	buf_wipe(&text);
	return rc;
}

static enum ctl_exit
write_out(
    json_t *told, const struct ctl *c, const char *path, const struct buf *blob)
{
	enum err e;

	if (path == NULL) {
		(void)json_set_hex(told, "encrypted_env", blob->p, blob->len);
		return CTL_OK;
	}
	if ((e = file_write(path, blob->p, blob->len, 0600)) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "%.200s: %s", path, err_text(e));
	(void)json_set_str(told, "file", path);
	return CTL_OK;
}

static enum ctl_exit
seal(const struct ctl *c, const struct args *a, const json_t *env,
    const struct envkey *k, const uint8_t app_id[static 20], const char *url)
{
	struct buf plain = { 0 }, blob = { 0 };
	json_t *told = json_object();
	uint8_t address[20];
	char text[43] = "0x";
	enum ctl_exit rc;
	enum err e = json_write(&plain, env);

	if (e == ERR_OK)
		e = envbox_seal(&blob, k->pub, buf_view(&plain));
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "%s", err_text(e));
		goto done;
	}
	hex_encode(text + 2, app_id, 20);
	(void)json_set_str(told, "app", text);
	(void)json_set_u64(told, "variables", envfile_count(env));
	(void)json_set_hex(told, "env_public_key", k->pub, 32);
	if (k256_address(address, &k->root) == ERR_OK) {
		hex_encode(text + 2, address, 20);
		(void)json_set_str(told, "signed_by_root", text);
	}
	(void)json_set_str(told, "from", url);
	(void)json_set_u64(told, "bytes", blob.len);
	if ((rc = write_out(told, c, args_get(a, "o"), &blob)) == CTL_OK) {
		rc = ctl_result(c, told, CTL_OK);
		told = NULL; /* transferred */
	}
done:
	json_decref(told);
	buf_wipe(&plain);
	buf_fini(&blob);
	return rc;
}

static enum ctl_exit
run_encrypt(struct ctl *c, const struct args *a)
{
	const char *app = args_get(a, "app"), *kms = args_get(a, "kms-url"),
		   *sim = args_get(a, "sim");
	struct trusted t = { .by_key = false };
	struct envkey k = { .timestamp = 0 };
	char url[CONTRACT_URL_MAX] = "";
	json_t *env = NULL;
	uint8_t app_id[20];
	enum ctl_exit rc;

	if (app == NULL)
		return ctl_fail(c, CTL_USAGE, "which app? give --app 0xID");
	if ((rc = appname_resolve(app_id, c, a, app)) != CTL_OK)
		return rc;
	if (kms == NULL && sim == NULL)
		return ctl_fail(c, CTL_USAGE,
		    "which KMS? give --kms-url URL, or --sim DIR");
	if ((env = envfile_new()) == NULL)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	if ((rc = read_env(env, c, a)) == CTL_OK &&
	    (rc = trusted_from_args(&t, c, a)) == CTL_OK) {
		(void)snprintf(url, sizeof url, "%s", kms != NULL ? kms : "");
		rc = kms != NULL ? from_one(&k, c, kms, app_id)
				 : from_lab(&k, c, sim, app_id, url);
	}
	if (rc == CTL_OK)
		rc = check(&k, c, &t, app_id);
	if (rc == CTL_OK)
		rc = seal(c, a, env, &k, app_id, url);
	json_wipe(env);
	return rc;
}

static const struct args_option options[] = {
	{ "app", "0xID", "the app that shall read it, or its name in --sim" },
	{ "kms-url", "URL", "a KMS's public address" },
	{ "f", "FILE",
	    "lines NAME=value; words of the command line are seen "
	    "by everybody on this machine" },
	{ "o", "FILE", "the .encrypted-env (default: printed as hex)" },
	{ "root", "HEX", "the root to trust: its key or address" },
	CONTRACT_OPTIONS_READ,
	CONTRACT_OPTION_REGISTRY,
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_env[] = {
	{ "env encrypt", "[NAME=value ...]",
	    "encrypt an environment to an app's env key", options, 0,
	    ARGS_POS_MAX, run_encrypt },
	{ .name = NULL },
};
