/* fuzz_answers: what kmsctl reads, from nodes, endpoints, apps and files.
 *
 * Targets, by the first byte: audit_node_page, audit_chain_log, rootchain_read,
 * keychain_read and keychain_check, envfile_add_lines, compose_canonical and
 * composediff, quotefile_read, councilabi_state.
 *
 * Asserted: a refusal has words; what is read is within its bounds; a key that
 * nobody signed ends at no root; an environment's names are each there once; a
 * canonical compose file is the canonical form of itself. */
#include <string.h>

#include "common/base/secret.h"
#include "fuzz/must.h"
#include "kms/ctl/audit.h"
#include "kms/ctl/compose.h"
#include "kms/ctl/composediff.h"
#include "kms/ctl/councilabi.h"
#include "kms/ctl/envfile.h"
#include "kms/ctl/keychain.h"
#include "kms/ctl/quotefile.h"
#include "kms/ctl/rootchain.h"

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *
parsed(struct bytes in)
{
	char why[160] = "";
	json_t *v = NULL;

	if (json_parse(&v, in.p, in.len, MAX, why, sizeof why) == ERR_OK)
		return v;
	must(why[0] != '\0');
	return NULL;
}

static void
try_page(const json_t *v)
{
	struct audit_node n = { .first = 1 };
	bool more = false;

	/* The same page cannot be read twice: its numbers go on. */
	for (unsigned i = 0; i < 2; i++) {
		enum err e = audit_node_page(&n, v, &more);

		must(e == ERR_OK || e == ERR_MALFORMED);
		for (size_t k = 0; k < n.n; k++)
			must(n.entry[k].number == n.first + k);
		if (e != ERR_OK)
			break;
	}
	audit_node_fini(&n);
}

static void
try_log(const json_t *v)
{
	struct audit_chain c = { .now = 0 };
	enum err e = audit_chain_log(&c, v);

	must(e == ERR_OK || e == ERR_MALFORMED);
	must(c.n_handovers + c.n_changes <= 1);
	audit_chain_fini(&c);
}

static void
try_roots(const json_t *v)
{
	static struct rootchain c;
	const struct k256_pub nobody = { .b = { 2, [32] = 1 } };
	struct k256_pub other = nobody;
	struct refusal why = { 0 };
	char text[160] = "";
	uint64_t epoch;

	other.b[32] = 2;
	if (rootchain_read(&c, v, text, sizeof text) != ERR_OK) {
		must(text[0] != '\0');
		return;
	}
	must(c.n <= ROOTCHAIN_MAX);
	must(rootchain_follow(&epoch, &c, &nobody, &nobody, NULL, 0, &why) ==
		ERR_OK &&
	    epoch == 0);
	must(rootchain_follow(&epoch, &c, &nobody, &other, NULL, 0, &why) !=
	    ERR_OK);
}

static void
try_key(const json_t *v)
{
	static struct keychain_claim c;
	struct keychain_report r;
	struct refusal why = { 0 };
	const struct k256_pub root = { .b = { 2, [32] = 1 } };
	const uint8_t app[20] = { 1 };
	char text[160] = "";

	if (keychain_read(&c, v, text, sizeof text) != ERR_OK) {
		must(text[0] != '\0');
		return;
	}
	must(c.pub_len == 32 || c.pub_len == 33);
	must(keychain_check(&r, &c, app, NULL, &root, &why) == ERR_DENIED &&
	    r.broken != KEYCHAIN_HOLDS && why.code != REASON_NONE);
}

static void
try_env(struct bytes in)
{
	char why[ENVFILE_WHY_MAX] = "";
	json_t *env = envfile_new();
	const json_t *list, *a, *b;
	size_t i, k;

	must(env != NULL);
	if (envfile_add_lines(env, in, why) != ERR_OK)
		must(why[0] != '\0');
	list = json_object_get(env, "env");
	must(json_array_size(list) == envfile_count(env));
	json_array_foreach(list, i, a) for (k = 0; k < i; k++)
	{
		b = json_array_get(list, k);
		must(!json_equal(
		    json_object_get(a, "key"), json_object_get(b, "key")));
	}
	json_wipe(env);
}

static void
try_compose(struct bytes in)
{
	struct buf one = { 0 }, two = { 0 };
	char why[160] = "";
	json_t *v = NULL, *again = NULL, *rows;

	if (json_parse_js(&v, in.p, in.len, MAX, why, sizeof why) != ERR_OK)
		return;
	rows = json_array();
	if (json_is_object(v)) {
		must(compose_canonical(&one, v, false) == ERR_OK);
		must(json_parse_js(&again, one.p, one.len, SIZE_MAX, why,
			 sizeof why) == ERR_OK);
		must(compose_canonical(&two, again, false) == ERR_OK);
		must(one.len == two.len && memcmp(one.p, two.p, one.len) == 0);
		must(composediff_warn(rows, v) == ERR_OK);
		json_decref(rows);
		rows = composediff_members(v, again);
		must(json_array_size(rows) == 0);
		json_decref(rows);
		rows = composediff_lines(v, again);
		must(json_array_size(rows) == 0);
	} else {
		must(compose_canonical(&one, v, true) == ERR_MALFORMED);
	}
	json_decref(rows);
	json_decref(again);
	json_decref(v);
	buf_fini(&one);
	buf_fini(&two);
}

static void
try_quote(struct bytes in)
{
	struct refusal why = { 0 };
	struct quotefile f;
	enum err e = quotefile_read(&f, in, &why);

	if (e == ERR_MALFORMED)
		must(why.detail[0] != '\0');
	if (e != ERR_OK)
		return;
	must(f.form != NULL && f.kind <= QUOTEFILE_NITRO);
	must(f.ev.quote.len <= in.len);
	quotefile_fini(&f);
}

static void
try_council(struct bytes in)
{
	static struct council_state s;

	if (councilabi_state(&s, in) == ERR_OK)
		must(s.members.n <= COUNCIL_MEMBERS_MAX);
	(void)councilabi_is_domain(in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct bytes in = { data + 1, size - 1 };
	json_t *v = NULL;

	if (!ready)
		must(secret_process_init() == ERR_OK);
	ready = true;
	if (size == 0)
		return 0;
	if (data[0] % 8 < 4 && (v = parsed(in)) == NULL)
		return 0;
	switch (data[0] % 8) {
	case 0:
		try_page(v);
		break;
	case 1:
		try_log(v);
		break;
	case 2:
		try_roots(v);
		break;
	case 3:
		try_key(v);
		break;
	case 4:
		try_env(in);
		break;
	case 5:
		try_compose(in);
		break;
	case 6:
		try_quote(in);
		break;
	case 7:
		try_council(in);
		break;
	}
	json_decref(v);
	return 0;
}
