#include <string.h>

#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/net/fetch.h"
#include "kms/ctl/admin.h"

/* The genesis document: a quote and an event log, as hex in JSON. */
#define REPLY_MAX (4u * LIMIT_KMS_INFO)

/* exchange asks, or orders if `post`.  The caller fetch_reply_fini()s. */
static enum err
exchange(struct fetch_reply *r, const char *base, const char *path, bool post,
    unsigned timeout_ms)
{
	struct buf url = { 0 };
	enum err e;
	size_t n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		n--;
	if ((e = buf_printf(&url, "%.*s%s", (int)n, base, path)) != ERR_OK)
		return e;
	const struct fetch_request rq = { .url = (char *)url.p,
		.post = post ? BYTES_STR("{}") : (struct bytes){ 0 },
		.content_type = "application/json",
		.timeout_ms = timeout_ms,
		.max_reply = REPLY_MAX };

	fetch_all(r, &rq, 1);
	buf_fini(&url);
	return r->err == ERR_OK && r->status != 200 ? ERR_PHASE : r->err;
}

enum err
admin_get(json_t **out, const char *base, const char *path, unsigned timeout_ms)
{
	struct fetch_reply r = { .err = ERR_OK };
	enum err e = exchange(&r, base, path, false, timeout_ms);

	if (e == ERR_OK)
		e = json_parse(out, r.body.p, r.body.len, REPLY_MAX, NULL, 0);
	fetch_reply_fini(&r);
	return e;
}

enum err
admin_post(const char *base, const char *path, unsigned timeout_ms)
{
	struct fetch_reply r = { .err = ERR_OK };
	enum err e = exchange(&r, base, path, true, timeout_ms);

	fetch_reply_fini(&r);
	return e;
}

enum err
admin_agent(json_t **out, const char *socket, const char *method,
    const json_t *request, unsigned timeout_ms, bool secret)
{
	struct buf url = { 0 }, body = { 0 };
	struct fetch_reply r = { .err = ERR_OK };
	enum err e;

	if ((e = buf_printf(&url, "http://localhost/%s", method)) != ERR_OK ||
	    (e = json_write(&body, request)) != ERR_OK)
		goto done;
	const struct fetch_request rq = { .url = (char *)url.p,
		.unix_socket = socket,
		.post = buf_view(&body),
		.content_type = "application/json",
		.timeout_ms = timeout_ms,
		.max_reply = LIMIT_HTTP_BODY };

	fetch_all(&r, &rq, 1);
	e = r.err;
	if (e == ERR_OK)
		e = json_parse(
		    out, r.body.p, r.body.len, LIMIT_HTTP_BODY, NULL, 0);
	if (secret)
		buf_wipe(&r.body);
	fetch_reply_fini(&r);
done:
	buf_fini(&body);
	buf_fini(&url);
	return e;
}
