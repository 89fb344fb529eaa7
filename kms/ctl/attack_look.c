/* What nodes say: their status pages and their logs. */
#include <string.h>

#include "kms/ctl/admin.h"
#include "kms/ctl/attack_int.h"

#define PAGE_MS 2000
#define PATH_PART 32

json_t *
attack_page(const struct lab_node *n)
{
	char url[CONTRACT_URL_MAX];
	json_t *v = NULL;

	lab_admin_url(url, n);
	return admin_get(&v, url, "/status", PAGE_MS) == ERR_OK ? v : NULL;
}

static const json_t *
find(const json_t *v, const char *path)
{
	char part[PATH_PART];

	while (v != NULL && *path != '\0') {
		size_t n = strcspn(path, ".");

		if (n >= sizeof part)
			return NULL;
		memcpy(part, path, n);
		part[n] = '\0';
		v = json_object_get(v, part);
		path += n + (path[n] == '.');
	}
	return v;
}

const char *
attack_text(const json_t *page, const char *path)
{
	const char *s = json_string_value(find(page, path));

	return s != NULL ? s : "";
}

uint64_t
attack_number(const json_t *page, const char *path)
{
	json_int_t n = json_integer_value(find(page, path));

	return n > 0 ? (uint64_t)n : 0;
}

bool
attack_true(const json_t *page, const char *path)
{
	return json_is_true(find(page, path));
}

bool
attack_await_text(struct attack *a, const struct lab_node *n, const char *path,
    const char *want, uint64_t ms)
{
	struct ctl_wait w = ctl_wait(a->c, n->name, ms);
	char last[80] = "";

	for (;;) {
		json_t *v = attack_page(n);
		bool there =
		    v != NULL && strcmp(attack_text(v, path), want) == 0;

		(void)snprintf(last, sizeof last, "%s", attack_text(v, path));
		json_decref(v);
		if (there)
			return true;
		if (!ctl_wait_more(&w))
			return attack_broke(a,
			    "%s: %s is \"%s\", not \"%s\", after %llu s",
			    n->name, path, last, want,
			    (unsigned long long)ms / 1000);
	}
}

bool
attack_await_number(struct attack *a, const struct lab_node *n,
    const char *path, uint64_t at_least, uint64_t ms)
{
	struct ctl_wait w = ctl_wait(a->c, n->name, ms);

	for (;;) {
		json_t *v = attack_page(n);
		uint64_t is = attack_number(v, path);

		json_decref(v);
		if (is >= at_least)
			return true;
		if (!ctl_wait_more(&w))
			return attack_broke(a,
			    "%s: %s is %llu, not %llu, after %llu s", n->name,
			    path, (unsigned long long)is,
			    (unsigned long long)at_least,
			    (unsigned long long)ms / 1000);
	}
}

bool
attack_await_refused(
    struct attack *a, const struct lab_node *n, const char *reason)
{
	json_t *v;

	if (!attack_await_text(
		a, n, "cluster.waiting.reason", reason, ATTACK_LATE_MS))
		return false;
	v = attack_page(n);
	attack_refused(a, n->name, reason,
	    strcmp(attack_text(v, "cluster.waiting.reason"), reason) == 0
		? attack_text(v, "cluster.waiting.detail")
		: "");
	json_decref(v);
	return true;
}

bool
attack_await_joining(struct attack *a, const struct lab_node *n)
{
	return attack_await_text(a, n, "phase", "joining", ATTACK_SOON_MS);
}

const struct lab_node *
attack_best(struct attack *a)
{
	const struct lab_node *best = NULL;
	uint64_t most = 0;

	for (unsigned i = 0; i < a->l->n_nodes; i++) {
		const struct lab_node *n = &a->l->node[i];
		json_t *v;

		if (!n->listed || !attack_runs(a, n))
			continue;
		if (!attack_await_joining(a, n))
			return NULL;
		v = attack_page(n);
		if (best == NULL || attack_number(v, "cluster.last") > most) {
			best = n;
			most = attack_number(v, "cluster.last");
		}
		json_decref(v);
	}
	if (best == NULL)
		(void)attack_broke(a, "no node runs");
	return best;
}

bool
attack_await_stale(struct attack *a, const struct lab_node *n)
{
	struct ctl_wait w = ctl_wait(a->c, n->name, ATTACK_SOON_MS);

	for (;;) {
		json_t *v = attack_page(n);
		bool stale = v != NULL && !attack_true(v, "cluster.fresh");

		json_decref(v);
		if (stale)
			return true;
		if (!ctl_wait_more(&w))
			return attack_won(a,
			    "%s is confirmed by a quorum that is not there",
			    n->name);
	}
}

