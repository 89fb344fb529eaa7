/* bench: how far from the limits of this machine, README.md.
 *
 * usage: bench DIR                   the folder of a simulated cluster with an
 *                                    app "bench": sessions and releases
 *        bench releases DIR          warm releases alone, a round for each
 *                                    line on standard input
 *        bench counters DIR          compare-and-increment
 *        bench failover DIR KMSCTL [KILLS REPLACED]   the leader dies, nodes
 *                                    are replaced; 12 and 6 times
 *        bench etcd URL              compare-and-increment at an etcd
 *        bench raft DIR              three engines with disks in DIR
 *        bench disk DIR NAME         the disk of DIR, as line NAME
 *        bench socket SOCKET         calls at an agent's socket
 *        bench gate DIR              decisions of the gate in mode proof
 *        bench quote QUOTE COLLATERAL ROOT NOW   one quote: quote.sh
 * JSON lines on standard output; the first one has a table for people on
 * standard error, as "socket" does, cluster.sh one of the next five. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "tests/bench/bench_counter.h"
#include "tests/bench/bench_dcap.h"
#include "tests/bench/bench_etcd.h"
#include "tests/bench/bench_file.h"
#include "tests/bench/bench_gate.h"
#include "tests/bench/bench_kms.h"
#include "tests/bench/bench_line.h"
#include "tests/bench/bench_load.h"
#include "tests/bench/bench_prim.h"
#include "tests/bench/bench_raft.h"
#include "tests/bench/bench_socket.h"

#define SESSION_THREADS 2
#define RELEASE_THREADS 4
#define KILLS 12
#define REPLACED 6

struct rates {
	struct bench_rate sessions_one, sessions, releases_one, releases;
	unsigned qe_checks; /* while sessions were measured */
	size_t request_len, reply_len;
};

static enum err
measure(struct rates *r, struct bench_kms *b, struct refusal *why)
{
	unsigned checked;
	enum err e;

	e = bench_kms_sessions(&r->sessions_one, b, 1, why);
	checked = bench_kms_qe_checks(b);
	if (e == ERR_OK)
		e = bench_kms_sessions(&r->sessions, b, SESSION_THREADS, why);
	r->qe_checks = bench_kms_qe_checks(b) - checked;
	if (e == ERR_OK)
		e = bench_kms_releases(&r->releases_one, b, 1, why);
	if (e == ERR_OK)
		e = bench_kms_releases(&r->releases, b, RELEASE_THREADS, why);
	bench_kms_lengths(b, &r->request_len, &r->reply_len);
	return e;
}

/* The floors, in the same process and right after what they bound. */
static int
report(FILE *json, const struct rates *r, long cores)
{
	struct bench_prim p;
	double session, release;

	if (bench_prim_measure(&p, r->request_len, r->reply_len) != 0)
		return -1;
	session = bench_prim_session_us(&p);
	release = bench_prim_release_us(&p);
	/* One after the other: two ends take turns, on one core's worth. */
	bench_line_rate(json, "attested_sessions_per_second_sequential",
	    r->sessions_one.per_second, 1e6 / session);
	bench_line_rate(json, "attested_sessions_per_second",
	    r->sessions.per_second, (double)cores * 1e6 / session);
	bench_line_rate(json, "warm_releases_per_second_sequential",
	    r->releases_one.per_second, 1e6 / release);
	bench_line_rate(json, "warm_releases_per_second",
	    r->releases.per_second, (double)cores * 1e6 / release);
	bench_line_time(json, "session_cpu", r->sessions.cpu_us, session);
	bench_line_time(json, "warm_release_cpu", r->releases.cpu_us, release);
	(void)fprintf(stderr,
	    "%ld cores.  us each: x25519 %.1f, base %.1f; P-256 sign %.1f, "
	    "verify %.1f, base %.1f;\nsecp256k1 key %.1f, sign %.1f; "
	    "HKDF %.1f; AEAD %zu bytes %.1f, %zu bytes %.1f\n"
	    "session %.1f us, release %.1f us of primitives; "
	    "%u QE reports checked again\n",
	    cores, p.x25519, p.x25519_base, p.p256_sign, p.p256_verify,
	    p.p256_base, p.k256_pubkey, p.k256_sign, p.hkdf, r->request_len,
	    p.aead_request, r->reply_len, p.aead_reply, session, release,
	    r->qe_checks);
	return 0;
}

static int
tell(enum err e, const struct refusal *why)
{
	if (e == ERR_OK && fflush(stdout) == 0)
		return EXIT_SUCCESS;
	(void)fprintf(stderr, "bench: %s: %s %s\n", err_text(e),
	    reason_text(why->code), why->detail);
	return EXIT_FAILURE;
}

/* Its lines on standard output, and as a table. */
static enum err
with_table(enum err (*run)(FILE *json, const char *arg), const char *arg)
{
	char *lines = NULL;
	size_t len;
	FILE *json = open_memstream(&lines, &len);
	enum err e = json != NULL ? run(json, arg) : ERR_NOMEM;

	if (json != NULL && fclose(json) != 0)
		e = ERR_IO;
	if (e == ERR_OK) {
		(void)fputs(lines, stdout);
		bench_table(stderr, lines);
	}
	free(lines);
	return e;
}

