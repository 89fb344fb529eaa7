/* kmsctl verify key: where does this key come from? */
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/keychain.h"
#include "kms/ctl/rootchain.h"

#define AGENT_MS 70000
#define FILE_MAX (64u * 1024)

/* --instance says what the key's file may leave out, and whose it must be. */
static enum ctl_exit
expect_instance(json_t *v, const struct ctl *c, const char *text)
{
	uint8_t want[20], got[20];
	enum err e;

	if (hex_fixed(want, sizeof want, text) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "--instance: must be an instance id (20 bytes in hex)");
	e = json_get_hex(got, sizeof got, v, "instance_id");
	if (e == ERR_NOTFOUND &&
	    json_set_hex(v, "instance_id", want, sizeof want) == ERR_OK)
		return CTL_OK;
	if (e != ERR_OK || memcmp(want, got, sizeof want) != 0)
		return ctl_fail(c, CTL_FAILED,
		    "the key does not say that it is of instance %.42s", text);
	return CTL_OK;
}

/* The claim, from a file or by asking an agent. */
static enum ctl_exit
claim_from_args(struct keychain_claim *out, struct rootchain *roots,
    const struct ctl *c, const struct args *a)
{
	const char *file = args_get(a, "file"), *socket = args_get(a, "socket"),
		   *path = args_get(a, "path"),
		   *purpose = args_get(a, "purpose"),
		   *instance = args_get(a, "instance");
	bool replica = args_has(a, "replica") || instance != NULL;
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
		e = rq == NULL ? ERR_NOMEM
			       : admin_agent(&v, socket,
				     replica ? "GetReplicaKey" : "GetKey", rq,
				     AGENT_MS, true);
		if (e != ERR_OK)
			rc = ctl_fail(c, CTL_UNREACHABLE, "%.200s: %s", socket,
			    err_text(e));
		else
			(void)json_object_update(v, rq);
	}
	if (rc == CTL_OK && instance != NULL)
		rc = expect_instance(v, c, instance);
	if (rc == CTL_OK && keychain_read(out, v, why, sizeof why) != ERR_OK)
		rc = ctl_fail(
		    c, CTL_FAILED, "not a key with its chain: %s", why);
	if (rc == CTL_OK && replica && !out->replica.is)
		rc = ctl_fail(c, CTL_FAILED,
		    "not a replica's key: instance_id is missing");
	if (rc == CTL_OK && rootchain_read(roots, v, why, sizeof why) != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "%s", why);
	json_wipe(v);
	json_decref(rq);
	buf_wipe(&text);
	return rc;
}

/* Certificates of a file of their own come before those beside the key. */
static enum ctl_exit
more_certificates(
    struct rootchain *roots, const struct ctl *c, const char *file)
{
	struct buf text = { 0 };
	json_t *v = NULL;
	char why[160] = "";
	enum ctl_exit rc = CTL_OK;
	enum err e = file_read(&text, file, FILE_MAX);

	if (e == ERR_OK)
		e = json_parse(&v, text.p, text.len, FILE_MAX, why, sizeof why);
	if (e == ERR_OK)
		e = rootchain_read(roots, v, why, sizeof why);
	if (e != ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "%.200s: %s%s%s", file, err_text(e),
		    why[0] != '\0' ? ": " : "", why);
	json_decref(v);
	buf_fini(&text);
	return rc;
}

static void
put_pub(json_t *v, const char *key, const struct k256_pub *p)
{
	(void)json_set_hex(v, key, p->b, sizeof p->b);
}

/* What a key is checked against. */
struct against {
	bool pinned; /* --root: offline */
	struct k256_pub root; /* that, or what the KMS contract names */
	struct rootchain chain;
	uint8_t signer[ROOTCHAIN_SIGNERS][20];
	size_t n_signers;
	bool has_registry;
	struct gov g; /* then */
	/* What came out. */
	bool found;
	uint64_t epoch;
	struct k256_pub found_root;
	enum registry_status status; /* if there is a registry */
};

