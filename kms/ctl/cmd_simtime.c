/* kmsctl sim time: days of notice in a moment. */
#include <string.h>

#include "kms/ctl/lab.h"
#include "kms/ctl/when.h"

#define FINAL_MS 60000

/* The chain's clock, for notice periods; it never goes back. */
static enum ctl_exit
run_time(struct ctl *c, const struct args *a)
{
	const char *text = a->pos[1];
	struct refusal why = { .code = REASON_NONE };
	uint64_t seconds, number, at = 0;
	char params[32], when[WHEN_TEXT], told[LAB_WHY_MAX];
	struct lab *l = NULL;
	struct contract k;
	enum ctl_exit rc = CTL_OK;
	enum err e;

	if (when_parse(&seconds, text + (text[0] == '+')) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "%.40s: how far? a number with d, h, min or s", text);
	if (lab_load(&l, a->pos[0], told) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", told);
	if (l->n_members == 0) {
		rc = ctl_fail(c, CTL_FAILED,
		    "the nodes of this cluster believe no chain whose clock "
		    "is ahead; `sim init --council N:K` makes one that does");
		goto done;
	}
	lab_contract(&k, l);
	(void)snprintf(
	    params, sizeof params, "[%llu]", (unsigned long long)seconds);
	if ((e = contract_rpc(&k, "evm_increaseTime", params, &why)) !=
		ERR_OK ||
	    (e = contract_rpc(&k, "evm_mine", "[]", &why)) != ERR_OK ||
	    (e = contract_block_number(&number, &k, "latest", &why)) !=
		ERR_OK ||
	    (e = contract_await_final(c, &k, number, FINAL_MS)) != ERR_OK ||
	    (e = contract_block_time(&at, &k, &why)) != ERR_OK) {
		rc = ctl_denied(c, "the chain", e, &why);
		goto done;
	}
	when_date(when, at);
	rc = ctl_result(c, json_pack("{s:s}", "chain_time", when), CTL_OK);
done:
	lab_free(l);
	return rc;
}

const struct ctl_command cmd_simtime[] = {
	{ "sim time", "DIR SPAN", "move the chain's clock on: 2d, +90min", NULL,
	    2, 2, run_time },
	{ .name = NULL },
};
