/* kmsctl app ...: what an app's owner says on chain. */
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/abi.h"
#include "kms/ctl/appname.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/contract.h"

#define FINAL_MS 120000

static const struct args_option options_send[] = {
	CONTRACT_OPTIONS_SEND,
	{ "wait-final", NULL, "return once KMS nodes can see it" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_read[] = {
	CONTRACT_OPTIONS_READ,
	{ "compose", "0xHASH", "is this compose hash allowed?" },
	{ "device", "0xHASH", "is this device allowed?" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_deploy[] = {
	CONTRACT_OPTIONS_SEND,
	{ "compose", "0xHASH", "the first compose hash to allow" },
	{ "device", "0xHASH", "the first device to allow" },
	{ "any-device", NULL, "allow every device" },
	{ "allow-old-tcb", NULL, "do not ask for fully patched platforms" },
	{ "disable-upgrades", NULL, "nobody can ever change its rules" },
	{ "owner", "0xADDR", "who shall own it (default: who pays)" },
	{ "wait-final", NULL, "return once KMS nodes can see it" },
	{ NULL, NULL, NULL },
};

static enum ctl_exit
need_hex(uint8_t *out, size_t len, const struct ctl *c, const char *what,
    const char *text)
{
	if (hex_fixed(out, len, text) == ERR_OK)
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE, "%s: %.80s: must be %zu bytes in hex",
	    what, text, len);
}

/* One transaction, told with its hash and block. */
static enum ctl_exit
send_and_tell(const struct ctl *c, const struct contract *k,
    struct contract_tx *tx, const struct args *a, json_t *told)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e = contract_send(c, k, tx, 1, &why);

	if (e == ERR_OK && args_has(a, "wait-final") &&
	    contract_await_final(c, k, tx->receipt.block_number, FINAL_MS) !=
		ERR_OK)
		e = refuse(&why, REASON_CHAIN_UNREACHABLE,
		    "block %llu is not final yet",
		    (unsigned long long)tx->receipt.block_number);
	if (e == ERR_OK) {
		char hex[67] = "0x";

		hex_encode(hex + 2, tx->hash, 32);
		e = json_set_str(told, "transaction", hex);
	}
	if (e == ERR_OK)
		e = json_set_u64(told, "block", tx->receipt.block_number);
	if (e != ERR_OK) {
		json_decref(told);
		return ctl_denied(c, "transaction", e, &why);
	}
	return ctl_result(c, told, CTL_OK);
}

static void
told_hex(json_t *told, const char *key, const uint8_t *p, size_t len)
{
	char hex[67] = "0x";

	if (len == 20)
		account_address_text(hex, p);
	else
		hex_encode(hex + 2, p, len);
	(void)json_object_set_new(told, key, json_string(hex));
}

/* app allow/disallow APP (compose|device HASH) | any-device | old-tcb */
static enum ctl_exit
change(struct ctl *c, const struct args *a, bool allow)
{
	const char *kind = a->pos[1];
	struct contract_tx tx = { .to = { 0 } };
	struct contract k;
	uint8_t value[32];
	enum ctl_exit rc;
	json_t *told = NULL;
	enum err e;

	if ((rc = contract_from_args(&k, c, a, true, false)) != CTL_OK ||
	    (rc = appname_resolve(tx.to, c, a, a->pos[0])) != CTL_OK)
		return rc;
	if (strcmp(kind, "compose") == 0 || strcmp(kind, "device") == 0) {
		bool compose = kind[0] == 'c';

		if (a->n_pos < 3)
			return ctl_fail(c, CTL_USAGE,
			    "which %s? give its "
			    "hash",
			    kind);
		rc = need_hex(value, 32, c, kind, a->pos[2]);
		if (rc != CTL_OK)
			return rc;
		e = calls_bytes32(&tx.data,
		    compose ? (allow ? CALL_ADD_COMPOSE : CALL_REMOVE_COMPOSE)
			    : (allow ? CALL_ADD_DEVICE : CALL_REMOVE_DEVICE),
		    value);
	} else if (strcmp(kind, "any-device") == 0 && a->n_pos == 2) {
		e = calls_bool(&tx.data, CALL_SET_ANY_DEVICE, allow);
	} else if (strcmp(kind, "old-tcb") == 0 && a->n_pos == 2) {
		e = calls_bool(&tx.data, CALL_SET_REQUIRE_TCB, !allow);
	} else {
		return ctl_fail(c, CTL_USAGE,
		    "%.40s: must be compose HASH, "
		    "device HASH, any-device or old-tcb",
		    kind);
	}
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "%s", err_text(e));
		goto done;
	}
	told = json_object();
	told_hex(told, "app_id", tx.to, 20);
	(void)json_object_set_new(
	    told, allow ? "allowed" : "disallowed", json_string(kind));
	if (a->n_pos == 3)
		told_hex(told, kind, value, 32);
	rc = send_and_tell(c, &k, &tx, a, told);
done:
	contract_tx_fini(&tx);
	return rc;
}

