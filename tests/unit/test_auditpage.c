/* The audit log page by page: all of it, in order, and it chains. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/json.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "kms/service/auditpage.h"

static struct ledger *l;
static struct auditpage *p;

static void
setup(void)
{
	cr_assert_eq(ledger_new(&l), ERR_OK);
	cr_assert_eq(auditpage_new(&p), ERR_OK);
}

static void
teardown(void)
{
	auditpage_free(p);
	ledger_free(l);
}

TestSuite(auditpage, .init = setup, .fini = teardown, .timeout = 60);

/* `n` generations, one after the other. */
static void
apply(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct command c = { .kind = COMMAND_GENERATION, .time = 7 };
		struct ledger_outcome o;
		struct buf b = { 0 };
		uint64_t index = ledger_index(l) + 1;

		c.u.generation.generation = ledger_generation(l) + 1;
		memcpy(c.u.generation.slot, "kms0", 5);
		memset(c.u.generation.incarnation, 1, INCARNATION_ID_LEN);
		cr_assert_eq(command_write(&b, &c), ERR_OK);
		cr_assert_eq(ledger_apply(l, &o, index, buf_view(&b)), ERR_OK);
		cr_assert_eq(o.err, ERR_OK, "%s", err_text(o.err));
		buf_fini(&b);
	}
	auditpage_update(p, l);
}

static json_t *
page(uint64_t from)
{
	struct buf b = { 0 };
	json_t *v = NULL;

	cr_assert_eq(auditpage_render(p, &b, from), ERR_OK);
	cr_assert_eq(json_parse(&v, b.p, b.len, 1u << 20, NULL, 0), ERR_OK);
	buf_fini(&b);
	return v;
}

/* Reads every page from `from` on; the chain ends at the head. */
static uint64_t
walk(void)
{
	uint64_t from = 0, seen = 0, count, n;
	uint8_t head[32], want[32];

	do {
		json_t *v = page(from), *e;
		size_t i;

		cr_assert_eq(json_get_u64(&count, v, "count"), ERR_OK);
		cr_assert_eq(json_get_hex(want, 32, v, "head"), ERR_OK);
		if (from == 0) {
			cr_assert_eq(
			    json_get_hex(head, 32, v, "before"), ERR_OK);
			cr_assert_eq(json_get_u64(&from, v, "from"), ERR_OK);
		}
		json_array_foreach(json_object_get(v, "entries"), i, e)
		{
			struct buf cmd = { 0 }, text = { 0 };
			uint8_t word[12];
			struct wr w = { .p = word, .cap = sizeof word };
			uint64_t index;

			cr_assert_eq(json_get_u64(&n, e, "number"), ERR_OK);
			cr_assert_eq(n, from++);
			cr_assert_eq(json_get_u64(&index, e, "index"), ERR_OK);
			cr_assert_eq(
			    json_get_hex_buf(&cmd, 1024, e, "command"), ERR_OK);
			wr_be64(&w, index);
			wr_be32(&w, (uint32_t)cmd.len);
			cr_assert_eq(buf_append(&text, head, 32, 4096), ERR_OK);
			cr_assert_eq(buf_append(&text, word, 12, 4096), ERR_OK);
			cr_assert_eq(
			    buf_append(&text, cmd.p, cmd.len, 4096), ERR_OK);
			sha256(head, text.p, text.len);
			buf_fini(&cmd);
			buf_fini(&text);
			seen++;
		}
		cr_assert_leq(json_array_size(json_object_get(v, "entries")),
		    AUDITPAGE_ENTRIES);
		json_decref(v);
	} while (from <= count);
	cr_assert_arr_eq(head, want, 32);
	return seen;
}

Test(auditpage, all_of_it)
{
	json_t *v = page(0);

	cr_assert_eq(json_array_size(json_object_get(v, "entries")), 0);
	json_decref(v);
	apply(3);
	cr_assert_eq(walk(), 3);
	apply(600);
	cr_assert_eq(walk(), 603);
	v = page(604);
	cr_assert_eq(json_array_size(json_object_get(v, "entries")), 0);
	json_decref(v);
}

/* The oldest are let go; what is left chains from the head before it. */
Test(auditpage, the_oldest_go)
{
	apply(LEDGER_AUDIT_MAX + 10);
	cr_assert_eq(walk(), LEDGER_AUDIT_MAX);
	apply(1);
	cr_assert_eq(walk(), LEDGER_AUDIT_MAX);
}

/* A ledger that jumped ahead (a snapshot), and one that is another. */
Test(auditpage, another_ledger)
{
	struct ledger *other = l;

	apply(5);
	cr_assert_eq(ledger_new(&l), ERR_OK);
	apply(2);
	cr_assert_eq(walk(), 2);
	ledger_free(other);
}

static unsigned
status_of(const char *from)
{
	struct httpd_reply rp = { .status = 200 };

	auditpage_reply(p, from, &rp);
	buf_fini(&rp.body);
	return rp.status;
}

Test(auditpage, from)
{
	apply(2);
	cr_assert_eq(status_of(NULL), 200);
	cr_assert_eq(status_of("2"), 200);
	cr_assert_eq(status_of("18446744073709551616"), 400);
	cr_assert_eq(status_of("-1"), 400);
	cr_assert_eq(status_of("x"), 400);
}
