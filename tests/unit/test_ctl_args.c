#include <criterion/criterion.h>

#include <string.h>

#include "kms/ctl/args.h"
#include "kms/ctl/ctl.h"

static const struct args_option table[] = {
	{ "rpc", "URL", "" },
	{ "force", NULL, "" },
	{ "rpc-max", "N", "" },
	{ NULL, NULL, NULL },
};

#define PARSE(a, min, max, ...) \
	args_parse(a, table, min, max, \
	    (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)), \
	    (char *[]){ __VA_ARGS__ }, why)

/* Options and operands may mix; both forms of a value work. */
Test(ctl_args, accepts)
{
	char why[ARGS_WHY_MAX];
	struct args a;

	cr_assert_eq(
	    PARSE(&a, 1, 2, "x", "--rpc", "u", "--force", "y"), ERR_OK);
	cr_assert_eq(a.n_pos, 2);
	cr_assert_str_eq(a.pos[0], "x");
	cr_assert_str_eq(a.pos[1], "y");
	cr_assert_str_eq(args_get(&a, "rpc"), "u");
	cr_assert(args_has(&a, "force"));
	cr_assert_not(args_has(&a, "rpc-max"));
	cr_assert_null(args_get(&a, "no-such"));

	cr_assert_eq(PARSE(&a, 0, 1, "--rpc=u=v", "--rpc-max="), ERR_OK);
	cr_assert_str_eq(args_get(&a, "rpc"), "u=v");
	cr_assert_str_eq(args_get(&a, "rpc-max"), "");

	/* A value may look like an option; behind "--" all are operands. */
	cr_assert_eq(
	    PARSE(&a, 0, 2, "--rpc", "--force", "--", "--rpc"), ERR_OK);
	cr_assert_str_eq(args_get(&a, "rpc"), "--force");
	cr_assert_not(args_has(&a, "force"));
	cr_assert_str_eq(a.pos[0], "--rpc");

	/* "-" is an operand. */
	cr_assert_eq(PARSE(&a, 1, 1, "-"), ERR_OK);
}

/* Whatever is not understood is refused, with the word in the reason, and
 * the outcome is untouched. */
Test(ctl_args, refuses)
{
	char why[ARGS_WHY_MAX];
	struct args a = { .n_pos = 77 };

	cr_assert_eq(PARSE(&a, 0, 4, "--rp", "u"), ERR_MALFORMED);
	cr_assert_not_null(strstr(why, "--rp"));
	cr_assert_eq(PARSE(&a, 0, 4, "--rpcx", "u"), ERR_MALFORMED);
	cr_assert_eq(PARSE(&a, 0, 4, "-f"), ERR_MALFORMED);
	cr_assert_eq(PARSE(&a, 0, 4, "--rpc"), ERR_MALFORMED);
	cr_assert_eq(PARSE(&a, 0, 4, "--force=yes"), ERR_MALFORMED);
	cr_assert_eq(
	    PARSE(&a, 0, 4, "--rpc", "u", "--rpc", "v"), ERR_MALFORMED);
	cr_assert_eq(PARSE(&a, 0, 4, "--force", "--force"), ERR_MALFORMED);
	cr_assert_eq(PARSE(&a, 0, 1, "x", "y"), ERR_MALFORMED);
	cr_assert_not_null(strstr(why, "y"));
	/* ARGS_POS_MAX bounds them, whatever a command would take. */
	cr_assert_eq(PARSE(&a, 0, 99, "1", "2", "3", "4", "5", "6", "7", "8",
			 "9", "10", "11", "12", "13", "14", "15", "16", "17"),
	    ERR_MALFORMED);
	cr_assert_eq(PARSE(&a, 2, 2, "x"), ERR_MALFORMED);
	cr_assert_not_null(strstr(why, "1 argument is missing"));
	cr_assert_eq(a.n_pos, 77);
}

/* Numbers are decimal digits within the bound, and nothing else. */
Test(ctl_args, numbers)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x1",
		"1e3", "18446744073709551616", "99999999999999999999" };
	uint64_t v = 5;

	cr_assert_eq(args_u64(&v, "0", 10), ERR_OK);
	cr_assert_eq(v, 0);
	cr_assert_eq(args_u64(&v, "10", 10), ERR_OK);
	cr_assert_eq(v, 10);
	cr_assert_eq(args_u64(&v, "11", 10), ERR_MALFORMED);
	cr_assert_eq(args_u64(&v, "18446744073709551615", UINT64_MAX), ERR_OK);
	cr_assert_eq(v, UINT64_MAX);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_eq(args_u64(&v, bad[i], UINT64_MAX), ERR_MALFORMED,
		    "%s", bad[i]);
	cr_assert_eq(v, UINT64_MAX);
	cr_assert_eq(args_u64(&v, "7", 3), ERR_MALFORMED);
}

