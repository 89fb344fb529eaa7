/* fuzz_admin: what may come to the listener for operators.
 *
 * Targets: on_http of kms/service/admin.c, auditpage_reply, http1_feed.
 * admin.c is part of this file: its handler is nobody else's.
 *
 * The first byte: 1 the pages are old, 2 there are none, 4 nothing is in the
 * way of giving keys, 8 the audit log is long.  Then requests, each answered.
 *
 * Asserted: a reply has a status of the list; a page is given whole or not at
 * all, and never an old one; two orders can be given, by POST alone; a page of
 * the audit log has the entries that were asked for, bounded. */
#include "fuzz/must.h"
#include "kms/service/admin.c"

#include "common/base/secret.h"

#define REQUESTS 24
#define BODY_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ledger *ledger;

/* Members that come and go: each is an entry. */
static void
log_of(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct command c = { .kind = COMMAND_MEMBER,
			.u.member = { .slot = "s" } };
		struct ledger_outcome o;
		struct buf b = { 0 };

		c.u.member.incarnation[0] = (uint8_t)(1 + i / 2);
		c.u.member.incarnation[1] = (uint8_t)(i / 2 >> 8);
		if (i % 2 == 1) {
			struct command left = { .kind = COMMAND_LEFT,
				.u.left = {
				    .slot = "s", .why = LEFT_STOPPED } };

			memcpy(left.u.left.incarnation, c.u.member.incarnation,
			    INCARNATION_ID_LEN);
			c = left;
		}
		must(command_write(&b, &c) == ERR_OK);
		must(ledger_apply(ledger, &o, i + 1, buf_view(&b)) == ERR_OK);
		must(o.err == ERR_OK);
		buf_fini(&b);
	}
}

static void
check_audit(const struct admin *a, const struct httpd_request *rq,
    const struct httpd_reply *rp)
{
	const char *from = httpd_query(rq, "from");
	const json_t *list;
	uint64_t first;
	json_t *v;

	(void)a;
	must(rp->status == 200 || (rp->status == 400 && from != NULL));
	if (rp->status != 200)
		return;
	v = json_loadb((const char *)rp->body.p, rp->body.len, 0, NULL);
	list = json_object_get(v, "entries");
	must(json_is_array(list) && json_array_size(list) <= AUDITPAGE_ENTRIES);
	if (json_array_size(list) > 0 && from != NULL && from[0] != '\0') {
		first = (uint64_t)json_integer_value(
		    json_object_get(json_array_get(list, 0), "number"));
		must(first >= strtoull(from, NULL, 10));
	}
	json_decref(v);
}

static void
check(const struct admin *a, const struct httpd_request *rq,
    const struct httpd_reply *rp, bool drain, bool checkpoint)
{
	bool post = strcmp(rq->method, "POST") == 0,
	     ordered = atomic_load(&a->wants_drain) != drain ||
	    atomic_load(&a->wants_checkpoint) != checkpoint;

	must(rp->status == 200 || rp->status == 400 || rp->status == 404 ||
	    rp->status == 405 || rp->status == 503);
	must(!ordered || (post && rp->status == 200));
	if (strcmp(rq->path, "/audit") == 0 && strcmp(rq->method, "GET") == 0)
		check_audit(a, rq, rp);
	if (rp->status == 200 && strcmp(rq->path, "/status") == 0)
		must(!is_old(a) && rp->body.len == a->status.len);
	if (rp->status == 200 && strcmp(rq->path, "/readyz") == 0)
		must(!is_old(a) && a->obstacle == NULL);
	if (rp->status == 503)
		must(is_old(a) || a->obstacle != NULL || a->status.len == 0);
}

static bool
request(struct admin *a, struct bytes *in)
{
	struct http1 h;
	enum http1_step got;
	struct httpd_request rq;
	struct httpd_reply rp = { .status = 200,
		.content_type = "application/json" };
	bool drain = atomic_load(&a->wants_drain),
	     checkpoint = atomic_load(&a->wants_checkpoint);

	http1_init(&h, BODY_MAX);
	while ((got = http1_feed(&h, in)) == HTTP1_HEAD)
		;
	if (got == HTTP1_WHOLE) {
		httpd_request_of(&rq, &h);
		on_http(a, &rq, &rp);
		check(a, &rq, &rp, drain, checkpoint);
		buf_fini(&rp.body);
	}
	http1_fini(&h);
	return got == HTTP1_WHOLE && in->len > 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct auditpage *audit[2];
	static struct admin a;
	struct bytes in = { data + 1, size - 1 };

	if (audit[0] == NULL) {
		must(secret_process_init() == ERR_OK);
		must(ledger_new(&ledger) == ERR_OK);
		for (unsigned i = 0; i < 2; i++) {
			must(auditpage_new(&audit[i]) == ERR_OK);
			auditpage_update(audit[i], ledger);
			log_of(i == 0 ? 600 : 0);
		}
	}
	if (size == 0)
		return 0;
	a = (struct admin){ .audit = audit[(data[0] & 8) != 0],
		.obstacle = (data[0] & 4) != 0 ? NULL : "phase" };
	a.rendered_ms =
	    (data[0] & 1) != 0 ? clock_boot_ms() - 60000 : clock_boot_ms();
	must(pthread_mutex_init(&a.lock, NULL) == 0);
	if ((data[0] & 2) == 0) {
		must(buf_set(&a.status, "{}", 2) == ERR_OK);
		must(buf_set(&a.metrics, "m 1\n", 4) == ERR_OK);
		must(buf_set(&a.genesis, "{}", 2) == ERR_OK);
	}
	for (unsigned i = 0; i < REQUESTS && in.len > 0; i++)
		if (!request(&a, &in))
			break;
	buf_fini(&a.status);
	buf_fini(&a.metrics);
	buf_fini(&a.genesis);
	(void)pthread_mutex_destroy(&a.lock);
	return 0;
}