/* Every link with what it showed; those behind a broken one are absent. */
static enum ctl_exit
tell(struct ctl *c, const struct keychain_claim *claim,
    const uint8_t app_id[static 20], const struct keychain_report *r,
    const struct against *t, const struct refusal *why)
{
	static const char *const steps[] = { "", "link 0", "link 1", "root" };
	const struct k256_pub *root = t->found ? &t->found_root : &t->root;
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
	if (claim->replica.is) {
		(void)json_set_hex(
		    v, "instance_id", claim->replica.instance_id, 20);
		(void)json_set_str(v, "path", claim->replica.path);
		(void)json_set_u64(v, "claimed_epoch", claim->replica.epoch);
	}
	if (holds || r->broken == KEYCHAIN_ROOT || r->broken == KEYCHAIN_LINK_1)
		put_pub(v,
		    claim->replica.is ? "link_0_signer_replica_root"
				      : "link_0_signer_app_key",
		    &r->app);
	if (holds || r->broken == KEYCHAIN_ROOT)
		put_pub(v, "link_1_signer_root", &r->root);
	if (t->found)
		(void)json_set_u64(v, "epoch", t->epoch);
	if (t->found && t->has_registry)
		(void)json_set_str(
		    v, "epoch_state", registry_status_text(t->status));
	(void)json_set_str(v, "by",
	    t->has_registry ? "the registry of roots"
		: t->pinned ? "the root that was given, and certificates"
			    : "the KMS contract");
	put_pub(v, t->pinned ? "root_pinned" : "root_on_chain",
	    t->pinned ? &t->root : root);
	if (k256_address(address, root) == ERR_OK) {
		account_address_text(text, address);
		(void)json_set_str(v, "root_address", text);
	}
	if (!holds)
		(void)fprintf(c->log, "kmsctl: the chain does not hold: %s\n",
		    why->detail);
	else if (t->has_registry && t->status == REGISTRY_TAINTED)
		ctl_note(c, "epoch %llu is tainted: its keys are for old data",
		    (unsigned long long)t->epoch);
	else if (t->has_registry && t->status == REGISTRY_DESTROYED)
		ctl_note(c, "epoch %llu is destroyed: nobody has its root now",
		    (unsigned long long)t->epoch);
	return ctl_result(c, v, holds ? CTL_OK : CTL_FAILED);
}

/* A registry knows each root that was ever in use. */
static enum err
look_up(struct against *t, const struct k256_pub *root, struct refusal *why)
{
	const struct registry_state *s = &t->g.s;

	for (size_t i = 0; i < s->n_epochs; i++) {
		const struct registry_epoch *x = &s->epoch[i];

		if (x->status < REGISTRY_ACTIVE ||
		    memcmp(&x->k256, root, sizeof *root) != 0)
			continue;
		t->epoch = x->number;
		t->status = x->status;
		return ERR_OK;
	}
	return refuse(why, REASON_ROOT_MISMATCH,
	    "the links end at a root that the registry never had in use: key, "
	    "purpose, app or a signature is not what it claims to be");
}

/* Do the links end at a root that is one of ours, and which? */
static enum err
find_root(struct against *t, struct keychain_report *r,
    const struct keychain_claim *claim, const uint8_t app_id[static 20],
    const struct k256_pub *app, struct refusal *why)
{
	enum err e = keychain_check(r, claim, app_id, NULL, &t->root, why);
	struct refusal lost = { .code = REASON_NONE };

	if (r->broken == KEYCHAIN_LINK_0 || r->broken == KEYCHAIN_LINK_1)
		return e;
	t->found_root = r->root;
	e = t->has_registry
	    ? look_up(t, &t->found_root, &lost)
	    : rootchain_follow(&t->epoch, &t->chain, &t->root, &t->found_root,
		  t->signer, t->n_signers, &lost);
	t->found = e == ERR_OK;
	/* With a known app key, a link that was tampered with has a name. */
	e = keychain_check(
	    r, claim, app_id, app, t->found ? &t->found_root : &t->root, why);
	if (!t->found && r->broken == KEYCHAIN_ROOT)
		*why = lost;
	/* A root signs for replicas of its own epoch alone. */
	if (e == ERR_OK && claim->replica.is &&
	    claim->replica.epoch != t->epoch) {
		r->broken = KEYCHAIN_ROOT;
		e = refuse(why, REASON_ROOT_MISMATCH,
		    "the key is said to be of epoch %llu, and its root is that "
		    "of epoch %llu",
		    (unsigned long long)claim->replica.epoch,
		    (unsigned long long)t->epoch);
	}
	return e;
}

