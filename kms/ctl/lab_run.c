#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/eth/rpc.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/lab_run.h"
#include "kms/ctl/proc.h"

#define ANSWER_MS 3000
#define START_MS 30000
/* forge compiles for the first cluster of a checkout, with solc as wasm. */
#define DEPLOY_MS 300000
#define TAIL_LINES 12
/* Long enough for a node of a lab to see an announcement at a final block
 * and to veto it. */
#define ANCHOR_WAIT "DEPLOY_ANCHOR_WAIT=12"
/* Hours, that `sim time` passes at once; the veto window is long enough for
 * the council to veto a root. */
#define REGISTRY_WAITS \
	"DEPLOY_NOTICE=3600", "DEPLOY_VETO_WINDOW=10800", \
	    "DEPLOY_HOLDERS_AGE=600"
/* Nodes may still be starting: only a refusal that lasts counts. */
#define REFUSED_MS 2000

static enum ctl_exit
died(const struct ctl *c, const struct lab *l, const char *name,
    const char *what)
{
	char log[LAB_PATH_MAX];

	lab_log_path(log, l, name);
	proc_log_tail(c->log, log, TAIL_LINES);
	return ctl_fail(c, CTL_FAILED, "%s %s", name, what);
}

bool
lab_runs(const struct lab *l, const char *name, pid_t *pid)
{
	char path[LAB_PATH_MAX];

	lab_pid_path(path, l, name);
	return proc_alive(path, pid);
}

enum ctl_exit
lab_launch(const struct ctl *c, const struct lab *l, const char *name,
    const char *const *argv)
{
	char pid[LAB_PATH_MAX], log[LAB_PATH_MAX];
	const struct proc_start p = {
		.argv = argv, .log_path = log, .pid_path = pid
	};
	enum err e;

	lab_pid_path(pid, l, name);
	lab_log_path(log, l, name);
	e = proc_start(&p);
	if (e != ERR_OK && e != ERR_EXISTS)
		return ctl_fail(c, CTL_FAILED, "cannot start %s (%s): %s", name,
		    argv[0], err_text(e));
	return CTL_OK;
}

static enum ctl_exit
no_program(const struct ctl *c, const char *name)
{
	return ctl_fail(c, CTL_FAILED,
	    "%s is not there; run `make` (and `make deps` once)", name);
}

/* ---- the chain ---- */

static bool
chain_answers(const struct lab *l)
{
	char url[CONTRACT_URL_MAX];
	const struct rpc_request rq = { .url = url,
		.method = "eth_chainId",
		.params = "[]",
		.timeout_ms = ANSWER_MS,
		.max_reply = 4096 };
	struct rpc_reply r;
	uint64_t id = 0;
	bool ok;

	lab_rpc_url(url, l);
	rpc_all(&r, &rq, 1);
	ok = r.err == ERR_OK && rpc_quantity(&id, r.result) == ERR_OK &&
	    id == l->chain_id;
	rpc_reply_fini(&r);
	return ok;
}

enum ctl_exit
lab_start_chain(const struct ctl *c, const struct lab *l)
{
	char anvil[LAB_PATH_MAX], state[LAB_PATH_MAX], port[8], id[24];
	/* A block a second, and final two blocks later, so that nodes can
	 * ask for finalized blocks as they would on a real chain. */
	const char *const argv[] = { anvil, "--quiet", "--host", "127.0.0.1",
		"--port", port, "--chain-id", id, "--block-time", "1",
		"--slots-in-an-epoch", "1", "--state", state, NULL };
	struct ctl_wait w = ctl_wait(c, "the chain", START_MS);
	enum ctl_exit rc;

	if (lab_contract_tool(anvil, "anvil") != ERR_OK)
		return no_program(c, "contracts/tools/anvil");
	lab_path(state, l, "chain/state.json");
	(void)snprintf(port, sizeof port, "%u", l->rpc_port);
	(void)snprintf(id, sizeof id, "%" PRIu64, l->chain_id);
	if ((rc = lab_launch(c, l, LAB_CHAIN, argv)) != CTL_OK)
		return rc;
	while (!chain_answers(l)) {
		if (!lab_runs(l, LAB_CHAIN, NULL))
			return died(c, l, LAB_CHAIN, "ended");
		if (!ctl_wait_more(&w))
			return died(c, l, LAB_CHAIN, "does not answer");
	}
	return CTL_OK;
}