static enum ctl_exit
run_allow(struct ctl *c, const struct args *a)
{
	return change(c, a, true);
}

static enum ctl_exit
run_disallow(struct ctl *c, const struct args *a)
{
	return change(c, a, false);
}

static enum ctl_exit
run_register(struct ctl *c, const struct args *a)
{
	struct contract_tx tx = { .to = { 0 } };
	struct contract k;
	uint8_t app[20];
	enum ctl_exit rc;
	json_t *told;

	if ((rc = contract_from_args(&k, c, a, true, true)) != CTL_OK ||
	    (rc = appname_resolve(app, c, a, a->pos[0])) != CTL_OK)
		return rc;
	memcpy(tx.to, k.kms, sizeof tx.to);
	if (calls_address(&tx.data, CALL_REGISTER_APP, app) != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "out of memory");
		goto done;
	}
	told = json_object();
	told_hex(told, "app_id", app, 20);
	rc = send_and_tell(c, &k, &tx, a, told);
done:
	contract_tx_fini(&tx);
	return rc;
}

static enum ctl_exit
deploy_wishes(struct calls_deploy_app *d, const struct ctl *c,
    const struct contract *k, const struct args *a)
{
	const char *compose = args_get(a, "compose"),
		   *device = args_get(a, "device"),
		   *owner = args_get(a, "owner");
	struct account payer;
	enum ctl_exit rc = CTL_OK;

	d->any_device = args_has(a, "any-device");
	d->require_tcb = !args_has(a, "allow-old-tcb");
	d->disable_upgrades = args_has(a, "disable-upgrades");
	if (compose != NULL)
		rc = need_hex(d->compose, 32, c, "--compose", compose);
	if (rc == CTL_OK && device != NULL)
		rc = need_hex(d->device, 32, c, "--device", device);
	if (rc == CTL_OK && owner != NULL)
		return need_hex(d->owner, 20, c, "--owner", owner);
	if (rc != CTL_OK)
		return rc;
	if (account_load(&payer, k->key_file) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "%.300s: not a key file (64 hex digits, mode 0600)",
		    k->key_file);
	memcpy(d->owner, payer.address, sizeof d->owner);
	account_wipe(&payer);
	return CTL_OK;
}

static enum ctl_exit
run_deploy(struct ctl *c, const struct args *a)
{
	struct calls_deploy_app d = { .require_tcb = true };
	struct contract_tx tx = { .to = { 0 } };
	struct refusal why = { .code = REASON_NONE };
	struct contract k;
	uint8_t app[20];
	enum ctl_exit rc;
	json_t *told;
	enum err e;

	if ((rc = contract_from_args(&k, c, a, true, true)) != CTL_OK ||
	    (rc = deploy_wishes(&d, c, &k, a)) != CTL_OK)
		return rc;
	memcpy(tx.to, k.kms, sizeof tx.to);
	e = calls_deploy_app(&tx.data, &d);
	if (e == ERR_OK)
		e = contract_send(c, &k, &tx, 1, &why);
	if (e == ERR_OK)
		e = contract_deployed_app(app, &k, &tx, &why);
	if (e == ERR_OK && args_has(a, "wait-final"))
		e = contract_await_final(
		    c, &k, tx.receipt.block_number, FINAL_MS);
	if (e != ERR_OK) {
		rc = ctl_denied(c, "deploying the app", e, &why);
		goto done;
	}
	told = json_object();
	told_hex(told, "app_id", app, 20);
	told_hex(told, "owner", d.owner, 20);
	told_hex(told, "transaction", tx.hash, 32);
	(void)json_set_u64(told, "block", tx.receipt.block_number);
	rc = ctl_result(c, told, CTL_OK);
done:
	contract_tx_fini(&tx);
	return rc;
}

