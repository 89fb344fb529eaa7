#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/eth/appauth.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/genesis.h"
#include "kms/keys/keys.h"

#define NODE_MS 10000

void
genesis_fini(struct genesis *g)
{
	buf_fini(&g->ca_spki);
	buf_fini(&g->anchor.quote);
	evidence_fini(&g->evidence);
}

static enum err
get_text(struct buf *out, size_t max, const json_t *v, const char *key)
{
	const char *s;
	enum err e = json_get_str(&s, v, key);

	return e != ERR_OK ? e : buf_append(out, s, strlen(s), max);
}

static enum err
read_anchor(struct genesis *g, const json_t *doc, const char **key)
{
	const json_t *v = json_object_get(doc, "anchor");
	enum err e;

	if (v == NULL) {
		*key = "anchor";
		return ERR_NOTFOUND;
	}
	if ((e = json_get_u64(&g->anchor.index, v, *key = "index")) != ERR_OK ||
	    (e = json_get_hex(g->anchor.hash, 32, v, *key = "hash")) !=
		ERR_OK ||
	    (e = json_get_hex(g->anchor.incarnation, INCARNATION_ID_LEN, v,
		 *key = "incarnation")) != ERR_OK ||
	    (e = json_get_hex(g->anchor.signer, 20, v, *key = "signer")) !=
		ERR_OK)
		return e;
	return json_get_hex_buf(
	    &g->anchor.quote, LIMIT_QUOTE, v, *key = "quote");
}

enum err
genesis_read(struct genesis *out, const json_t *v, struct refusal *why)
{
	struct genesis g = { .evidence.tee = TEE_TDX };
	const char *key = "number";
	enum err e = json_get_u64(&g.number, v, key);

	if (e == ERR_OK)
		e = json_get_hex(
		    g.k256_pub, sizeof g.k256_pub, v, key = "k256_pub");
	if (e == ERR_OK)
		e = json_get_hex_buf(
		    &g.ca_spki, P256_SPKI_LEN, v, key = "ca_spki");
	if (e == ERR_OK)
		e = json_get_hex_buf(
		    &g.evidence.quote, LIMIT_QUOTE, v, key = "quote");
	if (e == ERR_OK)
		e = get_text(&g.evidence.event_log, LIMIT_EVENT_LOG, v,
		    key = "event_log");
	if (e == ERR_OK)
		e = get_text(&g.evidence.vm_config, LIMIT_VM_CONFIG, v,
		    key = "vm_config");
	if (e == ERR_OK)
		e = read_anchor(&g, v, &key);
	if (e != ERR_OK) {
		genesis_fini(&g);
		return refuse(why, REASON_REQUEST, "%s: %s", key, err_text(e));
	}
	*out = g;
	return ERR_OK;
}

/* The report data that a quote over these keys has: dstack-compat 3.6. */
static enum err
expected(uint8_t out[static 64], const struct genesis *g, struct refusal *why)
{
	struct epoch_public pub = { .number = g->number };

	if (k256_pub_parse(&pub.k256, g->k256_pub, 33) != ERR_OK ||
	    p256_spki_parse(&pub.ca, g->ca_spki.p, g->ca_spki.len) != ERR_OK)
		return refuse(why, REASON_REQUEST, "not public keys");
	keys_bootstrap_report_data(out, &pub);
	return ERR_OK;
}

static enum err
expected_anchor(uint8_t out[static 64], const struct genesis *g,
    const struct contract *k, struct refusal *why)
{
	struct anchor_genesis a = { .chain_id = k->chain_id,
		.at = { .generation = 1, .index = g->anchor.index } };

	if (!k->has_anchor)
		return refuse(why, REASON_REQUEST,
		    "which anchor? give --anchor 0xADDRESS");
	if (k256_pub_parse(&a.root, g->k256_pub, 33) != ERR_OK)
		return refuse(why, REASON_REQUEST, "not public keys");
	memcpy(a.contract, k->anchor, sizeof a.contract);
	memcpy(a.at.hash, g->anchor.hash, sizeof a.at.hash);
	memcpy(a.incarnation, g->anchor.incarnation, sizeof a.incarnation);
	memcpy(a.signer, g->anchor.signer, sizeof a.signer);
	anchor_genesis_report_data(out, &a);
	return ERR_OK;
}

