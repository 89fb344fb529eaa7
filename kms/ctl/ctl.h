/* ctl: what every command of kmsctl shares: its entry in the table, exit
 * codes, and the two forms of an answer.
 *
 * A command builds one JSON value.  With --json that is what is printed;
 * without, show.h makes text of the same value, so the two never differ. */
#ifndef KMS_CTL_CTL_H
#define KMS_CTL_CTL_H

#include <stdio.h>

#include "common/base/json.h"
#include "common/base/reason.h"
#include "kms/ctl/args.h"

/* Documented in README.md; scripts rely on them. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1, /* refused, or a check did not hold */
	CTL_USAGE = 2, /* the command line, or a file that it names */
	CTL_UNREACHABLE = 3, /* nobody answers there */
};

struct ctl {
	bool json;
	FILE *out; /* borrows: the answer */
	FILE *log; /* borrows: progress and errors */
};

struct ctl_command {
	const char *name; /* "app allow" */
	const char *operands; /* "APP HASH" */
	const char *summary; /* one line */
	const struct args_option *option; /* or NULL */
	unsigned min_pos, max_pos;
	enum ctl_exit (*run)(struct ctl *c, const struct args *a);
};

/* The tables, one per file of commands; an entry without name ends each. */
extern const struct ctl_command cmd_anchor[];
extern const struct ctl_command cmd_checkin[];
extern const struct ctl_command cmd_app[];
extern const struct ctl_command cmd_attack[];
extern const struct ctl_command cmd_audit[];
extern const struct ctl_command cmd_code[];
extern const struct ctl_command cmd_collateral[];
extern const struct ctl_command cmd_compose[];
extern const struct ctl_command cmd_council[];
extern const struct ctl_command cmd_counter[];
extern const struct ctl_command cmd_env[];
extern const struct ctl_command cmd_genesis[];
extern const struct ctl_command cmd_key[];
extern const struct ctl_command cmd_kms[];
extern const struct ctl_command cmd_node[];
extern const struct ctl_command cmd_nodes[];
extern const struct ctl_command cmd_plan[];
extern const struct ctl_command cmd_quote[];
extern const struct ctl_command cmd_rotate[];
extern const struct ctl_command cmd_sim[];
extern const struct ctl_command cmd_simagent[];
extern const struct ctl_command cmd_simapp[];
extern const struct ctl_command cmd_simquote[];
extern const struct ctl_command cmd_simtime[];
extern const struct ctl_command cmd_status[];
extern const struct ctl_command cmd_tls[];
extern const struct ctl_command cmd_verify[];
extern const struct ctl_command cmd_wire[];

/* ctl_main runs argv and returns the exit code. */
enum ctl_exit ctl_main(FILE *out, FILE *log, int argc, char *const argv[]);

/* ctl_result prints `v`, which it takes even on failure, and returns `rc`. */
enum ctl_exit ctl_result(const struct ctl *c, json_t *v, enum ctl_exit rc);

/* ctl_fail prints "kmsctl: ..." (and {"error":...} with --json); returns
 * `rc`, so that a check reads `return ctl_fail(c, CTL_FAILED, ...)`. */
enum ctl_exit ctl_fail(const struct ctl *c, enum ctl_exit rc, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* ctl_denied is ctl_fail with a refusal: reachability gives 3, else 1. */
enum ctl_exit ctl_denied(const struct ctl *c, const char *what, enum err e,
    const struct refusal *why);

/* ctl_note prints progress, one line. */
void ctl_note(const struct ctl *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A wait with a deadline that says what it waits for (unless that is "")
 * once a second has passed:
 *   for (struct ctl_wait w = ctl_wait(c, "the chain", 10000); ...;)
 *           if (!ctl_wait_more(&w)) return timed out;  */
struct ctl_wait {
	const struct ctl *c;
	const char *what;
	uint64_t start_ms, deadline_ms, told_ms;
	unsigned pause_ms;
};
struct ctl_wait ctl_wait(
    const struct ctl *c, const char *what, uint64_t limit_ms);
/* ctl_wait_more pauses a little; false when the time is up. */
bool ctl_wait_more(struct ctl_wait *w);

#endif
