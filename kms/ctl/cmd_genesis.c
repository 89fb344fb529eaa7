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

static enum ctl_exit
run_publish(struct ctl *c, const struct args *a)
{
	const char *sim = args_get(a, "sim"), *pccs = args_get(a, "pccs"),
		   *root = args_get(a, "insecure-simulated-root");
	struct genesis_options o = { .node = args_get(a, "node"),
		.pccs_insecure_tls = args_has(a, "pccs-insecure-tls") };
	char lab_root[LAB_PATH_MAX], lab_pccs[CONTRACT_URL_MAX],
	    why_lab[LAB_WHY_MAX];
	struct refusal why = { .code = REASON_NONE };
	struct buf der = { 0 };
	struct attested who;
	struct contract k;
	struct lab *l = NULL;
	uint64_t block;
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
	o.pccs_url = pccs != NULL ? pccs : PCCS_DEFAULT;
	if (root != NULL) {
		if ((e = file_read(&der, root, ROOT_MAX)) != ERR_OK) {
			rc = ctl_fail(
			    c, CTL_USAGE, "%.300s: %s", root, err_text(e));
			goto done;
		}
		o.simulated_root = buf_view(&der);
	}
	e = genesis_publish(&who, &block, c, &k, &o, &why);
	if (e == ERR_EXISTS)
		rc = ctl_fail(c, CTL_FAILED,
		    "the contract names a root already; see `kmsctl kms "
		    "info`");
	else if (e != ERR_OK)
		rc = ctl_denied(c, "genesis", e, &why);
	else
		rc = ctl_result(c,
		    json_pack("{s:I, s:o, s:o, s:o, s:s, s:b}", "block",
			(json_int_t)block, "mr_aggregated",
			hex_text(who.boot.mr_aggregated, 32), "os_image_hash",
			hex_text(who.boot.os_image_hash, 32), "device_id",
			hex_text(who.boot.device_id, 32), "tcb_status",
			tcb_status_text(who.boot.tcb_status), "simulated",
			(int)who.boot.simulated),
		    CTL_OK);
done:
	buf_fini(&der);
	return rc;
}

static const struct args_option options[] = {
	{ "node", "URL", "admin listener of the node that made the roots" },
	CONTRACT_OPTIONS_SEND,
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
