#include <string.h>

#include "common/base/name.h"
#include "common/base/secret.h"

#include "node/agent/params.h"
#include "node/agent/rpc_counter.h"

static enum err
read_name(struct rpc_call *c, const char **name)
{
	/* The length is told below, with all the rest. */
	*name = params_str(c->in, "name", 4 * KMS_COUNTER_NAME_MAX);
	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	if (!name_ok(*name, KMS_COUNTER_NAME_MAX + 1))
		return rpc_fail(c,
		    "name: must be 1 to %d printable characters without "
		    "space, '/' and '#'",
		    KMS_COUNTER_NAME_MAX);
	return ERR_OK;
}

static void
put_counter(
    struct rpc_call *c, const char *name, const struct kms_counter *have)
{
	rpc_put_str(c, "name", name);
	rpc_put_u64(c, "value", have->value);
	rpc_put_u64(c, "generation", have->generation);
	rpc_put_u64(c, "index", have->index);
}

enum err
rpc_counter_get(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	struct refusal why = { .code = REASON_NONE };
	struct kms_counter have;
	const char *name;
	enum err e = read_name(c, &name);

	if (e != ERR_OK)
		return e;
	if ((e = b->counter_get(b->cookie, &have, name, &why)) != ERR_OK)
		return rpc_fail_why(c, "Failed to read the counter", e, &why);
	put_counter(c, name, &have);
	return ERR_OK;
}

/* The caller's, or one that nobody has used. */
static enum err
read_operation(struct rpc_call *c, uint8_t out[static KMS_OPERATION_LEN])
{
	struct buf given = { 0 };
	enum err e = ERR_OK;

	if (json_is_null(json_object_get(c->in->obj, "operation")) ||
	    json_object_get(c->in->obj, "operation") == NULL) {
		secret_random(out, KMS_OPERATION_LEN);
		return ERR_OK;
	}
	params_bytes(c->in, &given, "operation", KMS_OPERATION_LEN,
	    "operation: must be 16 bytes in hex");
	if (params_bad(c->in) != NULL)
		e = rpc_fail(c, "%s", params_bad(c->in));
	else if (given.len != KMS_OPERATION_LEN)
		e = rpc_fail(c, "operation: must be 16 bytes in hex");
	else
		memcpy(out, given.p, KMS_OPERATION_LEN);
	buf_fini(&given);
	return e;
}

static enum err
mismatch(struct rpc_call *c, const struct kms_counter *have)
{
	if (json_set_u64(c->beside_error, "value", have->value) != ERR_OK ||
	    (have->uncertain &&
		json_set_bool(c->beside_error, "uncertain", true) != ERR_OK))
		return ERR_NOMEM;
	return rpc_fail(c, "%s", reason_text(REASON_COUNTER_MISMATCH));
}

enum err
rpc_counter_increment(struct rpc_call *c)
{
	const struct agent_backend *b = c->backend;
	struct refusal why = { .code = REASON_NONE };
	uint8_t operation[KMS_OPERATION_LEN];
	struct kms_counter have;
	uint64_t expected;
	bool has_expected;
	const char *name;
	enum err e = read_name(c, &name);

	if (e != ERR_OK)
		return e;
	expected = params_u64(c->in, "expected", &has_expected);
	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	if (!has_expected)
		return rpc_fail(c, "expected: must be the counter's value now");
	if ((e = read_operation(c, operation)) != ERR_OK)
		return e;
	e = b->counter_increment(
	    b->cookie, &have, name, expected, operation, &why);
	if (e != ERR_OK)
		return rpc_fail_why(
		    c, "Failed to increment the counter", e, &why);
	if (!have.matched)
		return mismatch(c, &have);
	put_counter(c, name, &have);
	return ERR_OK;
}