/* 10,000 ether for an account that was made a moment ago. */
static enum err
fund(const struct lab *l, const uint8_t who[static 20])
{
	char url[CONTRACT_URL_MAX], address[41];
	struct buf params = { 0 };
	struct rpc_reply r = { 0 };
	enum err e;

	lab_rpc_url(url, l);
	hex_encode(address, who, 20);
	e = buf_printf(
	    &params, "[\"0x%s\",\"0x21e19e0c9bab2400000\"]", address);
	if (e == ERR_OK) {
		const struct rpc_request rq = { .url = url,
			.method = "anvil_setBalance",
			.params = (char *)params.p,
			.timeout_ms = ANSWER_MS,
			.max_reply = 4096 };

		rpc_all(&r, &rq, 1);
		e = r.err;
	}
	rpc_reply_fini(&r);
	buf_fini(&params);
	return e;
}

/* The deployment's own word on where the contracts are. */
static enum ctl_exit
check_deployment(const struct ctl *c, const struct lab *l, const char *path)
{
	struct buf text = { 0 };
	json_t *v = NULL;
	uint8_t kms[20], anchor[20], checkin[20], council[20], registry[20];
	bool same;
	enum err e = file_read(&text, path, LIMIT_CONFIG_FILE);

	if (e == ERR_OK)
		e = json_parse(
		    &v, text.p, text.len, LIMIT_CONFIG_FILE, NULL, 0);
	if (e == ERR_OK)
		e = json_get_hex(kms, 20, v, "kms");
	if (e == ERR_OK)
		e = json_get_hex(anchor, 20, v, "anchor");
	if (e == ERR_OK && l->has_checkin)
		e = json_get_hex(checkin, 20, v, "checkIn");
	if (e == ERR_OK && l->n_members > 0)
		e = json_get_hex(council, 20, v, "council");
	if (e == ERR_OK && l->n_members > 0)
		e = json_get_hex(registry, 20, v, "registry");
	json_decref(v);
	buf_fini(&text);
	if (e != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "%s: %s", path, err_text(e));
	same = memcmp(kms, l->kms, 20) == 0 &&
	    memcmp(anchor, l->anchor, 20) == 0 &&
	    (!l->has_checkin || memcmp(checkin, l->checkin, 20) == 0) &&
	    (l->n_members == 0 ||
		(memcmp(council, l->council, 20) == 0 &&
		    memcmp(registry, l->registry, 20) == 0));
	if (!same)
		return ctl_fail(c, CTL_FAILED,
		    "the contracts came out at "
		    "other addresses: the operator's account was used before");
	return CTL_OK;
}

/* DEPLOY_COUNCIL_MEMBERS=0x...,0x... with money for each of them. */
static enum err
council_env(char *out, size_t cap, const struct lab *l)
{
	size_t n = (size_t)snprintf(out, cap, "DEPLOY_COUNCIL_MEMBERS=");
	enum err e = ERR_OK;

	for (unsigned i = 0; e == ERR_OK && i < l->n_members; i++) {
		char path[LAB_PATH_MAX], hex[41];
		struct account member;

		lab_path(path, l, "council/%u.key", i);
		if ((e = account_load(&member, path)) != ERR_OK ||
		    (e = fund(l, member.address)) != ERR_OK)
			return e;
		n += (size_t)snprintf(out + n, cap - n, "%s0x%s",
		    i > 0 ? "," : "", hex_encode(hex, member.address, 20));
		account_wipe(&member);
	}
	return e;
}

/* forge writes into the checkout: one cluster at a time. */
static int
lock_checkout(const char *deploy_tool)
{
	int fd = open(deploy_tool, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)flock(fd, LOCK_EX);
	return fd;
}

