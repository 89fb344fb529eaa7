/* appplan, composediff: what an upgrade changes, and when; pure. */
#include <criterion/criterion.h>

#include <string.h>

#include "kms/ctl/appplan.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/composediff.h"

#define NOW 1700000000u
#define NOTICE 7200u

static struct appplan_facts
facts(enum appplan_kind kind)
{
	struct appplan_facts f = { .kind = kind,
		.now = NOW,
		.owner_kind = APPPLAN_ACCOUNT,
		.owner = { 1 },
		.old_from = 1 };

	if (kind == APPPLAN_TIMELOCK)
		f.notice_s = NOTICE;
	if (kind == APPPLAN_QUORUM) {
		f.owner_kind = APPPLAN_COUNCIL;
		f.owner_notice_s = NOTICE;
	}
	return f;
}

static const struct appplan_wish wish = { .has_new = true,
	.has_old = true,
	.drop_old = true,
	.new_hash = { 2 },
	.old_hash = { 3 },
	.n_add = 1,
	.n_remove = 1,
	.any_device = -1 };

static bool
warns(const struct appplan_facts *f, const struct appplan_wish *w,
    const char *code)
{
	json_t *list = json_array(), *row;
	bool found = false;
	size_t i;

	cr_assert_eq(appplan_warn(list, f, w), ERR_OK);
	json_array_foreach(list, i, row)
	{
		const char *s;

		cr_assert_eq(json_get_str(&s, row, "code"), ERR_OK);
		found |= strcmp(s, code) == 0;
	}
	json_decref(list);
	return found;
}

/* What lets in waits; what keeps out does not, unless the owner does. */
Test(ctl_plan, delays)
{
	struct appplan_facts f = facts(APPPLAN_PLAIN);

	cr_assert_eq(appplan_delay(&f, true), 0);
	cr_assert_eq(appplan_delay(&f, false), 0);
	f.owner_notice_s = 60;
	cr_assert_eq(appplan_delay(&f, true), 60);
	cr_assert_eq(appplan_delay(&f, false), 60);
	f = facts(APPPLAN_TIMELOCK);
	cr_assert_eq(appplan_delay(&f, true), NOTICE);
	cr_assert_eq(appplan_delay(&f, false), 0);
	f.owner_notice_s = 60;
	cr_assert_eq(appplan_delay(&f, true), NOTICE + 60);
	cr_assert_eq(appplan_delay(&f, false), 60);
	f = facts(APPPLAN_QUORUM);
	cr_assert_eq(appplan_delay(&f, true), NOTICE);
	cr_assert_eq(appplan_delay(&f, false), 0);
}

/* The old version goes when the new one holds, not before. */
Test(ctl_plan, order)
{
	struct appplan_facts f = facts(APPPLAN_TIMELOCK);
	struct appplan_step s[APPPLAN_STEPS_MAX];
	struct buf call = { 0 };
	unsigned n = 0;

	f.remove_from[0] = 1;
	cr_assert_eq(appplan_steps(s, &n, &f, &wish), ERR_OK);
	cr_assert_eq(n, 4);
	for (unsigned i = 0; i < n; i++) {
		cr_assert(s[i].needed);
		cr_assert_eq(s[i].lets_in, i < 2);
		cr_assert_eq(s[i].from, NOW + NOTICE);
	}
	cr_assert_eq(appplan_active(&f, s, n), NOW + NOTICE);
	cr_assert_eq(
	    calls_bytes32(&call, CALL_ADD_COMPOSE, wish.new_hash), ERR_OK);
	cr_assert_eq(s[1].data.len, call.len);
	cr_assert_arr_eq(s[1].data.p, call.p, call.len);
	cr_assert_eq(
	    calls_bytes32(&call, CALL_REMOVE_COMPOSE, wish.old_hash), ERR_OK);
	cr_assert_arr_eq(s[3].data.p, call.p, call.len);
	appplan_fini(s, n);
	buf_fini(&call);
}

/* What is announced is not sent again, which would not hurry it; what is so
 * needs nothing; what is not there cannot be taken away. */
Test(ctl_plan, what_is_there)
{
	struct appplan_facts f = facts(APPPLAN_TIMELOCK);
	struct appplan_step s[APPPLAN_STEPS_MAX];
	unsigned n = 0;

	f.new_from = NOW + 100;
	f.add_from[0] = NOW - 100;
	f.old_from = 0;
	cr_assert_eq(appplan_steps(s, &n, &f, &wish), ERR_OK);
	cr_assert_eq(n, 4);
	for (unsigned i = 0; i < n; i++)
		cr_assert_not(s[i].needed);
	cr_assert_eq(s[1].from, NOW + 100);
	cr_assert_eq(appplan_active(&f, s, n), NOW + 100);
	appplan_fini(s, n);
}

