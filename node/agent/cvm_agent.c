/* cvm-agent: the guest agent beside an app.
 *
 * Options and wiring.  The socket appears when keys are there, and is taken
 * away at the end.  With --fixture there is no CVM and no KMS, but a folder
 * of files (fixture.h). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#include "node/agent/agent.h"
#include "node/agent/confine.h"
#include "node/agent/fixture_serve.h"
#include "node/agent/listeners.h"
#include "node/agent/rpc.h"
#include "node/agent/stop.h"

#define DEFAULT_CONFIG "/etc/cvm-agent.yaml"
/* Where deploy/systemd has it. */
#define UNIT_CONFIG "/etc/devproof-kms/cvm-agent.yaml"

enum { EXIT_RUN = 1, EXIT_USAGE = 2 };

static void
usage(FILE *to)
{
	(void)fprintf(to,
	    "usage: cvm-agent [--config FILE] [--check]\n"
	    "       cvm-agent --fixture DIR [--socket-dir DIR]\n"
	    "\n"
	    "Gives the apps of a confidential VM their keys, on dstack's "
	    "socket.\n"
	    "\n"
	    "  -c, --config FILE  read FILE (default %s)\n"
	    "      --check        print the effective configuration and end\n"
	    "      --fixture DIR  serve a simulator's folder: nothing of it is "
	    "secret\n"
	    "      --socket-dir DIR  its sockets (default: the folder)\n"
	    "      --version      print the version and end\n"
	    "  -h, --help         print this and end\n"
	    "\n"
	    "Exit status: 0 ended as asked, 1 failed, 2 bad usage or "
	    "configuration.\n",
	    DEFAULT_CONFIG);
}

static int
print_config(const struct agent_config *c)
{
	struct buf text = { 0 };
	enum err e = config_print(&text, c);

	if (e == ERR_OK)
		(void)fwrite(text.p, 1, text.len, stdout);
	buf_fini(&text);
	return e == ERR_OK && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_RUN;
}

static int
run(const struct agent_config *c)
{
	struct refusal why = { .code = REASON_NONE };
	struct agent_backend backend;
	struct inherited given[INHERITED_MAX];
	struct listeners listeners = { 0 };
	struct buf cert = { 0 };
	struct agent *agent = NULL;
	unsigned n_given;
	enum err e;

	if ((e = inherited_take(given, &n_given, INHERITED_FIRST)) != ERR_OK) {
		log_event(LOG_ERROR, "listen_failed",
		    log_str("error", "LISTEN_FDS or LISTEN_FDNAMES is wrong"));
		goto done;
	}
	if ((e = agent_confine(c, n_given)) != ERR_OK)
		goto done;
	if ((e = stop_init()) != ERR_OK) {
		log_plain(LOG_ERROR, "cannot_take_signals");
		goto done;
	}
	log_event(LOG_INFO, "starting", log_str("version", RPC_REV),
	    log_str("api", RPC_API_VERSION), log_u64("chain_id", c->chain_id),
	    log_hex("kms_contract", c->kms_contract, 20),
	    log_u64("kms_nodes", c->n_kms_urls));
	e = agent_boot(&agent, c, &why);
	/* Being told to stop while waiting for keys is no failure. */
	if (e == ERR_AGAIN && stop_wait(1)) {
		e = ERR_OK;
		goto done;
	}
	if (e != ERR_OK) {
		log_event(LOG_ERROR, "boot_failed",
		    log_str("error", err_text(e)), log_why(&why));
		goto done;
	}
	backend = agent_backend(agent);
	e = listeners_start(&listeners, &backend, c, given, n_given);
	if (e != ERR_OK)
		goto done;
	log_event(LOG_INFO, "ready", log_str("socket", c->socket));
	/* So that the first who asks for Info may have it already. */
	if (backend.app_cert != NULL)
		backend.app_cert(backend.cookie, &cert);
	buf_fini(&cert);
	while (!stop_wait(0))
		;
done:
	listeners_stop(&listeners);
	agent_free(agent);
	log_event(LOG_INFO, "ended", log_str("result", err_text(e)));
	if (e == ERR_OK)
		return EXIT_SUCCESS;
	return e == ERR_CONFIG ? EXIT_USAGE : EXIT_RUN;
}

/* Never beside a real configuration: an app must not find a fixture's keys
 * where its own should be. */
static int
run_fixture(const char *dir, const char *socket_dir, bool other)
{
	static const char *const real[] = { DEFAULT_CONFIG, UNIT_CONFIG };
	enum err e;

	if (other) {
		(void)fprintf(stderr,
		    "cvm-agent: --fixture goes with --socket-dir alone\n");
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof real / sizeof real[0]; i++)
		if (access(real[i], F_OK) == 0 || errno == EACCES) {
			(void)fprintf(stderr,
			    "cvm-agent: %s is there: this machine has a real "
			    "agent, and no fixture is served beside it\n",
			    real[i]);
			return EXIT_USAGE;
		}
	(void)signal(SIGPIPE, SIG_IGN);
	if (stop_init() != ERR_OK) {
		(void)fprintf(stderr, "cvm-agent: cannot take signals\n");
		return EXIT_RUN;
	}
	e = fixture_serve(dir, socket_dir != NULL ? socket_dir : dir);
	if (e == ERR_OK)
		return EXIT_SUCCESS;
	return e == ERR_CONFIG ? EXIT_USAGE : EXIT_RUN;
}

int
main(int argc, char **argv)
{
	enum { OPT_CHECK = 256, OPT_VERSION, OPT_FIXTURE, OPT_SOCKET_DIR };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "fixture", required_argument, NULL, OPT_FIXTURE },
		{ "socket-dir", required_argument, NULL, OPT_SOCKET_DIR },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static struct agent_config config;
	const char *path = NULL, *fixture = NULL, *socket_dir = NULL;
	char why[CONFIG_WHY_MAX];
	bool check = false;
	int opt;

	log_set_program("cvm-agent");
	json_wiping();
	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_FIXTURE:
			fixture = optarg;
			break;
		case OPT_SOCKET_DIR:
			socket_dir = optarg;
			break;
		case OPT_VERSION:
			(void)printf("cvm-agent %s, guest API %s\n", RPC_REV,
			    RPC_API_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	if (optind != argc || (socket_dir != NULL && fixture == NULL)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (secret_process_init() != ERR_OK) {
		(void)fprintf(stderr, "cvm-agent: cannot protect memory\n");
		return EXIT_RUN;
	}
	if (fixture != NULL)
		return run_fixture(fixture, socket_dir, path != NULL || check);
	if (path == NULL)
		path = DEFAULT_CONFIG;
	if (config_load(&config, path, why) != ERR_OK) {
		(void)fprintf(stderr, "cvm-agent: %s: %s\n", path, why);
		return EXIT_USAGE;
	}
	if (check)
		return print_config(&config);
	log_set_level(config.log_level);
	return run(&config);
}
