/* The council's calls and answers: `cast` made the constants. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/keccak.h"
#include "kms/ctl/councilabi.h"
#include "tests/lib/facts.h"

/* clang-format off */
static const char state_hex[] =
	"0000000000000000000000000000000000000000000000000000000000000020"
	"0000000000000000000000000000000000000000000000000000000000000100"
	"0000000000000000000000000000000000000000000000000000000000000002"
	"0000000000000000000000000000000000000000000000000000000000000002"
	"0000000000000000000000000000000000000000000000000000000000000004"
	"0000000000000000000000002222222222222222222222222222222222222222"
	"000000000000000000000000000000000000000000000000000000000000003c"
	"0000000000000000000000000000000000000000000000000000000000000e10"
	"0000000000000000000000000000000000000000000000000000000000000009"
	"0000000000000000000000000000000000000000000000000000000000000003"
	"0000000000000000000000001111111111111111111111111111111111111111"
	"0000000000000000000000002222222222222222222222222222222222222222"
	"0000000000000000000000003333333333333333333333333333333333333333";
static const char checklist_hex[] =
	"0000000000000000000000000000000000000000000000000000000000000020"
	"1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d"
	"0000000000000000000000000000000000000000000000000000000000000001"
	"0000000000000000000000000000000000000000000000000000000000000004"
	"0000000000000000000000000000000000000000000000000000000000000002"
	"0000000000000000000000000000000000000000000000000000000000000001"
	"0000000000000000000000000000000000000000000000000000000000000200"
	"0000000000000000000000000000000000000000000000000000000000000240"
	"0000000000000000000000000000000000000000000000000000000000000002"
	"00000000000000000000000000000000000000000000000000000000000002a0"
	"0000000000000000000000000000000000000000000000000000000000000064"
	"00000000000000000000000000000000000000000000000000000000000000c8"
	"0000000000000000000000000000000000000000000000000000000000000000"
	"0000000000000000000000000000000000000000000000000000000000000000"
	"0000000000000000000000000000000000000000000000000000000000000000"
	"0000000000000000000000000000000000000000000000000000000000000000"
	"00000000000000000000000000000000000000000000000000000000000002e0"
	"0000000000000000000000000000000000000000000000000000000000000001"
	"0000000000000000000000001111111111111111111111111111111111111111"
	"0000000000000000000000000000000000000000000000000000000000000002"
	"0000000000000000000000002222222222222222222222222222222222222222"
	"0000000000000000000000003333333333333333333333333333333333333333"
	"0000000000000000000000000000000000000000000000000000000000000001"
	"0000000000000000000000003333333333333333333333333333333333333333"
	"0000000000000000000000000000000000000000000000000000000000000002"
	"0000000000000000000000000000000000000000000000000000000000000040"
	"00000000000000000000000000000000000000000000000000000000000000e0"
	"0000000000000000000000001111111111111111111111111111111111111111"
	"0000000000000000000000000000000000000000000000000000000000000040"
	"0000000000000000000000000000000000000000000000000000000000000024"
	"fc7e474600000000000000000000000000000000000000000000000000000000"
	"0000000200000000000000000000000000000000000000000000000000000000"
	"0000000000000000000000002222222222222222222222222222222222222222"
	"0000000000000000000000000000000000000000000000000000000000000040"
	"0000000000000000000000000000000000000000000000000000000000000004"
	"f8178c5900000000000000000000000000000000000000000000000000000000";
/* clang-format on */

static struct council_call calls[2] = {
	{ .target = { 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
	      0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
	      0x11 } },
	{ .target = { 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
	      0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
	      0x22 } },
};
static uint8_t activate[36] = { 0xfc, 0x7e, 0x47, 0x46, [35] = 2 },
	       withdraw[4] = { 0xf8, 0x17, 0x8c, 0x59 };
static uint8_t salt[32];

static void
setup(void)
{
	calls[0].data = BYTES_OF(activate);
	calls[1].data = BYTES_OF(withdraw);
	memset(salt, 0x5a, sizeof salt);
}

TestSuite(ctl_council, .init = setup);

static void
is(enum err e, struct buf *b, const char *want_keccak)
{
	uint8_t hash[32], want[32];

	cr_assert_eq(e, ERR_OK);
	facts_hex(want, 32, want_keccak);
	keccak256(hash, b->p, b->len);
	cr_assert_arr_eq(hash, want, 32, "%s", want_keccak);
	buf_fini(b);
}

