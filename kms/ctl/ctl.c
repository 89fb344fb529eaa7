#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/show.h"

#define WORDS_MAX 3 /* of a command's name */
#define TELL_AFTER_MS 1000
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 200

static const struct ctl_command *const tables[] = {
	cmd_status,
	cmd_nodes,
	cmd_node,
	cmd_key,
	cmd_counter,
	cmd_env,
	cmd_verify,
	cmd_quote,
	cmd_tls,
	cmd_collateral,
	cmd_wire,
	cmd_app,
	cmd_plan,
	cmd_kms,
	cmd_code,
	cmd_anchor,
	cmd_checkin,
	cmd_council,
	cmd_rotate,
	cmd_audit,
	cmd_genesis,
	cmd_compose,
	cmd_sim,
	cmd_simagent,
	cmd_simapp,
	cmd_simquote,
	cmd_simtime,
	cmd_attack,
};

/* ---- answers ---- */

enum ctl_exit
ctl_result(const struct ctl *c, json_t *v, enum ctl_exit rc)
{
	struct buf b = { 0 };

	if (v == NULL)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	if (!c->json)
		show_value(c->out, v);
	else if (json_write_pretty(&b, v) == ERR_OK)
		(void)fprintf(c->out, "%s\n", (char *)b.p);
	buf_wipe(&b); /* `kmsctl key` prints a secret */
	json_decref(v);
	return rc;
}

enum ctl_exit
ctl_fail(const struct ctl *c, enum ctl_exit rc, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)fprintf(c->log, "kmsctl: %s\n", text);
	if (c->json)
		return ctl_result(c, json_pack("{s:s}", "error", text), rc);
	return rc;
}

enum ctl_exit
ctl_denied(const struct ctl *c, const char *what, enum err e,
    const struct refusal *why)
{
	if (e != ERR_DENIED)
		return ctl_fail(c,
		    e == ERR_IO || e == ERR_TIMEOUT ? CTL_UNREACHABLE
						    : CTL_FAILED,
		    "%s: %s", what, err_text(e));
	return ctl_fail(c,
	    why->code == REASON_CHAIN_UNREACHABLE ? CTL_UNREACHABLE
						  : CTL_FAILED,
	    "%s: %s%s%s", what, reason_text(why->code),
	    why->detail[0] != '\0' ? ": " : "", why->detail);
}

void
ctl_note(const struct ctl *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("  ", c->log);
	(void)vfprintf(c->log, fmt, ap);
	(void)fputc('\n', c->log);
	va_end(ap);
}

/* ---- waiting ---- */

struct ctl_wait
ctl_wait(const struct ctl *c, const char *what, uint64_t limit_ms)
{
	uint64_t now = clock_mono_ms();

	return (struct ctl_wait){ .c = c,
		.what = what,
		.start_ms = now,
		.deadline_ms = now + limit_ms,
		.told_ms = now,
		.pause_ms = PAUSE_MIN_MS };
}

bool
ctl_wait_more(struct ctl_wait *w)
{
	uint64_t now = clock_mono_ms();
	struct timespec ts = { .tv_nsec = (long)w->pause_ms * 1000000 };

	if (now >= w->deadline_ms)
		return false;
	if (w->what[0] != '\0' && now - w->told_ms >= TELL_AFTER_MS) {
		/* Once a second at first, then rarer: 1, 2, 4, 8 ... */
		if (w->told_ms == w->start_ms ||
		    now - w->told_ms >= (w->told_ms - w->start_ms)) {
			ctl_note(w->c, "waiting for %s (%llu s)", w->what,
			    (unsigned long long)(now - w->start_ms) / 1000);
			w->told_ms = now;
		}
	}
	(void)nanosleep(&ts, NULL);
	if (w->pause_ms < PAUSE_MAX_MS)
		w->pause_ms *= 2;
	return true;
}

/* ---- the command line ---- */

static unsigned
count_words(const char *name)
{
	unsigned n = 1;

	for (; *name != '\0'; name++)
		n += *name == ' ';
	return n;
}

/* name_matches: the words of `name` are argv[0..n). */
static bool
name_matches(const char *name, unsigned n, char *const argv[])
{
	for (unsigned i = 0; i < n; i++) {
		size_t len = strcspn(name, " ");

		if (strlen(argv[i]) != len || strncmp(name, argv[i], len) != 0)
			return false;
		name += len + (name[len] == ' ');
	}
	return true;
}

