/* kmsctl verify key: where does this key come from? */
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/contract.h"
#include "kms/ctl/keychain.h"

#define AGENT_MS 70000
#define FILE_MAX (64u * 1024)

/* The claim, from a file or by asking an agent. */
static enum ctl_exit
claim_from_args(
    struct keychain_claim *out, const struct ctl *c, const struct args *a)
{
	const char *file = args_get(a, "file"), *socket = args_get(a, "socket"),
		   *path = args_get(a, "path"),
		   *purpose = args_get(a, "purpose");
	json_t *v = NULL, *rq = NULL;
	struct buf text = { 0 };
	char why[160] = "";
	enum ctl_exit rc = CTL_OK;
	enum err e;

	if ((file == NULL) == (socket == NULL))
		return ctl_fail(c, CTL_USAGE,
		    "which key? give --file FILE, or --socket PATH with "
		    "--path and --purpose");
	if (file != NULL) {
		e = file_read(&text, file, FILE_MAX);
		if (e == ERR_OK)
			e = json_parse(
			    &v, text.p, text.len, FILE_MAX, why, sizeof why);
		if (e != ERR_OK)
			rc = ctl_fail(c, CTL_USAGE, "%.200s: %s%s%s", file,
			    err_text(e), why[0] != '\0' ? ": " : "", why);
	} else {
		rq = json_pack("{s:s, s:s, s:s}", "path",
		    path != NULL ? path : "", "purpose",
		    purpose != NULL ? purpose : "", "algorithm", "secp256k1");
		e = rq == NULL
		    ? ERR_NOMEM
		    : admin_agent(&v, socket, "GetKey", rq, AGENT_MS, true);
		if (e != ERR_OK)
			rc = ctl_fail(c, CTL_UNREACHABLE, "%.200s: %s", socket,
			    err_text(e));
		else
			(void)json_object_update(v, rq);
	}
	if (rc == CTL_OK && keychain_read(out, v, why, sizeof why) != ERR_OK)
		rc = ctl_fail(
		    c, CTL_FAILED, "not a key with its chain: %s", why);
	json_wipe(v);
	json_decref(rq);
	buf_wipe(&text);
	return rc;
}

static void
put_pub(json_t *v, const char *key, const struct k256_pub *p)
{
	(void)json_set_hex(v, key, p->b, sizeof p->b);
}

/* Every link with what it showed; those behind a broken one are absent. */
static enum ctl_exit
tell(struct ctl *c, const struct keychain_claim *claim,
    const uint8_t app_id[static 20], const struct keychain_report *r,
    const struct k256_pub *root, const struct refusal *why)
{
	static const char *const steps[] = { "", "link 0", "link 1", "root" };
	bool holds = r->broken == KEYCHAIN_HOLDS;
	char text[ACCOUNT_ADDRESS_TEXT];
	json_t *v = json_object();
	uint8_t address[20];

	(void)json_set_bool(v, "holds", holds);
	if (!holds) {
		(void)json_set_str(v, "broken", steps[r->broken]);
		(void)json_set_str(v, "reason", why->detail);
	}
	(void)json_set_hex(v, "public_key", claim->pub, claim->pub_len);
	(void)json_set_str(v, "purpose", claim->purpose);
	account_address_text(text, app_id);
	(void)json_set_str(v, "app_id", text);
	if (holds || r->broken == KEYCHAIN_ROOT || r->broken == KEYCHAIN_LINK_1)
		put_pub(v, "link_0_signer_app_key", &r->app);
	if (holds || r->broken == KEYCHAIN_ROOT)
		put_pub(v, "link_1_signer_root", &r->root);
	put_pub(v, "root_on_chain", root);
	if (k256_address(address, root) == ERR_OK) {
		account_address_text(text, address);
		(void)json_set_str(v, "root_address", text);
	}
	if (!holds)
		(void)fprintf(c->log, "kmsctl: the chain does not hold: %s\n",
		    why->detail);
	return ctl_result(c, v, holds ? CTL_OK : CTL_FAILED);
}

static enum ctl_exit
run_key(struct ctl *c, const struct args *a)
{
	const char *app_text = args_get(a, "app"),
		   *app_key_text = args_get(a, "app-key"),
		   *root_text = args_get(a, "root");
	struct keychain_report report = { .broken = KEYCHAIN_LINK_0 };
	struct refusal why = { .code = REASON_NONE };
	struct k256_pub root, app_key;
	struct keychain_claim claim;
	uint8_t app_id[20];
	struct contract k;
	enum ctl_exit rc;
	enum err e;

	if (app_text == NULL || hex_fixed(app_id, 20, app_text) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "which app? give --app 0xID (20 bytes in hex)");
	if (app_key_text != NULL &&
	    (hex_fixed(app_key.b, 33, app_key_text) != ERR_OK ||
		k256_pub_parse(&app_key, app_key.b, 33) != ERR_OK))
		return ctl_fail(c, CTL_USAGE,
		    "--app-key: must be a compressed key (33 bytes in hex)");
	if (root_text != NULL) {
		if (hex_fixed(root.b, 33, root_text) != ERR_OK ||
		    k256_pub_parse(&root, root.b, 33) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--root: must be a "
			    "compressed key (33 bytes in hex)");
	} else {
		rc = contract_from_args(&k, c, a, false, true);
		if (rc != CTL_OK)
			return rc;
	}
	if ((rc = claim_from_args(&claim, c, a)) != CTL_OK)
		return rc;
	if (root_text == NULL && (e = contract_root(&root, &k, &why)) != ERR_OK)
		return ctl_denied(c, "the root on chain", e, &why);
	e = keychain_check(&report, &claim, app_id,
	    app_key_text != NULL ? &app_key : NULL, &root, &why);
	if (e != ERR_OK && e != ERR_DENIED)
		return ctl_fail(c, CTL_FAILED, "%s", err_text(e));
	return tell(c, &claim, app_id, &report, &root, &why);
}

static const struct args_option options[] = {
	{ "file", "FILE", "a reply of GetKey, with purpose and algorithm" },
	{ "socket", "PATH", "or ask this agent for a key" },
	{ "path", "TEXT", "of the key to ask for" },
	{ "purpose", "TEXT", "of the key to ask for" },
	{ "app", "0xID", "the app whose key it claims to be" },
	{ "app-key", "HEX", "the app's public key, if you know it" },
	{ "root", "HEX", "a root that you pinned, instead of the chain's" },
	CONTRACT_OPTIONS_READ,
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_verify[] = {
	{ "verify key", "", "follow a key's signatures to the root on chain",
	    options, 0, 0, run_key },
	{ .name = NULL },
};