static enum err
allowed_by_contract(
    const struct boot_info *boot, const struct contract *k, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct bytes reason;
	bool allowed;
	enum err e = appauth_call(&call, APPAUTH_IS_KMS_ALLOWED, boot);

	if (e == ERR_OK)
		e = contract_call(&answer, k, k->kms, buf_view(&call), why);
	if (e == ERR_OK &&
	    appauth_answer(&allowed, &reason, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "isKmsAllowed");
	if (e == ERR_OK && !allowed)
		e = refuse(why, REASON_SELF_DENIED, "the contract says: %.*s",
		    (int)(reason.len > LIMIT_REASON_TEXT ? LIMIT_REASON_TEXT
							 : reason.len),
		    (const char *)reason.p);
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

enum err
genesis_check(struct attested *out, const struct genesis *g, struct verifier *v,
    const struct contract *k, int64_t now, struct refusal *why)
{
	struct evidence second = g->evidence; /* borrows all */
	struct attested again;
	uint8_t report_data[64];
	enum err e = expected(report_data, g, why);

	if (e == ERR_OK)
		e = verifier_check(
		    v, out, &g->evidence, report_data, BOOT_KMS, now, why);
	second.quote = g->anchor.quote;
	if (e == ERR_OK)
		e = expected_anchor(report_data, g, k, why);
	if (e == ERR_OK)
		e = verifier_check(
		    v, &again, &second, report_data, BOOT_KMS, now, why);
	return e != ERR_OK ? e : allowed_by_contract(&out->boot, k, why);
}

enum err
genesis_done(bool *out, const struct contract *k, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct appauth_kms_info info;
	enum err e = appauth_getter(&call, APPAUTH_KMS_INFO);

	if (e == ERR_OK)
		e = contract_call(&answer, k, k->kms, buf_view(&call), why);
	if (e == ERR_OK && appauth_kms_info(&info, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a KMS contract");
	if (e == ERR_OK)
		*out = info.k256_pub.len != 0;
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

/* add_anchor appends what the anchor still lacks. */
static enum err
add_anchor(struct contract_tx *tx, size_t *n, const struct contract *k,
    const struct genesis *g, uint64_t fund_wei, struct refusal *why)
{
	struct anchor_state s;
	enum err e;

	if (!k->has_anchor)
		return refuse(why, REASON_REQUEST,
		    "the node wants an anchor; give --anchor 0xADDRESS");
	if ((e = contract_anchor(&s, k, why)) != ERR_OK)
		return e;
	if (memcmp(s.kms, k->kms, sizeof s.kms) != 0)
		return refuse(why, REASON_REQUEST,
		    "the anchor is of another KMS contract");
	if (s.v.at.generation == 0) {
		memcpy(tx[*n].to, k->anchor, sizeof tx[*n].to);
		e = anchorabi_genesis(&tx[(*n)++].data, g->anchor.index,
		    g->anchor.hash, g->anchor.signer, g->anchor.incarnation);
	} else if (s.v.at.generation != 1 || s.v.at.index != g->anchor.index ||
	    memcmp(s.v.at.hash, g->anchor.hash, 32) != 0 ||
	    memcmp(s.signer, g->anchor.signer, 20) != 0) {
		return refuse(why, REASON_GENESIS_DONE,
		    "the anchor was opened for another cluster; it cannot "
		    "be opened again");
	}
	if (fund_wei > 0) {
		memcpy(tx[*n].to, g->anchor.signer, sizeof tx[*n].to);
		tx[(*n)++].value = fund_wei;
	}
	return e;
}

enum err
genesis_send(uint64_t *block, const struct ctl *c, const struct contract *k,
    const struct genesis *g, uint64_t fund_wei, struct refusal *why)
{
	const struct bytes member[4] = { { g->k256_pub, sizeof g->k256_pub },
		buf_view(&g->ca_spki), buf_view(&g->evidence.quote),
		buf_view(&g->evidence.event_log) };
	struct contract_tx tx[3] = { 0 };
	size_t n = 0;
	enum err e = add_anchor(tx, &n, k, g, fund_wei, why);

	if (e == ERR_OK) {
		memcpy(tx[n].to, k->kms, sizeof tx[n].to);
		e = calls_set_kms_info(&tx[n++].data, member);
	}
	if (e == ERR_OK)
		e = contract_send(c, k, tx, n, why);
	if (e == ERR_OK)
		*block = tx[n - 1].receipt.block_number;
	for (size_t i = 0; i < sizeof tx / sizeof *tx; i++)
		contract_tx_fini(&tx[i]);
	return e;
}

enum err
genesis_publish(struct genesis_result *out, const struct ctl *c,
    const struct contract *k, const struct genesis_options *o,
    struct refusal *why)
{
	struct verifier_options vo = { .simulated_root = o->simulated_root,
		.pccs_url = o->pccs_url,
		.pccs_insecure_tls = o->pccs_insecure_tls };
	struct genesis g = { .number = 0 };
	struct verifier *v = NULL;
	json_t *doc = NULL;
	bool done;
	enum err e;

	attest_policy_default(&vo.policy);
	vo.policy.allow_simulated = o->simulated_root.len > 0;
	/* A root is never replaced here. */
	if ((e = genesis_done(&done, k, why)) != ERR_OK)
		return e;
	if (done)
		return ERR_EXISTS;
	e = admin_get(&doc, o->node, "/genesis", NODE_MS);
	if (e == ERR_PHASE)
		e = refuse(why, REASON_NOT_READY,
		    "%s offers no roots; it must be in phase \"genesis\"",
		    o->node);
	if (e == ERR_OK)
		e = genesis_read(&g, doc, why);
	if (e == ERR_OK)
		e = verifier_new(&v, &vo);
	if (e == ERR_OK)
		e = genesis_check(&out->who, &g, v, k, clock_wall_s(), why);
	if (e == ERR_OK)
		e = genesis_send(&out->block, c, k, &g, o->fund_wei, why);
	if (e == ERR_OK) {
		memcpy(out->signer, g.anchor.signer, sizeof out->signer);
	}
	verifier_free(v);
	genesis_fini(&g);
	json_decref(doc);
	return e;
}