static bool
line_came(void *cookie)
{
	char line[16];

	return fgets(line, sizeof line, cookie) != NULL;
}

static void
tell_rate(void *cookie, const struct bench_rate *r)
{
	(void)cookie;
	(void)printf("{\"per_second\":%.0f,\"cpu_us\":%.0f}\n", r->per_second,
	    r->cpu_us);
	(void)fflush(stdout);
}

/* A round for each line on standard input, so that a script may do something
 * to the cluster meanwhile (flood.sh).  */
static enum err
releases_alone(const char *dir, struct refusal *why)
{
	const struct bench_rounds rounds = { line_came, tell_rate, stdin };
	struct bench_kms *b = NULL;
	enum err e = bench_kms_boot(&b, dir, why);

	if (e == ERR_OK)
		e = bench_kms_release_rounds(b, RELEASE_THREADS, &rounds, why);
	bench_kms_free(b);
	return e;
}

/* Everything but the sessions and releases of one node. */
static int
other_bench(int argc, char **argv)
{
	struct refusal why = { .code = REASON_NONE };

	if (argc == 6 && strcmp(argv[1], "quote") == 0)
		return bench_file(stdout, argv[2], argv[3], argv[4], argv[5]) ==
			0
		    ? EXIT_SUCCESS
		    : EXIT_FAILURE;
	if (argc == 3 && strcmp(argv[1], "releases") == 0)
		return tell(releases_alone(argv[2], &why), &why);
	if (argc == 3 && strcmp(argv[1], "counters") == 0)
		return tell(bench_counter(stdout, argv[2], &why), &why);
	if ((argc == 4 || argc == 6) && strcmp(argv[1], "failover") == 0)
		return tell(bench_failover(stdout, argv[2], argv[3],
				argc == 6 ? (unsigned)strtoul(argv[4], NULL, 10)
					  : KILLS,
				argc == 6 ? (unsigned)strtoul(argv[5], NULL, 10)
					  : REPLACED,
				&why),
		    &why);
	if (argc == 3 && strcmp(argv[1], "socket") == 0)
		return tell(with_table(bench_socket, argv[2]), &why);
	if (argc == 3 && strcmp(argv[1], "etcd") == 0)
		return tell(bench_etcd(stdout, argv[2]), &why);
	if (argc == 3 && strcmp(argv[1], "gate") == 0)
		return tell(bench_gate(stdout, argv[2], &why), &why);
	if (argc == 3 && strcmp(argv[1], "raft") == 0)
		return tell(bench_raft(stdout, argv[2]), &why);
	if (argc == 4 && strcmp(argv[1], "disk") == 0)
		return tell(bench_load_disk(stdout, argv[3], argv[2]), &why);
	(void)fprintf(stderr,
	    "usage: bench DIR\n"
	    "       bench releases DIR\n"
	    "       bench counters DIR\n"
	    "       bench failover DIR KMSCTL [KILLS REPLACED]\n"
	    "       bench etcd URL\n"
	    "       bench raft DIR\n"
	    "       bench disk DIR NAME\n"
	    "       bench socket SOCKET\n"
	    "       bench gate DIR\n"
	    "       bench quote QUOTE COLLATERAL ROOT NOW\n");
	return 2;
}

int
main(int argc, char **argv)
{
	struct refusal why = { .code = REASON_NONE };
	struct bench_kms *b = NULL;
	struct rates r;
	char *lines = NULL;
	size_t len;
	FILE *json = NULL;
	int rc = EXIT_FAILURE;
	enum err e;

	log_set_program("bench");
	log_set_level(LOG_ERROR);
	(void)signal(SIGPIPE, SIG_IGN);
	if (secret_process_init() != ERR_OK)
		goto done;
	if (argc != 2)
		return other_bench(argc, argv);
	if ((json = open_memstream(&lines, &len)) == NULL)
		goto done;
	e = bench_kms_boot(&b, argv[1], &why);
	if (e == ERR_OK)
		e = measure(&r, b, &why);
	if (e != ERR_OK) {
		(void)fprintf(stderr, "bench: %s: %s\n", err_text(e),
		    why.detail[0] != '\0' ? why.detail : reason_text(why.code));
		goto done;
	}
	if (report(json, &r, sysconf(_SC_NPROCESSORS_ONLN)) != 0 ||
	    bench_dcap(json) != 0) {
		(void)fprintf(stderr, "bench: a primitive failed\n");
		goto done;
	}
	if (fflush(json) != 0 || fputs(lines, stdout) == EOF ||
	    fflush(stdout) != 0)
		goto done;
	bench_table(stderr, lines);
	rc = EXIT_SUCCESS;
done:
	if (json != NULL)
		(void)fclose(json);
	free(lines);
	bench_kms_free(b);
	return rc;
}
