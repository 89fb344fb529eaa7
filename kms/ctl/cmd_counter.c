/* kmsctl counter ...: an app's counters, asked as the app asks: at its agent. */
#include <string.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/ctl.h"

#define TIMEOUT_MS 70000
#define OPERATION_LEN 16

/* ask takes `rq`.  CTL_OK: `*out` is an answer, or a refusal that says a
 * value. */
static enum ctl_exit
ask(json_t **out, struct ctl *c, const struct args *a, const char *method,
    json_t *rq)
{
	const char *socket = args_get(a, "socket"), *fault = NULL;
	enum ctl_exit rc = CTL_OK;
	json_t *v = NULL;
	enum err e;

	if (rq == NULL)
		return ctl_fail(c, CTL_USAGE, "the name must be UTF-8");
	e = admin_agent(&v, socket, method, rq, TIMEOUT_MS, false);
	json_decref(rq);
	if (e != ERR_OK)
		return ctl_fail(c,
		    e == ERR_MALFORMED || e == ERR_LIMIT ? CTL_FAILED
							 : CTL_UNREACHABLE,
		    "%.200s: %s; is an agent listening there?", socket,
		    err_text(e));
	if (!json_is_integer(json_object_get(v, "value")))
		rc = json_get_str(&fault, v, "error") == ERR_OK
		    ? ctl_fail(
			  c, CTL_FAILED, "the agent refused: %.300s", fault)
		    : ctl_fail(c, CTL_FAILED, "not an answer to %s", method);
	if (rc == CTL_OK)
		*out = v;
	else
		json_decref(v);
	return rc;
}

/* tell takes `v`: a counter, or where it is instead. */
static enum ctl_exit
tell(struct ctl *c, json_t *v)
{
	const char *fault;

	if (json_get_str(&fault, v, "error") != ERR_OK)
		return ctl_result(c, v, CTL_OK);
	(void)fprintf(c->log, "kmsctl: %.300s: %lld%s\n", fault,
	    (long long)json_integer_value(json_object_get(v, "value")),
	    json_is_true(json_object_get(v, "uncertain"))
		? " (an answer was lost: it may have been this call)"
		: "");
	if (c->json)
		return ctl_result(c, v, CTL_FAILED);
	json_decref(v);
	return CTL_FAILED;
}

static enum ctl_exit
no_socket(const struct ctl *c)
{
	return ctl_fail(c, CTL_USAGE, "which agent? give --socket PATH");
}

static enum ctl_exit
run_get(struct ctl *c, const struct args *a)
{
	json_t *v = NULL;
	enum ctl_exit rc;

	if (!args_has(a, "socket"))
		return no_socket(c);
	rc = ask(&v, c, a, "CounterGet", json_pack("{s:s}", "name", a->pos[0]));
	return rc == CTL_OK ? tell(c, v) : rc;
}

static enum ctl_exit
run_increment(struct ctl *c, const struct args *a)
{
	const char *expected = args_get(a, "expected"),
		   *operation = args_get(a, "operation");
	uint8_t op[OPERATION_LEN];
	uint64_t n = 0;
	json_t *v = NULL, *rq;
	enum ctl_exit rc;

	if (!args_has(a, "socket"))
		return no_socket(c);
	if (expected != NULL && args_u64(&n, expected, INT64_MAX) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--expected: must be a number");
	if (operation != NULL && expected == NULL)
		return ctl_fail(c, CTL_USAGE,
		    "--operation repeats an attempt, so --expected must be "
		    "repeated, too");
	if (operation != NULL && hex_fixed(op, sizeof op, operation) != ERR_OK)
		return ctl_fail(
		    c, CTL_USAGE, "--operation: must be 16 bytes in hex");
	if (expected == NULL) {
		rc = ask(&v, c, a, "CounterGet",
		    json_pack("{s:s}", "name", a->pos[0]));
		if (rc != CTL_OK)
			return rc;
		n = (uint64_t)json_integer_value(json_object_get(v, "value"));
		json_decref(v);
	}
	rq = json_pack(
	    "{s:s, s:I}", "name", a->pos[0], "expected", (json_int_t)n);
	if (operation != NULL)
		(void)json_object_set_new(
		    rq, "operation", json_string(operation));
	rc = ask(&v, c, a, "CounterIncrement", rq);
	return rc == CTL_OK ? tell(c, v) : rc;
}

static const struct args_option options_get[] = {
	{ "socket", "PATH", "the agent's socket" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_increment[] = {
	{ "socket", "PATH", "the agent's socket" },
	{ "expected", "N",
	    "its value now; else nothing changes (default: "
	    "whatever it is)" },
	{ "operation", "HEX", "16 bytes that name this attempt" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_counter[] = {
	{ "counter get", "NAME", "ask an agent for a counter of its app",
	    options_get, 1, 1, run_get },
	{ "counter increment", "NAME",
	    "move a counter by one, if it is where it is expected",
	    options_increment, 1, 1, run_increment },
	{ .name = NULL },
};