/* ---- kmsctl as a whole, without anything to talk to ---- */

struct said {
	char *out, *log;
	size_t out_len, log_len;
	int rc;
};

static struct said
run(int argc, char *argv[])
{
	struct said s = { 0 };
	FILE *out = open_memstream(&s.out, &s.out_len);
	FILE *log = open_memstream(&s.log, &s.log_len);

	s.rc = (int)ctl_main(out, log, argc, argv);
	(void)fclose(out);
	(void)fclose(log);
	return s;
}

static void
said_fini(struct said *s)
{
	free(s->out);
	free(s->log);
}

#define RUN(...) \
	run((int)(sizeof((char *[]){ "kmsctl", __VA_ARGS__ }) / \
		sizeof(char *)), \
	    (char *[]){ "kmsctl", __VA_ARGS__ })

/* A command line that makes no sense is exit 2 with words on stderr, and
 * nothing but an error object on stdout. */
Test(ctl_main, usage)
{
	struct said s[] = { RUN("nonsense"), RUN("sim"), RUN("sim", "nonsense"),
		RUN("sim", "up"), RUN("status"), RUN("status", "/dev/null"),
		RUN("status", "ftp://x"), RUN("compose-hash"),
		RUN("compose-hash", "/nonexistent"), RUN("key"),
		RUN("verify", "key"), RUN("verify", "key", "--app", "0x12"),
		RUN("app", "allow", "0x12", "compose"), RUN("kms", "info"),
		RUN("kms", "allow-mr", "0x12"), RUN("genesis", "publish"),
		RUN("sim", "up", "/nonexistent"),
		RUN("sim", "init", "/tmp/x", "--nodes", "0"),
		RUN("help", "nonsense") };

	for (size_t i = 0; i < sizeof s / sizeof *s; i++) {
		cr_expect_eq(s[i].rc, CTL_USAGE, "case %zu: %d %s", i, s[i].rc,
		    s[i].log);
		cr_expect_gt(s[i].log_len, 0, "case %zu", i);
		cr_expect_eq(s[i].out_len, 0, "case %zu", i);
		said_fini(&s[i]);
	}
}

Test(ctl_main, errors_as_json)
{
	struct said s = RUN("status", "nowhere", "--json");
	json_t *v = NULL;
	const char *text;

	cr_assert_eq(s.rc, CTL_USAGE);
	cr_assert_eq(
	    json_parse(&v, s.out, s.out_len, 1 << 16, NULL, 0), ERR_OK);
	cr_assert_eq(json_get_str(&text, v, "error"), ERR_OK);
	cr_assert_not_null(strstr(text, "nowhere"));
	json_decref(v);
	said_fini(&s);
}

/* Nobody there is exit 3, not 1: a script may try again. */
Test(ctl_main, unreachable)
{
	struct said s[] = { RUN("status", "http://127.0.0.1:1"),
		RUN("key", "--socket", "/nonexistent"),
		RUN("kms", "info", "--rpc", "http://127.0.0.1:1", "--kms",
		    "0x0000000000000000000000000000000000000001") };

	for (size_t i = 0; i < sizeof s / sizeof *s; i++) {
		cr_expect_eq(
		    s[i].rc, CTL_UNREACHABLE, "case %zu: %s", i, s[i].log);
		said_fini(&s[i]);
	}
}

/* Help is asked for: exit 0, on stdout. */
Test(ctl_main, help)
{
	struct said s[] = { RUN("help"), RUN("--help"), RUN("help", "sim"),
		RUN("help", "sim", "init"), RUN("sim", "init", "--help") };

	for (size_t i = 0; i < sizeof s / sizeof *s; i++) {
		cr_expect_eq(s[i].rc, CTL_OK, "case %zu", i);
		cr_expect_not_null(strstr(s[i].out, "sim init"), "case %zu", i);
		said_fini(&s[i]);
	}
}