enum ctl_exit
lab_deploy(const struct ctl *c, const struct lab *l)
{
	char tool[LAB_PATH_MAX], out[LAB_PATH_MAX], url[CONTRACT_URL_MAX],
	    key_path[LAB_PATH_MAX], log[LAB_PATH_MAX],
	    key[80] = "DEPLOY_KEY=0x", k[40],
	    members[32 + LAB_MEMBERS_MAX * 43];
	const char *const argv[] = { tool, url, out, NULL };
	/* Those of the council last: without one the list ends before. */
	const char *const env[] = { key, ANCHOR_WAIT,
		l->n_members > 0 ? members : NULL, k, REGISTRY_WAITS, NULL };
	const struct proc_start p = {
		.argv = argv, .env = env, .log_path = log
	};
	size_t n = strlen(key);
	struct buf text = { 0 };
	int status = 0, lock;
	enum err e;

	lab_path(out, l, "chain/deployment.json");
	if (access(out, F_OK) == 0)
		return check_deployment(c, l, out);
	if (lab_contract_tool(tool, "deploy") != ERR_OK)
		return no_program(c, "contracts/tools/deploy");
	if (fund(l, l->operator_address) != ERR_OK ||
	    council_env(members, sizeof members, l) != ERR_OK)
		return ctl_fail(
		    c, CTL_FAILED, "cannot fund the operator and the council");
	(void)snprintf(k, sizeof k, "DEPLOY_COUNCIL_K=%u", l->k_members);
	lab_path(key_path, l, "operator.key");
	lab_log_path(log, l, "deploy");
	lab_rpc_url(url, l);
	e = file_read(&text, key_path, 66);
	if (e == ERR_OK && text.len < 64)
		e = ERR_MALFORMED;
	if (e != ERR_OK) {
		buf_wipe(&text);
		return ctl_fail(c, CTL_FAILED, "%s: %s", key_path, err_text(e));
	}
	memcpy(key + n, text.p, 64);
	key[n + 64] = '\0';
	buf_wipe(&text);
	ctl_note(c,
	    "deploying the contracts (the first time in a checkout "
	    "compiles them)");
	lock = lock_checkout(tool);
	e = proc_run(&status, &p, DEPLOY_MS);
	if (lock >= 0)
		(void)close(lock);
	secret_wipe(key, sizeof key);
	if (e != ERR_OK || status != 0)
		return died(c, l, "deploy",
		    e == ERR_TIMEOUT ? "took too long" : "failed");
	return check_deployment(c, l, out);
}

/* ---- PCCS, nodes ---- */

enum ctl_exit
lab_start_pccs(const struct ctl *c, const struct lab *l)
{
	char self[LAB_PATH_MAX], url[CONTRACT_URL_MAX];
	const char *const argv[] = { self, "sim", "pccs", l->dir, NULL };
	struct ctl_wait w = ctl_wait(c, "the simulated PCCS", START_MS);
	json_t *v = NULL;
	enum ctl_exit rc;
	enum err e;

	if (lab_program(self, "kmsctl") != ERR_OK)
		return no_program(c, "kmsctl");
	if ((rc = lab_launch(c, l, LAB_PCCS, argv)) != CTL_OK)
		return rc;
	lab_pccs_url(url, l);
	for (;;) {
		e = admin_get(
		    &v, url, "/sgx/certification/v4/qe/identity", ANSWER_MS);
		json_decref(v);
		v = NULL;
		/* Any HTTP answer shows that it listens. */
		if (e != ERR_IO && e != ERR_TIMEOUT)
			return CTL_OK;
		if (!lab_runs(l, LAB_PCCS, NULL))
			return died(c, l, LAB_PCCS, "ended");
		if (!ctl_wait_more(&w))
			return died(c, l, LAB_PCCS, "does not answer");
	}
}

enum ctl_exit
lab_start_node(
    const struct ctl *c, const struct lab *l, const struct lab_node *n)
{
	char kmsd[LAB_PATH_MAX], yaml[LAB_PATH_MAX], url[CONTRACT_URL_MAX];
	const char *const argv[] = { kmsd, "--config", yaml, NULL };
	struct ctl_wait w = ctl_wait(c, n->name, START_MS);
	json_t *v = NULL;
	enum ctl_exit rc;

	if (lab_program(kmsd, "kmsd") != ERR_OK)
		return no_program(c, "kmsd");
	lab_path(yaml, l, "kms/%s/kmsd.yaml", n->name);
	if ((rc = lab_launch(c, l, n->name, argv)) != CTL_OK)
		return rc;
	lab_admin_url(url, n);
	while (admin_get(&v, url, "/status", ANSWER_MS) != ERR_OK) {
		if (!lab_runs(l, n->name, NULL))
			return died(c, l, n->name, "ended");
		if (!ctl_wait_more(&w))
			return died(c, l, n->name, "does not answer");
	}
	json_decref(v);
	return CTL_OK;
}

