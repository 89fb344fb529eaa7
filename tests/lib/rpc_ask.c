#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "tests/lib/rpc_ask.h"

unsigned
rpc_ask(json_t **out, const struct agent_backend *b,
    const struct rpc_service *s, const char *method, const char *body,
    bool text)
{
	struct rpc_reply rp = { .status = 0 };
	json_t *fields = NULL;
	char why[120];

	if (body != NULL)
		cr_assert_eq(json_parse_nul(&fields, body, strlen(body),
				 LIMIT_HTTP_BODY, why, sizeof why),
		    ERR_OK, "%s", why);
	rpc_call(b, &rp, s, method, fields, text);
	for (size_t i = 0; i < rp.body.len; i++)
		cr_assert(rp.body.p[i] < 0x80, "reply is not ASCII");
	cr_assert_eq(json_parse(out, rp.body.p, rp.body.len, LIMIT_HTTP_BODY,
			 why, sizeof why),
	    ERR_OK, "%s", why);
	json_decref(fields);
	buf_fini(&rp.body);
	return rp.status;
}

json_t *
rpc_ask_good(const struct agent_backend *b, const struct rpc_service *s,
    const char *method, const char *body)
{
	json_t *v = NULL;

	cr_assert_eq(rpc_ask(&v, b, s, method, body, false), 200, "%s %s: %s",
	    method, body, json_string_value(json_object_get(v, "error")));
	return v;
}

void
rpc_ask_bad(const struct agent_backend *b, const struct rpc_service *s,
    unsigned status, const char *method, const char *body, const char *words)
{
	json_t *v = NULL;
	const char *text;

	cr_assert_eq(rpc_ask(&v, b, s, method, body, false), status, "%s %s",
	    method, body);
	text = json_string_value(json_object_get(v, "error"));
	cr_assert_not_null(text);
	cr_assert_not_null(strstr(text, words), "'%s' lacks '%s'", text, words);
	cr_assert_eq(json_object_size(v), 1);
	json_decref(v);
}

void
rpc_ask_none(const struct agent_backend *b, const struct rpc_service *s,
    const char *method)
{
	json_t *v = NULL;
	unsigned status = rpc_ask(&v, b, s, method, "{}", false);

	cr_assert(status == 400 || status == 404, "%s: %u", method, status);
	cr_assert_not_null(
	    strstr(rpc_ask_str(v, "error"), "Service not found: "));
	json_decref(v);
}

const char *
rpc_ask_str(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));

	cr_assert_not_null(s, "%s", key);
	return s;
}

/* One of its entries has a NUL in a string. */
json_t *
rpc_ask_vectors(void)
{
	return json_load_file(
	    "../shared/vectors/dstack/vectors.json", JSON_ALLOW_NUL, NULL);
}