Test(ctl_plan, most_steps)
{
	struct appplan_facts f = facts(APPPLAN_PLAIN);
	struct appplan_wish w = wish;
	struct appplan_step s[APPPLAN_STEPS_MAX];
	unsigned n = 0;

	w.n_add = w.n_remove = APPPLAN_DEVICES_MAX;
	for (int any = -1; any <= 1; any++) {
		w.any_device = any;
		cr_assert_eq(appplan_steps(s, &n, &f, &w), ERR_OK);
		cr_assert_eq(n, 2 * APPPLAN_DEVICES_MAX + 2 + (any >= 0));
		appplan_fini(s, n);
	}
}

Test(ctl_plan, warnings)
{
	struct appplan_facts f = facts(APPPLAN_PLAIN);
	struct appplan_wish w = wish;

	cr_assert(warns(&f, &w, "instant"));
	cr_assert(warns(&f, &w, "one_key"));
	cr_assert_not(warns(&f, &w, "code"));
	f.proxy = true;
	cr_assert(warns(&f, &w, "code"));
	f.frozen = true;
	cr_assert_not(warns(&f, &w, "code"));
	f.owner_notice_s = 1;
	cr_assert_not(warns(&f, &w, "instant"));
	f.owner_kind = APPPLAN_NOBODY;
	cr_assert(warns(&f, &w, "no_owner"));
	cr_assert_not(warns(&f, &w, "one_key"));

	f = facts(APPPLAN_TIMELOCK);
	cr_assert_not(warns(&f, &w, "instant"));
	cr_assert_not(warns(&f, &w, "unregistered"));
	f.has_kms = true;
	cr_assert(warns(&f, &w, "unregistered"));
	f.any_tcb_from = 1;
	cr_assert(warns(&f, &w, "old_tcb"));
	cr_assert_not(warns(&f, &w, "any_device"));
	f.any_device_from = NOW + 5; /* announced is as good as done */
	cr_assert(warns(&f, &w, "any_device"));
	w.any_device = 0;
	cr_assert_not(warns(&f, &w, "any_device"));
	w.drop_old = false;
	cr_assert(warns(&f, &w, "old_stays"));
	f.old_from = 0;
	cr_assert(warns(&f, &w, "old_unknown"));
	memcpy(w.old_hash, w.new_hash, 32);
	cr_assert(warns(&f, &w, "same"));
	cr_assert(warns(
	    &(struct appplan_facts){ .kind = APPPLAN_FOREIGN }, &w, "foreign"));
}

/* ---- composediff ---- */

static json_t *
parsed(const char *text)
{
	json_t *v = NULL;

	cr_assert_eq(json_parse(&v, text, strlen(text), 1 << 20, NULL, 0),
	    ERR_OK, "%s", text);
	return v;
}

/* Rows as one text: "a added - 1;". */
static void
flat(char *out, size_t cap, json_t *rows, const char *const member[4])
{
	size_t i, n = 0;
	json_t *row;

	out[0] = '\0';
	json_array_foreach(rows, i, row)
	{
		for (unsigned k = 0; k < 4 && member[k] != NULL; k++) {
			const char *s = "?";

			(void)json_get_str(&s, row, member[k]);
			n += (size_t)snprintf(
			    out + n, cap - n, "%s%s", k > 0 ? " " : "", s);
		}
		n += (size_t)snprintf(out + n, cap - n, ";");
	}
	json_decref(rows);
}

static void
members_are(const char *old, const char *new, const char *want)
{
	static const char *const m[4] = { "member", "change", "old", "new" };
	json_t *a = parsed(old), *b = parsed(new);
	char got[4096];

	flat(got, sizeof got, composediff_members(a, b), m);
	cr_assert_str_eq(got, want);
	json_decref(a);
	json_decref(b);
}

static void
lines_are(const char *old, const char *new, const char *want)
{
	static const char *const m[4] = { "change", "line" };
	json_t *a = json_pack("{s:s}", "f", old),
	       *b = json_pack("{s:s}", "f", new);
	char got[65536];

	flat(got, sizeof got, composediff_lines(a, b), m);
	cr_assert_str_eq(got, want);
	json_decref(a);
	json_decref(b);
}

Test(ctl_plan, members)
{
	members_are("{}", "{}", "");
	members_are("{\"a\":1,\"b\":[1]}", "{\"b\":[1],\"a\":1}", "");
	members_are("{\"a\":1,\"b\":true}", "{\"b\":false,\"c\":\"x\"}",
	    "b changed true false;c added - \"x\";a removed 1 -;");
	members_are("{\"f\":\"x\\ny\\n\"}", "{\"f\":\"x\\ny\\nz\"}",
	    "f changed 2 lines 3 lines;");
	/* Long values are cut, strange ones are ASCII. */
	members_are("{}",
	    "{\"a\":\"\\u001b0123456789012345678901234567890123456789"
	    "0123456789012345678901234567890123456789\"}",
	    "a added - "
	    "\"\\u001B01234567890123456789012345678901234567890123456789"
	    "0123...;");
}