enum ctl_exit
lab_await_phase(const struct ctl *c, const struct lab *l,
    const struct lab_node *n, const char *phase, uint64_t limit_ms)
{
	char what[80], url[CONTRACT_URL_MAX], last[24] = "?";
	struct ctl_wait w;

	(void)snprintf(what, sizeof what, "%s to be %s", n->name, phase);
	w = ctl_wait(c, what, limit_ms);
	lab_admin_url(url, n);
	for (;;) {
		const char *now = "?";
		json_t *v = NULL;
		bool there;

		if (admin_get(&v, url, "/status", ANSWER_MS) == ERR_OK)
			(void)json_get_str(&now, v, "phase");
		there = strcmp(now, phase) == 0;
		(void)snprintf(last, sizeof last, "%s", now);
		json_decref(v);
		if (there)
			return CTL_OK;
		if (!lab_runs(l, n->name, NULL))
			return died(c, l, n->name, "ended");
		if (!ctl_wait_more(&w)) {
			(void)snprintf(what, sizeof what,
			    "is \"%s\", not \"%s\", after %llu s", last, phase,
			    (unsigned long long)limit_ms / 1000);
			return died(c, l, n->name, what);
		}
	}
}

/* A node that does not answer decides nothing. */
static bool
has_seen(const struct lab_node *n, uint64_t number)
{
	char url[CONTRACT_URL_MAX];
	json_t *v = NULL;
	uint64_t at = 0;
	bool seen;

	lab_admin_url(url, n);
	if (admin_get(&v, url, "/status", ANSWER_MS) != ERR_OK)
		return true;
	seen = json_get_u64(&at, json_object_get(v, "chain"), "block_number") ==
		ERR_OK &&
	    at >= number;
	json_decref(v);
	return seen;
}

enum err
lab_await_block(
    const struct ctl *c, const char *dir, uint64_t number, uint64_t limit_ms)
{
	struct ctl_wait w = ctl_wait(c, "the nodes to see the block", limit_ms);
	char why[LAB_WHY_MAX];
	struct lab *l = NULL;
	enum err e = lab_load(&l, dir, why);

	for (unsigned i = 0; e == ERR_OK && i < l->n_nodes; i++)
		while (l->node[i].listed && !has_seen(&l->node[i], number))
			if (!ctl_wait_more(&w)) {
				e = ERR_TIMEOUT;
				break;
			}
	lab_free(l);
	return e;
}

/* ---- agents ---- */

/* last_reason finds the newest reason=LABEL behind byte `from` of a log. */
static void
last_reason(char out[static LAB_REASON_MAX], const char *log, long from)
{
	char line[4096];
	FILE *f = fopen(log, "re");

	if (f == NULL || fseek(f, from, SEEK_SET) != 0)
		goto done;
	while (fgets(line, sizeof line, f) != NULL) {
		const char *p = strstr(line, " reason=");
		size_t n;

		if (p == NULL)
			continue;
		p += 8;
		n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");
		if (n > 0 && n < LAB_REASON_MAX) {
			memcpy(out, p, n);
			out[n] = '\0';
		}
	}
done:
	if (f != NULL)
		(void)fclose(f);
}

static long
size_of(const char *path)
{
	FILE *f = fopen(path, "re");
	long n = 0;

	if (f == NULL)
		return 0;
	if (fseek(f, 0, SEEK_END) == 0)
		n = ftell(f);
	(void)fclose(f);
	return n > 0 ? n : 0;
}

/* Transport troubles pass; these do not. */
static bool
is_refusal(const char *reason)
{
	static const enum reason passing[] = { REASON_NONE, REASON_TIMEOUT,
		REASON_BUSY, REASON_INTERNAL, REASON_NOT_READY,
		REASON_HANDSHAKE, REASON_CHAIN_UNREACHABLE };

	if (reason[0] == '\0')
		return false;
	for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
		if (strcmp(reason, reason_label(passing[i])) == 0)
			return false;
	return true;
}

/* The agent has its keys when it answers GetKey. */
static bool
agent_answers(const char *socket)
{
	json_t *rq = json_object(), *v = NULL;
	const char *s;
	bool ok = rq != NULL &&
	    admin_agent(&v, socket, "GetKey", rq, ANSWER_MS, true) == ERR_OK &&
	    json_get_str(&s, v, "key") == ERR_OK;

	json_wipe(v);
	json_decref(rq);
	return ok;
}

