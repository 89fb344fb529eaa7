/* kmsctl genesis publish */
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "kms/ctl/genesis.h"
#include "kms/ctl/lab.h"

#define ROOT_MAX 4096
#define PCCS_DEFAULT "https://pccs.phala.network"

static json_t *
hex_text(const uint8_t *p, size_t len)
{
	char text[65];

	hex_encode(text, p, len);
	return json_string(text);
}

static json_t *
address_text(const uint8_t a[static 20])
{
	char text[ACCOUNT_ADDRESS_TEXT];

	account_address_text(text, a);
	return json_string(text);
}

/* The anchor's part of the answer. */
static json_t *
tell_anchor(const struct ctl *c, const struct contract *k,
    const struct genesis_result *r, uint64_t fund_wei)
{
	char text[ACCOUNT_ADDRESS_TEXT], ether[ETHER_TEXT];

	account_address_text(text, r->signer);
	ether_text(ether, fund_wei);
	if (fund_wei == 0)
		ctl_note(c,
		    "give some ether to %s: the cluster pays with it for what "
		    "it writes on chain (or use --fund)",
		    text);
	return json_pack("{s:o, s:s, s:s}", "contract", address_text(k->anchor),
	    "signer", text, "funded_ether", ether);
}

static enum ctl_exit
tell(const struct ctl *c, const struct contract *k,
    const struct genesis_result *r, uint64_t fund_wei)
{
	const struct boot_info *b = &r->who.boot;

	return ctl_result(c,
	    json_pack("{s:I, s:o, s:o, s:o, s:s, s:b, s:o}", "block",
		(json_int_t)r->block, "mr_aggregated",
		hex_text(b->mr_aggregated, 32), "os_image_hash",
		hex_text(b->os_image_hash, 32), "device_id",
		hex_text(b->device_id, 32), "tcb_status",
		tcb_status_text(b->tcb_status), "simulated", (int)b->simulated,
		"anchor", tell_anchor(c, k, r, fund_wei)),
	    CTL_OK);
}

static enum ctl_exit
run_publish(struct ctl *c, const struct args *a)
{
	const char *sim = args_get(a, "sim"), *pccs = args_get(a, "pccs"),
		   *root = args_get(a, "insecure-simulated-root"),
		   *fund = args_get(a, "fund");
	struct genesis_options o = { .node = args_get(a, "node"),
		.pccs_insecure_tls = args_has(a, "pccs-insecure-tls") };
	char lab_root[LAB_PATH_MAX], lab_pccs[CONTRACT_URL_MAX],
	    why_lab[LAB_WHY_MAX];
	struct refusal why = { .code = REASON_NONE };
	struct buf der = { 0 };
	struct genesis_result r = { .block = 0 };
	struct contract k;
	struct lab *l = NULL;
	enum ctl_exit rc;
	enum err e;

	if (o.node == NULL)
		return ctl_fail(c, CTL_USAGE,
		    "which node? give --node http://ADDRESS:PORT");
	if ((rc = contract_from_args(&k, c, a, true, true)) != CTL_OK)
		return rc;
	if (sim != NULL) {
		if (lab_load(&l, sim, why_lab) != ERR_OK)
			return ctl_fail(c, CTL_USAGE, "%s", why_lab);
		lab_path(lab_root, l, "sim-root.der");
		lab_pccs_url(lab_pccs, l);
		lab_free(l);
		root = root != NULL ? root : lab_root;
		pccs = pccs != NULL ? pccs : lab_pccs;
	}
	if (sim != NULL)
		o.fund_wei = GENESIS_FUND_LAB;
	if (fund != NULL && ether_parse(&o.fund_wei, fund) != ERR_OK)
		return ctl_fail(
		    c, CTL_USAGE, "--fund: must be ether, at most 18");
	o.pccs_url = pccs != NULL ? pccs : PCCS_DEFAULT;
	if (root != NULL) {
		if ((e = file_read(&der, root, ROOT_MAX)) != ERR_OK) {
			rc = ctl_fail(
			    c, CTL_USAGE, "%.300s: %s", root, err_text(e));
			goto done;
		}
		o.simulated_root = buf_view(&der);
	}
	e = genesis_publish(&r, c, &k, &o, &why);
	if (e == ERR_EXISTS)
		rc = ctl_fail(c, CTL_FAILED,
		    "the contract names a root already; see `kmsctl kms "
		    "info`");
	else if (e != ERR_OK)
		rc = ctl_denied(c, "genesis", e, &why);
	else
		rc = tell(c, &k, &r, o.fund_wei);
done:
	buf_fini(&der);
	return rc;
}

static const struct args_option options[] = {
	{ "node", "URL", "admin listener of the node that made the roots" },
	CONTRACT_OPTIONS_SEND,
	CONTRACT_OPTION_ANCHOR,
	{ "fund", "ETHER", "for the account by which the cluster writes" },
	{ "pccs", "URL", "where collateral comes from" },
	{ "pccs-insecure-tls", NULL, "do not check the PCCS's certificate" },
	{ "insecure-simulated-root", "FILE",
	    "accept simulated machines under this root (DER)" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_genesis[] = {
	{ "genesis publish", "",
	    "verify a new KMS's first roots and put them "
	    "on chain",
	    options, 0, 0, run_publish },
	{ .name = NULL },
};