/* "0xA,0xB" */
static enum ctl_exit
signers_from(struct against *t, const struct ctl *c, const char *list)
{
	while (list != NULL && *list != '\0') {
		size_t n = strcspn(list, ",");
		char one[64] = "";

		if (n < sizeof one)
			memcpy(one, list, n);
		if (t->n_signers == ROOTCHAIN_SIGNERS ||
		    hex_fixed(t->signer[t->n_signers], 20, one) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--anchor-signer: must be addresses (20 bytes in "
			    "hex)");
		t->n_signers++;
		list += n + (list[n] == ',');
	}
	return CTL_OK;
}

static enum ctl_exit
against_from_args(struct against *t, const struct ctl *c, const struct args *a)
{
	const char *root = args_get(a, "root");
	struct refusal why = { .code = REASON_NONE };
	struct contract k;
	enum ctl_exit rc;
	enum err e;

	if ((rc = signers_from(t, c, args_get(a, "anchor-signer"))) != CTL_OK)
		return rc;
	if (root != NULL) {
		t->pinned = true;
		if (hex_fixed(t->root.b, 33, root) != ERR_OK ||
		    k256_pub_parse(&t->root, t->root.b, 33) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--root: must be a compressed key (33 bytes in "
			    "hex)");
		return CTL_OK;
	}
	if ((rc = contract_from_args(&k, c, a, false, false)) != CTL_OK)
		return rc;
	if (k.has_registry) {
		if ((rc = gov_open(&t->g, c, a, false, true)) != CTL_OK)
			return rc;
		/* One that has not taken over the KMS yet knows nothing. */
		t->has_registry = t->g.s.n_epochs > 0;
	}
	if (t->has_registry) {
		t->root = registry_epoch_of(&t->g.s, t->g.s.active)->k256;
		return CTL_OK;
	}
	if ((rc = contract_from_args(&k, c, a, false, true)) != CTL_OK)
		return rc;
	if ((e = contract_root(&t->root, &k, &why)) != ERR_OK)
		return ctl_denied(c, "the root on chain", e, &why);
	return CTL_OK;
}

static enum ctl_exit
run_key(struct ctl *c, const struct args *a)
{
	const char *app_text = args_get(a, "app"),
		   *app_key_text = args_get(a, "app-key");
	struct keychain_report report = { .broken = KEYCHAIN_LINK_0 };
	struct refusal why = { .code = REASON_NONE };
	struct against t = { .pinned = false };
	struct k256_pub app_key;
	struct keychain_claim claim;
	uint8_t app_id[20];
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
	if ((rc = against_from_args(&t, c, a)) != CTL_OK ||
	    (rc = claim_from_args(&claim, &t.chain, c, a)) != CTL_OK)
		return rc;
	if (claim.replica.is && app_key_text != NULL)
		return ctl_fail(c, CTL_USAGE,
		    "--app-key: a replica's key hangs from the replica's own "
		    "root, not from the app key");
	if (args_has(a, "certificates") &&
	    (rc = more_certificates(
		 &t.chain, c, args_get(a, "certificates"))) != CTL_OK)
		return rc;
	e = find_root(&t, &report, &claim, app_id,
	    app_key_text != NULL ? &app_key : NULL, &why);
	if (e != ERR_OK && e != ERR_DENIED)
		return ctl_fail(c, CTL_FAILED, "%s", err_text(e));
	return tell(c, &claim, app_id, &report, &t, &why);
}

static const struct args_option options[] = {
	{ "file", "FILE",
	    "a reply of GetKey or GetReplicaKey, with what was asked" },
	{ "socket", "PATH", "or ask this agent for a key" },
	{ "replica", NULL, "a key of one replica (GetReplicaKey)" },
	{ "instance", "ID", "of this replica; implies --replica" },
	{ "path", "TEXT", "of the key to ask for" },
	{ "purpose", "TEXT", "of the key to ask for" },
	{ "app", "0xID", "the app whose key it claims to be" },
	{ "app-key", "HEX", "the app's public key, if you know it" },
	{ "root", "HEX", "offline: the root of epoch 0 that you pinned" },
	{ "certificates", "FILE",
	    "offline: what `rotate certificates --json` wrote" },
	{ "anchor-signer", "0xADDR,...",
	    "offline: who may sign in an emergency" },
	CONTRACT_OPTIONS_READ,
	CONTRACT_OPTION_REGISTRY,
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_verify[] = {
	{ "verify key", "", "follow a key's signatures to its epoch's root",
	    options, 0, 0, run_key },
	{ .name = NULL },
};
