#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/base/limits.h"

#include "node/agent/containers.h"
#include "node/agent/params.h"
#include "node/agent/rpc_info.h"
#include "node/agent/rpc_keys.h"
#include "node/agent/rpc_quote.h"
#include "node/agent/rpc_worker.h"

/* ---- GetAttestationForAppKey ---- */

void
rpc_worker_dip1(uint8_t out[static 64], const struct appkey *key)
{
	const char *kind = key->algorithm == APPKEY_ED25519
	    ? "dip1::ed25519-pk:"
	    : "dip1::secp256k1c-pk:";
	char b64[64], text[128];
	int n;

	(void)sodium_bin2base64(b64, sizeof b64, key->pub, key->pub_len,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	/* 17 + 43 and 20 + 44 characters: the latter fills it. */
	n = snprintf(text, sizeof text, "%s%s", kind, b64);
	memset(out, 0, 64);
	memcpy(out, text, n < 64 ? (size_t)n : 64);
}

/* Which key is fixed: nobody chooses what is attested here. */
static enum err
attest_app_key(struct rpc_call *c)
{
	const char *word = params_str(c->in, "algorithm", LIMIT_KEY_PATH);
	enum appkey_algorithm alg = APPKEY_SECP256K1;
	struct appkey key = { .pub_len = 0 };
	uint8_t rd[64];
	enum err e;

	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	/* Signing prehashed is a mode of the same key. */
	if (strcmp(word, "secp256k1_prehashed") != 0 &&
	    appkey_algorithm(&alg, word) != ERR_OK)
		return rpc_fail(c, "Unsupported algorithm");
	if ((e = rpc_keys_sign_key(c, &key, alg)) != ERR_OK)
		return e;
	rpc_worker_dip1(rd, &key);
	appkey_wipe(&key);
	return rpc_quote_answer(c, rd);
}

/* ---- Health ---- */

static void
add_unhealthy(
    struct rpc_call *c, json_t *list, const char *name, const char *status)
{
	json_t *o = json_object();

	if (json_set_str(o, "name", name) != ERR_OK ||
	    json_set_str(o, "status", status) != ERR_OK)
		c->put_failed = true;
	if (json_array_append_new(list, o) != 0)
		c->put_failed = true;
}

/* Only who declares a check is judged; what is not known holds traffic back. */
static void
judge(struct rpc_call *c, json_t *list, const struct container_list *all)
{
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct container *k = &all->item[i];

		if (!k->compose)
			continue;
		n++;
		if (k->health[0] != '\0' && strcmp(k->health, "none") != 0 &&
		    strcmp(k->health, "healthy") != 0)
			add_unhealthy(c, list, k->name, k->health);
	}
	if (n == 0)
		add_unhealthy(
		    c, list, "<compose>", "no container has been created yet");
}

/* A failure to look is a verdict, too: an error would read as a method that
 * is not there. */
static enum err
health(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	json_t *list = json_array();
	const char *error = "";

	if (b->identity->health_check && b->logs_dir == NULL) {
		error = "app.logs_dir is not configured";
	} else if (b->identity->health_check) {
		struct container_list *all = NULL;
		enum err e = containers_list(&all, b->logs_dir);

		if (e == ERR_OK)
			judge(c, list, all);
		else
			error = "the containers' folder cannot be read";
		containers_free(all);
	}
	rpc_put_new(c, "healthy",
	    json_boolean(error[0] == '\0' && json_array_size(list) == 0));
	rpc_put_new(c, "unhealthy", list);
	rpc_put_str(c, "error", error);
	return ERR_OK;
}

static const struct rpc_method methods[] = {
	{ "Info", rpc_info_worker, false },
	{ "Version", rpc_version, false },
	{ "GetAttestationForAppKey", attest_app_key, false },
};
const struct rpc_service rpc_worker = { "Worker", methods,
	sizeof methods / sizeof methods[0] };

static const struct rpc_method methods_v1[] = {
	{ "Info", rpc_info_worker_v1, false },
	{ "Version", rpc_version, false },
	{ "Health", health, false },
};
const struct rpc_service rpc_worker_v1 = { "Worker", methods_v1,
	sizeof methods_v1 / sizeof methods_v1[0] };