enum ctl_exit
lab_start_agent(const struct ctl *c, const struct lab *l,
    const struct lab_app *a, char reason[static LAB_REASON_MAX])
{
	char agent[LAB_PATH_MAX], yaml[LAB_PATH_MAX], socket[LAB_PATH_MAX],
	    log[LAB_PATH_MAX];
	const char *const argv[] = { agent, "--config", yaml, NULL };
	struct ctl_wait w = ctl_wait(c, "the app's keys", 2 * START_MS);
	struct ctl_wait patience = ctl_wait(c, "", REFUSED_MS);
	enum ctl_exit rc;
	long from;

	reason[0] = '\0';
	if (lab_program(agent, "cvm-agent") != ERR_OK)
		return no_program(c, "cvm-agent");
	lab_path(yaml, l, "apps/%s/agent.yaml", a->name);
	lab_path(socket, l, "apps/%s/dstack.sock", a->name);
	lab_log_path(log, l, a->name);
	from = size_of(log);
	if ((rc = lab_launch(c, l, a->name, argv)) != CTL_OK)
		return rc;
	for (;;) {
		bool runs = lab_runs(l, a->name, NULL), more;

		if (runs && access(socket, F_OK) == 0 && agent_answers(socket))
			return CTL_OK;
		last_reason(reason, log, from);
		more = ctl_wait_more(&w);
		if (is_refusal(reason) &&
		    (!runs || !more || !ctl_wait_more(&patience))) {
			(void)lab_stop(c, l, a->name, SIGTERM);
			return ctl_fail(c, CTL_FAILED,
			    "%s was refused its keys: %s (%s)", a->name,
			    reason_text(reason_from_label(reason)), reason);
		}
		if (!runs)
			return died(c, l, a->name, "ended");
		if (!more) {
			(void)lab_stop(c, l, a->name, SIGTERM);
			return died(c, l, a->name, "got no keys in time");
		}
	}
}

/* ---- the end ---- */

enum ctl_exit
lab_stop(const struct ctl *c, const struct lab *l, const char *name, int sig)
{
	char path[LAB_PATH_MAX];

	lab_pid_path(path, l, name);
	if (proc_stop(path, sig, LAB_STOP_MS) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "%s does not end", name);
	return CTL_OK;
}

/* What an attack was interrupted at: the copies of nodes, the relay. */
static enum ctl_exit
stop_strangers(const struct ctl *c, const struct lab *l)
{
	char path[LAB_PATH_MAX], name[LAB_NAME_MAX];
	enum ctl_exit rc = CTL_OK;
	const struct dirent *at;
	DIR *d;

	lab_path(path, l, "run");
	if ((d = opendir(path)) == NULL)
		return CTL_OK;
	while ((at = readdir(d)) != NULL) {
		size_t n = strcspn(at->d_name, ".");

		if (n == 0 || n >= sizeof name ||
		    strcmp(at->d_name + n, ".pid") != 0)
			continue;
		memcpy(name, at->d_name, n);
		name[n] = '\0';
		if (strcmp(name, LAB_PCCS) != 0 &&
		    strcmp(name, LAB_CHAIN) != 0 &&
		    lab_stop(c, l, name, SIGKILL) != CTL_OK)
			rc = CTL_FAILED;
	}
	(void)closedir(d);
	return rc;
}

enum ctl_exit
lab_stop_all(const struct ctl *c, const struct lab *l)
{
	enum ctl_exit rc = CTL_OK;

	for (unsigned i = 0; i < l->n_apps; i++)
		if (lab_stop(c, l, l->app[i].name, SIGTERM) != CTL_OK)
			rc = CTL_FAILED;
	for (unsigned i = 0; i < l->n_nodes; i++)
		if (lab_stop(c, l, l->node[i].name, SIGTERM) != CTL_OK)
			rc = CTL_FAILED;
	if (stop_strangers(c, l) != CTL_OK)
		rc = CTL_FAILED;
	if (lab_stop(c, l, LAB_PCCS, SIGTERM) != CTL_OK)
		rc = CTL_FAILED;
	if (lab_stop(c, l, LAB_CHAIN, SIGTERM) != CTL_OK)
		rc = CTL_FAILED;
	return rc;
}