static const struct ctl_command *
find(unsigned argc, char *const argv[], unsigned *used)
{
	for (unsigned n = argc < WORDS_MAX ? argc : WORDS_MAX; n > 0; n--)
		for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
			for (const struct ctl_command *m = tables[t];
			     m->name != NULL; m++)
				if (count_words(m->name) == n &&
				    name_matches(m->name, n, argv)) {
					*used = n;
					return m;
				}
	return NULL;
}

static void
help_one(FILE *f, const struct ctl_command *m)
{
	(void)fprintf(f, "usage: kmsctl %s %s%s\n  %s\n", m->name, m->operands,
	    m->option != NULL ? " [options]" : "", m->summary);
	for (const struct args_option *o = m->option;
	     o != NULL && o->name != NULL; o++) {
		char left[64];

		(void)snprintf(left, sizeof left, "%s%s %s",
		    o->name[1] == '\0' ? "-" : "--", o->name,
		    o->value != NULL ? o->value : "");
		(void)fprintf(f, "  %-22s %s\n", left, o->help);
	}
	(void)fprintf(f, "  %-22s %s\n", "--json", "the answer as JSON");
}

/* help_list prints the commands whose name begins with the words given. */
static unsigned
help_list(FILE *f, unsigned argc, char *const argv[])
{
	unsigned shown = 0;

	for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
		for (const struct ctl_command *m = tables[t]; m->name != NULL;
		     m++) {
			char left[80];

			if (count_words(m->name) < argc ||
			    !name_matches(m->name, argc, argv))
				continue;
			(void)snprintf(
			    left, sizeof left, "%s %s", m->name, m->operands);
			(void)fprintf(f, "  %-34s %s\n", left, m->summary);
			shown++;
		}
	return shown;
}

static enum ctl_exit
help(FILE *f, FILE *log, unsigned argc, char *const argv[])
{
	unsigned used = 0;
	const struct ctl_command *m = find(argc, argv, &used);

	if (m != NULL && used == argc) {
		help_one(f, m);
		return CTL_OK;
	}
	if (argc == 0)
		(void)fprintf(f, "usage: kmsctl COMMAND ... [--json]\n");
	if (argc > WORDS_MAX || help_list(f, argc, argv) == 0) {
		(void)fprintf(
		    log, "kmsctl: no such command; see `kmsctl help`\n");
		return CTL_USAGE;
	}
	(void)fprintf(f,
	    "\n`kmsctl help COMMAND` shows its options.  Exit: "
	    "0 ok, 1 refused or failed,\n2 usage, 3 cannot reach.\n");
	return CTL_OK;
}

/* take_flag removes every `word` before a "--" from argv. */
static bool
take_flag(const char *word, int *argc, char *argv[])
{
	bool found = false;
	int n = 0;

	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < *argc)
				argv[n++] = argv[i++];
			break;
		}
		if (strcmp(argv[i], word) == 0)
			found = true;
		else
			argv[n++] = argv[i];
	}
	*argc = n;
	return found;
}

#define ARGC_MAX 64

enum ctl_exit
ctl_main(FILE *out, FILE *log, int argc_in, char *const argv_in[])
{
	struct ctl c = { .out = out, .log = log };
	char why[ARGS_WHY_MAX], *argv[ARGC_MAX];
	const struct ctl_command *m;
	int argc = argc_in - 1;
	unsigned used = 0;
	struct args a;

	if (argc < 0 || argc > ARGC_MAX)
		return ctl_fail(&c, CTL_USAGE, "too many arguments");
	for (int i = 0; i < argc; i++)
		argv[i] = argv_in[i + 1];
	c.json = take_flag("--json", &argc, argv);
	if (take_flag("--help", &argc, argv))
		return help(out, log, (unsigned)argc, argv);
	if (argc == 0) {
		(void)help(log, log, 0, argv);
		return CTL_USAGE;
	}
	if (strcmp(argv[0], "help") == 0)
		return help(out, log, (unsigned)argc - 1, argv + 1);
	if ((m = find((unsigned)argc, argv, &used)) == NULL) {
		enum ctl_exit rc = ctl_fail(&c, CTL_USAGE,
		    "%.100s: no such command; see `kmsctl help`", argv[0]);

		(void)help_list(log, 1, argv);
		return rc;
	}
	if (args_parse(&a, m->option, m->min_pos, m->max_pos, argc - (int)used,
		argv + used, why) != ERR_OK)
		return ctl_fail(&c, CTL_USAGE,
		    "%s\nusage: kmsctl %s %s   (`kmsctl help %s`)", why,
		    m->name, m->operands, m->name);
	return m->run(&c, &a);
}