Test(ctl_plan, lines)
{
	lines_are("a\nb\nc\n", "a\nb\nc\n", "");
	lines_are("a\nb\nc\n", "a\nB\nc\n", "- b;+ B;");
	lines_are("a\nc\n", "a\nb\nc\n", "+ b;");
	lines_are("a\nb\nc\n", "a\nc\n", "- b;");
	lines_are("a\n", "a", "- a;+ a;");
	lines_are("x\n", "", "- x;");
	lines_are("", "x\ny", "+ x;+ y;");
	/* What is common must be whole lines. */
	lines_are("ab\nxb\n", "ab\nyb\n", "- xb;+ yb;");
	lines_are("aa\naa\n", "aa\naa\naa\n", "+ aa;");
	/* Neither is of several lines: the members say it all. */
	lines_are("a", "b", "");
}

/* Bounded, in lines and in their length. */
Test(ctl_plan, many_lines)
{
	char old[4096] = "", new[4096] = "", wide[1024];
	json_t *a, *b, *rows;
	const char *s;

	for (unsigned i = 0; i < 500; i++) {
		strcat(old, "x\n");
		strcat(new, "y\n");
	}
	a = json_pack("{s:s}", "f", old);
	b = json_pack("{s:s}", "f", new);
	rows = composediff_lines(a, b);
	cr_assert_eq(json_array_size(rows), COMPOSEDIFF_LINES);
	cr_assert_eq(json_get_str(&s,
			 json_array_get(rows, COMPOSEDIFF_LINES - 1), "line"),
	    ERR_OK);
	cr_assert_str_eq(s, "... and more");
	json_decref(rows);
	json_decref(b);
	/* Cut between characters, as JSON wants it. */
	memset(wide, 'w', sizeof wide);
	memcpy(wide + 159, "\xc3\xa9\n", 4);
	b = json_pack("{s:s}", "f", wide);
	rows = composediff_lines(a, b);
	cr_assert_eq(json_array_size(rows), COMPOSEDIFF_LINES);
	json_decref(rows);
	json_decref(a);
	a = json_pack("{s:s}", "f", "");
	rows = composediff_lines(a, b);
	cr_assert_eq(json_array_size(rows), 1);
	cr_assert_eq(json_get_str(&s, json_array_get(rows, 0), "line"), ERR_OK);
	cr_assert_eq(strlen(s), 159);
	json_decref(rows);
	json_decref(a);
	json_decref(b);
}

static bool
compose_warns(const char *text, const char *code)
{
	json_t *v = parsed(text), *list = json_array(), *row;
	bool found = false;
	size_t i;

	cr_assert_eq(composediff_warn(list, v), ERR_OK);
	json_array_foreach(list, i, row)
	{
		const char *s = "";

		(void)json_get_str(&s, row, "code");
		found |= strcmp(s, code) == 0;
	}
	json_decref(list);
	json_decref(v);
	return found;
}

Test(ctl_plan, compose_warnings)
{
	static const char *const loose[] = { "image: alpine",
		"image:alpine:3\\n", "a:\\n  image : x\\n",
		"\\\"image\\\": \\\"x\\\"", "image: a@sha256:00\\n  image: b" };
	static const char *const pinned[] = { "", "image:", "images: x",
		"image: a@sha256:0011", "image: 'a/b:1@sha256:0011' # image",
		("image: a-very-long-registry-name.example/with/a/long/path/"
		 "to-an-image:1.2.3-with-a-tag@sha256:0011") };
	char text[512];

	for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
		(void)snprintf(text, sizeof text,
		    "{\"docker_compose_file\":\"%s\"}", loose[i]);
		cr_expect(compose_warns(text, "image"), "%s", text);
	}
	for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
		(void)snprintf(text, sizeof text,
		    "{\"docker_compose_file\":\"%s\"}", pinned[i]);
		cr_expect_not(compose_warns(text, "image"), "%s", text);
	}
	cr_assert(compose_warns("{\"name\":\"x\"}", "name"));
	cr_assert(compose_warns("{}", "no_kms"));
	cr_assert(compose_warns("{\"key_provider\":\"local\"}", "no_kms"));
	cr_assert_not(compose_warns("{\"key_provider\":\"kms\"}", "no_kms"));
	cr_assert(compose_warns("{\"kms_enabled\":true}", "any_kms"));
	cr_assert_not(compose_warns(
	    "{\"kms_enabled\":true,\"key_provider_id\":\"00\"}", "any_kms"));
	cr_assert(compose_warns("{\"no_instance_id\":true}", "no_instance_id"));
	cr_assert_not(
	    compose_warns("{\"no_instance_id\":1}", "no_instance_id"));
	cr_assert(compose_warns("{\"allowed_envs\":[\"A\"]}", "allowed_envs"));
	cr_assert_not(compose_warns("{\"allowed_envs\":[]}", "allowed_envs"));
	cr_assert(compose_warns("{\"public_logs\":true}", "public_logs"));
}
