/* kmsctl key: ask an agent for a key, as an app does. */
#include <string.h>

#include "common/base/limits.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/ctl.h"

#define TIMEOUT_MS 70000

static enum ctl_exit
run_key(struct ctl *c, const struct args *a)
{
	const char *socket = args_get(a, "socket"), *fault = NULL,
		   *purpose = args_get(a, "purpose"),
		   *algorithm = args_get(a, "algorithm"),
		   *epoch = args_get(a, "epoch");
	json_t *rq, *v = NULL;
	uint64_t number = 0;
	enum ctl_exit rc;
	enum err e;

	if (socket == NULL)
		return ctl_fail(
		    c, CTL_USAGE, "which agent? give --socket PATH");
	if (epoch != NULL && args_u64(&number, epoch, INT64_MAX) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--epoch: must be a number");
	rq = json_pack("{s:s, s:s, s:s}", "path", a->n_pos > 0 ? a->pos[0] : "",
	    "purpose", purpose != NULL ? purpose : "", "algorithm",
	    algorithm != NULL ? algorithm : "secp256k1");
	if (rq == NULL)
		return ctl_fail(c, CTL_USAGE,
		    "path and purpose must be "
		    "UTF-8");
	if (epoch != NULL && json_set_u64(rq, "epoch", number) != ERR_OK) {
		json_decref(rq);
		return ctl_fail(c, CTL_FAILED, "%s", err_text(ERR_NOMEM));
	}
	e = admin_agent(&v, socket, "GetKey", rq, TIMEOUT_MS, true);
	if (e != ERR_OK) {
		rc = ctl_fail(c,
		    e == ERR_MALFORMED || e == ERR_LIMIT ? CTL_FAILED
							 : CTL_UNREACHABLE,
		    "%.200s: %s; is an agent listening there?", socket,
		    err_text(e));
		goto done;
	}
	if (json_get_str(&fault, v, "error") == ERR_OK) {
		rc =
		    ctl_fail(c, CTL_FAILED, "the agent refused: %.300s", fault);
		goto done;
	}
	/* Beside the answer what was asked, so that the whole can be
	 * checked by `kmsctl verify key`. */
	if (json_object_update(v, rq) != 0) {
		rc = ctl_fail(c, CTL_FAILED, "not an answer to GetKey");
		goto done;
	}
	(void)json_incref(v);
	rc = ctl_result(c, v, CTL_OK);
done:
	json_wipe(v);
	json_decref(rq);
	return rc;
}

static const struct args_option options[] = {
	{ "socket", "PATH", "the agent's socket" },
	{ "purpose", "TEXT", "what the key is for; part of its signature" },
	{ "algorithm", "NAME", "secp256k1 (default) or ed25519" },
	{ "epoch", "N",
	    "of that key epoch; default: the one the app is pinned to" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_key[] = {
	{ "key", "[KEYPATH]",
	    "ask an agent for a key, as an app does; prints "
	    "the secret",
	    options, 0, 1, run_key },
	{ .name = NULL },
};