/* One boolean of a contract into `told`. */
static enum err
tell_bool(json_t *told, const char *key, const struct contract *k,
    const uint8_t to[static 20], const struct buf *data, struct refusal *why)
{
	bool v;
	enum err e = contract_call_bool(&v, k, to, buf_view(data), why);

	return e != ERR_OK ? e : json_set_bool(told, key, v);
}

static enum ctl_exit
run_show(struct ctl *c, const struct args *a)
{
	static const struct {
		const char *option, *key;
		uint32_t selector;
	} hashes[] = { { "compose", "compose_allowed", CALL_HAS_COMPOSE },
		{ "device", "device_allowed", CALL_HAS_DEVICE } };
	struct buf data = { 0 }, answer = { 0 };
	struct refusal why = { .code = REASON_NONE };
	json_t *told = json_object();
	uint8_t app[20], owner[20], hash[32];
	struct contract k;
	enum ctl_exit rc;
	enum err e = ERR_OK;

	if ((rc = contract_from_args(&k, c, a, false, false)) != CTL_OK ||
	    (rc = appname_resolve(app, c, a, a->pos[0])) != CTL_OK)
		goto done;
	told_hex(told, "app_id", app, 20);
	if (k.has_kms &&
	    (e = calls_address(&data, CALL_HAS_APP, app)) == ERR_OK)
		e = tell_bool(told, "registered", &k, k.kms, &data, &why);
	if (e == ERR_OK && (e = calls_getter(&data, CALL_OWNER)) == ERR_OK)
		e = contract_call(&answer, &k, app, buf_view(&data), &why);
	if (e == ERR_OK &&
	    (e = abi_get_address(owner, buf_view(&answer))) == ERR_OK) {
		told_hex(told, "owner", owner, 20);
		e = calls_getter(&data, CALL_ANY_DEVICE);
	}
	if (e == ERR_OK)
		e = tell_bool(told, "any_device", &k, app, &data, &why);
	if (e == ERR_OK &&
	    (e = calls_getter(&data, CALL_REQUIRE_TCB)) == ERR_OK)
		e = tell_bool(
		    told, "requires_patched_platform", &k, app, &data, &why);
	for (unsigned i = 0; e == ERR_OK && i < 2; i++) {
		const char *text = args_get(a, hashes[i].option);

		if (text == NULL)
			continue;
		rc = need_hex(hash, 32, c, hashes[i].option, text);
		if (rc != CTL_OK)
			goto done;
		e = calls_bytes32(&data, hashes[i].selector, hash);
		if (e == ERR_OK)
			e = tell_bool(
			    told, hashes[i].key, &k, app, &data, &why);
	}
	if (e != ERR_OK) {
		rc = ctl_denied(c, "app show", e, &why);
	} else {
		rc = ctl_result(c, told, CTL_OK);
		told = NULL; /* transferred */
	}
done:
	json_decref(told);
	buf_fini(&answer);
	buf_fini(&data);
	return rc;
}

const struct ctl_command cmd_app[] = {
	{ "app show", "APP", "what an app's contract says", options_read, 1, 1,
	    run_show },
	{ "app deploy", "", "make an app contract and register it",
	    options_deploy, 0, 0, run_deploy },
	{ "app register", "APP", "register an app contract of your own",
	    options_send, 1, 1, run_register },
	{ "app allow", "APP KIND [HASH]",
	    "compose H, device H, any-device, old-tcb", options_send, 2, 3,
	    run_allow },
	{ "app disallow", "APP KIND [HASH]", "the opposite", options_send, 2, 3,
	    run_disallow },
	{ .name = NULL },
};