/* ---- what the leader says of others ---- */

const struct lab_node *
attack_leader(struct attack *a)
{
	struct ctl_wait w = ctl_wait(a->c, "a leader", ATTACK_SOON_MS);

	do {
		for (unsigned i = 0; i < a->l->n_nodes; i++) {
			const struct lab_node *n = &a->l->node[i];
			json_t *v = n->listed && attack_runs(a, n)
			    ? attack_page(n)
			    : NULL;
			bool leads = v != NULL &&
			    strcmp(attack_text(v, "cluster.leader"), n->name) ==
				0 &&
			    attack_true(v, "cluster.fresh");

			json_decref(v);
			if (leads)
				return n;
		}
	} while (ctl_wait_more(&w));
	(void)attack_broke(a, "nobody leads");
	return NULL;
}

const struct lab_node *
attack_follower(struct attack *a, unsigned which)
{
	const struct lab_node *leader = attack_leader(a);

	for (unsigned i = 0; leader != NULL && i < a->l->n_nodes; i++) {
		const struct lab_node *n = &a->l->node[i];

		if (n->listed && n != leader && which-- == 0)
			return n;
	}
	return NULL;
}

/* What `at` says about the life `incarnation`: "" if it does not know it. */
static bool
says_of(const struct lab_node *at, const char *incarnation, const char *reason)
{
	json_t *v = attack_page(at), *row;
	bool yes = false;
	size_t i;

	json_array_foreach(find(v, "cluster.nodes"), i, row) yes |=
	    strcmp(attack_text(row, "incarnation"), incarnation) == 0 &&
	    strcmp(attack_text(row, "refused"), reason) == 0 &&
	    strcmp(attack_text(row, "role"), "offers") == 0;
	json_decref(v);
	return yes;
}

bool
attack_await_outside(
    struct attack *a, const struct lab_node *who, const char *reason)
{
	struct ctl_wait w = ctl_wait(a->c, who->name, ATTACK_SOON_MS);
	char life[80] = "", detail[120];

	do {
		json_t *v = attack_page(who);
		bool in = strcmp(attack_text(v, "phase"), "ready") == 0;

		(void)snprintf(
		    life, sizeof life, "%s", attack_text(v, "incarnation"));
		json_decref(v);
		if (in)
			return attack_won(a, "%s was let in", who->name);
		for (unsigned i = 0; life[0] != '\0' && i < a->l->n_nodes; i++)
			if (a->l->node[i].listed && &a->l->node[i] != who &&
			    attack_runs(a, &a->l->node[i]) &&
			    says_of(&a->l->node[i], life, reason)) {
				(void)snprintf(detail, sizeof detail,
				    "to the life %.8s of %s", life, who->name);
				attack_refused(
				    a, a->l->node[i].name, reason, detail);
				return true;
			}
	} while (ctl_wait_more(&w));
	return attack_broke(a, "nobody refuses %s for %s", who->name, reason);
}

/* ---- logs ---- */

long
attack_log_end(struct attack *a, const struct lab_node *n)
{
	char path[LAB_PATH_MAX];
	long end = 0;
	FILE *f;

	lab_log_path(path, a->l, n->name);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	if (fseek(f, 0, SEEK_END) == 0)
		end = ftell(f);
	(void)fclose(f);
	return end > 0 ? end : 0;
}

bool
attack_log_has(
    const char *path, long from, const char *needle, char *line, size_t cap)
{
	char text[2048];
	bool found = false;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return false;
	if (fseek(f, from, SEEK_SET) == 0)
		while (!found && fgets(text, sizeof text, f) != NULL)
			found = strstr(text, needle) != NULL;
	if (found && line != NULL) {
		const char *event = strstr(text, "event=");

		(void)snprintf(line, cap, "%.*s",
		    (int)strcspn(event != NULL ? event : text, "\n"),
		    event != NULL ? event : text);
	}
	(void)fclose(f);
	return found;
}

bool
attack_await_log(struct attack *a, const struct lab_node *n, long from,
    const char *needle, char *line, size_t line_cap, uint64_t ms)
{
	struct ctl_wait w = ctl_wait(a->c, n->name, ms);
	char path[LAB_PATH_MAX];

	lab_log_path(path, a->l, n->name);
	while (!attack_log_has(path, from, needle, line, line_cap))
		if (!ctl_wait_more(&w))
			return attack_broke(
			    a, "%s does not log \"%s\"", n->name, needle);
	return true;
}