Test(ctl_council, calls)
{
	struct council_names three = { .n = 3 };
	struct buf b = { 0 };

	is(councilabi_propose(&b, calls, 2, salt), &b,
	    "41ea1e3f8e8f7d5a2e9b2e968fff8a1858aed9bc46a6e61a62a86740cd6d09f9");
	is(councilabi_call_proposal_id(&b, calls, 2, salt), &b,
	    "5c9151c7d34a9e223ba3396dfb1da309d779d1f3cc57fa359582e874eae409a7");
	memset(three.a[0], 0x11, 20);
	memset(three.a[1], 0x22, 20);
	memset(three.a[2], 0x33, 20);
	is(councilabi_set_members(&b, &three, 2), &b,
	    "a106763da72b91b6e592100348c75b248bf1ceda71b138859197d461f1665ede");
	cr_assert_eq(councilabi_propose(&b, calls, 0, salt), ERR_LIMIT);
	cr_assert_eq(councilabi_propose(&b, calls, 17, salt), ERR_LIMIT);
}

Test(ctl_council, state)
{
	struct council_state s = { .k = 7 };
	struct buf b = { 0 };

	facts_hex_buf(&b, state_hex);
	cr_assert_eq(councilabi_state(&s, buf_view(&b)), ERR_OK);
	cr_assert_eq(s.members.n, 3);
	cr_assert_eq(s.members.a[2][0], 0x33);
	cr_assert_eq(s.k, 2);
	cr_assert_eq(s.vetoes_needed, 2);
	cr_assert_eq(s.generation, 4);
	cr_assert_eq(s.guardian[19], 0x22);
	cr_assert_eq(s.notice_s, 60);
	cr_assert_eq(s.life_s, 3600);
	cr_assert_eq(s.proposals, 9);
	buf_fini(&b);
}

Test(ctl_council, checklist)
{
	struct council_checklist c;
	struct buf b = { 0 };

	facts_hex_buf(&b, checklist_hex);
	cr_assert_eq(councilabi_checklist(&c, buf_view(&b)), ERR_OK);
	cr_assert_eq(c.id[31], 0x1d);
	cr_assert_eq(c.stage, COUNCIL_VOTING);
	cr_assert_eq(c.missing, 1);
	cr_assert_eq(c.voted.n, 1);
	cr_assert_eq(c.not_voted.n, 2);
	cr_assert(council_names_has(&c.vetoed,
	    (uint8_t[20]){ 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33,
		0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33,
		0x33 }));
	cr_assert_eq(c.votes_until, 200);
	cr_assert_eq(c.n_calls, 2);
	for (size_t i = 0; i < 2; i++) {
		cr_assert_arr_eq(c.call[i].target, calls[i].target, 20);
		cr_assert_eq(c.call[i].data.len, calls[i].data.len);
		cr_assert_arr_eq(
		    c.call[i].data.p, calls[i].data.p, calls[i].data.len);
	}
	buf_fini(&b);
}

/* Every length but the right one, and every bit outside of the values, is
 * malformed. */
Test(ctl_council, one_encoding)
{
	static const char *const answer[] = { state_hex, checklist_hex };

	for (size_t k = 0; k < 2; k++) {
		struct council_state s;
		struct council_checklist c;
		struct buf b = { 0 };

		facts_hex_buf(&b, answer[k]);
		for (size_t n = 0; n < b.len; n++) {
			struct bytes in = { b.p, n };

			cr_assert_eq(k == 0 ? councilabi_state(&s, in)
					    : councilabi_checklist(&c, in),
			    ERR_MALFORMED, "%zu", n);
		}
		/* the first byte of every word but the id and the data */
		for (size_t n = 0; n < b.len; n += 32) {
			struct bytes in = buf_view(&b);

			if (k == 1 &&
			    (n == 32 || (n >= b.len - 192 && n < b.len - 128) ||
				n == b.len - 32))
				continue;
			b.p[n] ^= 1;
			cr_assert_eq(k == 0 ? councilabi_state(&s, in)
					    : councilabi_checklist(&c, in),
			    ERR_MALFORMED, "word %zu", n / 32);
			b.p[n] ^= 1;
		}
		/* an offset too many, or a gap */
		for (size_t n = 31; n < b.len; n += 32) {
			bool bad;

			if (b.p[n] == 0 || b.p[n] % 32 != 0)
				continue;
			b.p[n] = (uint8_t)(b.p[n] + 32);
			bad = (k == 0 ? councilabi_state(&s, buf_view(&b))
				      : councilabi_checklist(
					    &c, buf_view(&b))) != ERR_OK;
			b.p[n] = (uint8_t)(b.p[n] - 32);
			if (n / 32 == 0 || b.p[n - 1] != 0)
				cr_assert(bad, "word %zu", n / 32);
		}
		buf_fini(&b);
	}
}
