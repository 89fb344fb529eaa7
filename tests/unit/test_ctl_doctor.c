/* kmsctl nodes and doctor: what they make of what nodes say.  Each test
 * begins with a healthy cluster of three and changes what it is about. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/ctl/doctor.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static const char *const lives[] = { HEX_A, HEX_B, HEX_C };
static json_t *fleet;

/* One row of one node's view; kms0 leads. */
static json_t *
row(int i, int self)
{
	char slot[16];

	(void)snprintf(slot, sizeof slot, "kms%d", i);
	return json_pack("{s:s, s:s, s:b, s:b, s:s, s:s, s:i, s:i, s:i, s:i, "
			 "s:i, s:s, s:n}",
	    "slot", slot, "role", i == 0 ? "leader" : "voter", "self",
	    i == self, "seated", 1, "incarnation", lives[i], "device_id",
	    lives[i], "heard_age_ms", 20, "evidence_age_s", 40 + i, "match",
	    100, "head_generation", 2, "head_index", 100 + i, "head_term",
	    "2.7", "refused");
}

static json_t *
healthy(int i)
{
	json_t *rows = json_array(), *c, *s;
	char slot[16];

	(void)snprintf(slot, sizeof slot, "kms%d", i);
	for (int k = 0; k < 3; k++)
		(void)json_array_append_new(rows, row(k, i));
	c = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b, "
		      "s:b, s:i, s:{s:i, s:i, s:i, s:i, s:n}, s:{s:b, s:n}, "
		      "s:n, s:b, s:o}",
	    "phase", "member", "generation", 2, "term", "2.7", "leader", "kms0",
	    "last", 100, "commit", 100, "applied", 100, "voters", 3, "learners",
	    0, "seats", 3, "fenced", 0, "fresh", 1, "confirmed_age_ms", 30,
	    "anchor", "generation", 2, "index", 60, "critical_index", 60,
	    "age_ms", 900, "error", "disk", "failed", 0, "trouble", "waiting",
	    "self_denied", 0, "nodes", rows);
	cr_assert_not_null(c);
	s = json_pack("{s:s, s:s, s:s, s:{s:b, s:n, s:s, s:s, s:s, s:s}, "
		      "s:{s:i, s:s, s:s, s:i, s:i, s:n}, s:[{s:s, s:b, s:s, "
		      "s:n}], s:o, s:s, s:i}",
	    "slot", slot, "phase", "ready", "incarnation", lives[i], "self",
	    "allowed", 1, "reason", "os_image_hash", HEX_A, "mr_aggregated",
	    HEX_B, "device_id", HEX_C, "tcb_status", "UpToDate", "chain",
	    "chain_id", 31337, "kms_contract", "11", "anchor_contract", "22",
	    "block_number", 500, "block_age_s", 3, "error", "peers", "url",
	    "tcp://x:1", "connected", 1, "slot", i == 0 ? "kms1" : "kms0",
	    "error", "cluster", c, "digest", "d1", "digest_index", 100);
	cr_assert_not_null(s);
	return s;
}

static void
setup(void)
{
	json_t *nodes = json_array();

	for (int i = 0; i < 3; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "kms%d", i);
		(void)json_array_append_new(nodes,
		    json_pack("{s:s, s:s, s:b, s:n, s:o}", "name", name,
			"admin", "http://127.0.0.1:1", "listed", 1, "error",
			"status", healthy(i)));
	}
	fleet = json_pack("{s:s, s:o, s:{s:n, s:{s:i, s:i}, s:[s, s, s], s:i, "
			  "s:n, s:{s:s, s:s}, s:n, s:i}}",
	    "lab", "DIR", "nodes", nodes, "chain", "error", "point",
	    "generation", 2, "index", 60, "seats", "kms0", "kms1", "kms2",
	    "wait_s", 8, "order", "signer", "address", "0xpayer", "ether",
	    "9.5", "announced", "open_at", 0);
	cr_assert_not_null(fleet);
}

static void
teardown(void)
{
	json_decref(fleet);
}

TestSuite(ctl_doctor, .init = setup, .fini = teardown);

/* ---- changing it ---- */

static json_t *
node(int i)
{
	return json_array_get(json_object_get(fleet, "nodes"), (size_t)i);
}

/* The object at a path of member names in node i's status ("" is itself). */
static json_t *
at(int i, const char *a, const char *b)
{
	json_t *v = json_object_get(node(i), "status");

	if (a[0] != '\0')
		v = json_object_get(v, a);
	if (b[0] != '\0')
		v = json_object_get(v, b);
	cr_assert_not_null(v, "%s %s", a, b);
	return v;
}

static void
set(json_t *obj, const char *key, json_t *v)
{
	cr_assert_eq(json_object_set_new(obj, key, v), 0);
}

static json_t *
row_of(int viewer, int i)
{
	return json_array_get(at(viewer, "cluster", "nodes"), (size_t)i);
}

static void
down(int i)
{
	set(node(i), "status", json_null());
	set(node(i), "error", json_string("timed out"));
}

/* All have restarted: each offers its disk. */
static void
all_offer(void)
{
	for (int i = 0; i < 3; i++) {
		json_t *c = at(i, "cluster", "");

		set(at(i, "", ""), "phase", json_string("joining"));
		set(c, "phase", json_string("joining"));
		set(c, "leader", json_string(""));
		set(c, "fresh", json_false());
		set(c, "confirmed_age_ms", json_null());
		for (int k = 0; k < 3; k++)
			set(row_of(i, k), "role", json_string("offers"));
	}
}

static const json_t *
finding(const json_t *found, const char *who, const char *code)
{
	const json_t *f;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)found, i, f)
	{
		if (strcmp(fleet_str(f, "node"), who) == 0 &&
		    strcmp(fleet_str(f, "code"), code) == 0)
			return f;
	}
	return NULL;
}

/* It is found, and what to do has these words. */
static void
finds(const char *who, const char *code, const char *words)
{
	json_t *found = doctor_examine(fleet);
	const json_t *f = finding(found, who, code);
	char *all = json_dumps(found, JSON_INDENT(1));

	cr_assert_not_null(f, "no %s of %s in %s", code, who, all);
	cr_assert(strstr(fleet_str(f, "do"), words) != NULL ||
		strstr(fleet_str(f, "what"), words) != NULL,
	    "'%s' lacks '%s'", all, words);
	free(all);
	json_decref(found);
}

static void
finds_not(const char *who, const char *code)
{
	json_t *found = doctor_examine(fleet);

	cr_assert_null(finding(found, who, code), "%s of %s", code, who);
	json_decref(found);
}

/* ---- its process ---- */

/* What is not as node/harden leaves it is told; a node that does not say is
 * of another version. */
Test(ctl_doctor, hardening)
{
	static const struct {
		const char *member, *code, *words;
		bool value;
	} cases[] = {
		{ "no_new_privs", "privileges", "new privileges", false },
		{ "capabilities", "privileges", "capabilities", true },
		{ "dumpable", "privileges", "dumped", true },
		{ "memory_locked", "memory_not_locked", "LimitMEMLOCK", false },
	};
	static const char *const codes[] = { "seccomp", "privileges",
		"memory_not_locked" };
	json_t *h = json_pack("{s:s, s:b, s:b, s:b, s:b, s:i, s:i}", "seccomp",
	    "enforce", "no_new_privs", 1, "capabilities", 0, "dumpable", 0,
	    "memory_locked", 1, "landlock", 7, "uid", 0);

	set(at(1, "", ""), "hardening", h);
	for (size_t i = 0; i < 3; i++) {
		finds_not("kms0", codes[i]);
		finds_not("kms1", codes[i]);
	}
	set(h, "seccomp", json_string("log"));
	finds("kms1", "seccomp", "process.seccomp: log");
	set(h, "seccomp", json_string("off"));
	finds("kms1", "seccomp", "process.seccomp: off");
	set(h, "seccomp", json_string("enforce"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		set(h, cases[i].member, json_boolean(cases[i].value));
		finds("kms1", cases[i].code, cases[i].words);
		set(h, cases[i].member, json_boolean(!cases[i].value));
	}
	finds_not("kms1", "privileges");
}

/* ---- roots ---- */

/* A registry of which the leader says that people are needed; one that cannot
 * be read; and a ready node that lacks roots in use, but not ended ones. */
Test(ctl_doctor, roots)
{
	static const char *const trouble[] = { "root_unknown",
		"root_not_confirmed", "roots_lost", "handovers_lost" };
	json_t *s = json_object_get(
	    json_array_get(json_object_get(fleet, "nodes"), 0), "status");
	json_t *c = json_object_get(s, "cluster");

	finds_not("kms0", "registry");
	finds_not("kms0", "no_roots");
	for (size_t i = 0; i < sizeof trouble / sizeof trouble[0]; i++) {
		set(c, "registry",
		    json_pack("{s:s, s:i, s:n}", "trouble", trouble[i],
			"trouble_at", 7, "error"));
		finds("kms0", trouble[i], " 7");
	}
	set(c, "registry",
	    json_pack("{s:n, s:s}", "trouble", "error", "chain_answer"));
	finds("kms0", "registry", "chain_answer");
	set(s, "epochs",
	    json_pack("[{s:i, s:s, s:b}, {s:i, s:s, s:b}]", "number", 0,
		"state", "destroyed", "here", 0, "number", 1, "state",
		"prepared", "here", 0));
	finds_not("kms0", "no_roots");
	set(s, "epochs",
	    json_pack("[{s:i, s:s, s:b}]", "number", 1, "state", "tainted",
		"here", 0));
	finds("kms0", "no_roots", "epoch 1");
}

/* ---- nonsense ---- */

/* Whatever an answer holds, or lacks, nothing crashes and nothing is well. */
Test(ctl_doctor, nonsense)
{
	static const char *const texts[] = { "{}", "{\"nodes\":[]}",
		"{\"nodes\":7}", "{\"nodes\":[null, 7, \"x\", {}]}",
		"{\"nodes\":[{\"name\":\"a\",\"listed\":true,\"status\":[]}]}",
		"{\"nodes\":[{\"name\":\"a\",\"status\":{\"slot\":7}}]}",
		"{\"nodes\":[{\"name\":\"a\",\"status\":{\"slot\":\"a\","
		"\"cluster\":{\"nodes\":[1,{\"slot\":[]}],\"anchor\":[],"
		"\"leader\":7,\"phase\":\"member\"}}}],\"chain\":{}}" };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		json_t *v = json_loads(texts[i], 0, NULL), *found, *rows;
		char *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		cr_assert_not_null(v, "%s", texts[i]);
		found = doctor_examine(v);
		rows = fleet_table(v, found);
		doctor_print(f, v, found);
		cr_assert(json_is_array(found) && json_is_array(rows));
		(void)fclose(f);
		free(text);
		json_decref(rows);
		json_decref(found);
		json_decref(v);
	}
}

/* What nodes say does not move a terminal's cursor. */
Test(ctl_doctor, escapes)
{
	set(at(0, "self", ""), "allowed", json_false());
	set(at(0, "self", ""), "reason", json_string("\x1b[2J\xc3\xa9"));
	finds("kms0", "self_denied", "?[2J??");
}

/* ---- one node ---- */

Test(ctl_doctor, node_down)
{
	down(1);
	finds("kms1", "down", "kmsctl sim start DIR kms1");
	set(node(1), "listed", json_false());
	finds_not("kms1", "down");
}

/* Each of the contract's lists has its command. */
Test(ctl_doctor, self_denied)
{
	static const struct {
		const char *reason, *command;
	} want[] = {
		{ "OS image is not allowed", "kms allow-image 0x" HEX_A },
		{ "Aggregated MR not allowed", "kms allow-mr 0x" HEX_B },
		{ "KMS is not allowed to boot on this device",
		    "kms allow-device 0x" HEX_C },
		{ "TCB status is not up to date", "firmware" },
	};

	for (size_t i = 0; i < 4; i++) {
		set(at(2, "self", ""), "allowed", json_false());
		set(at(2, "self", ""), "reason", json_string(want[i].reason));
		finds("kms2", "self_denied", want[i].command);
	}
	set(fleet, "lab", json_null());
	set(at(2, "self", ""), "reason", json_string(want[0].reason));
	finds("kms2", "self_denied", "--kms 0x11");
}

Test(ctl_doctor, seat_missing)
{
	set(row_of(1, 1), "seated", json_false());
	finds("kms1", "seat_missing", "anchor seat set kms1 0x" HEX_B);
	set(row_of(1, 1), "seated", json_true());
	finds_not("kms1", "seat_missing");
	set(at(1, "cluster", ""), "waiting",
	    json_pack("{s:s, s:s, s:s}", "reason", "seat", "text", "t",
		"detail", "d"));
	finds("kms1", "seat_missing", "another machine");
}

Test(ctl_doctor, chain_troubles)
{
	static const char *const labels[] = { "chain_unreachable",
		"chain_stale", "chain_disagree", "chain_backwards",
		"chain_wrong", "chain_answer" };

	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		set(at(0, "chain", ""), "error", json_string(labels[i]));
		finds("kms0", labels[i], "");
	}
	set(at(0, "chain", ""), "error", json_null());
	set(at(0, "chain", ""), "block_age_s", json_integer(-60));
	finds("kms0", "clock", "60 s");
	/* The same block, another age: the clocks differ. */
	finds("kms1", "clock_skew", "63 s");
	set(at(0, "chain", ""), "block_age_s", json_integer(600));
	finds("kms0", "chain_old", "600 s");
}

Test(ctl_doctor, fenced)
{
	set(at(0, "cluster", ""), "fenced", json_true());
	set(at(0, "cluster", "anchor"), "error",
	    json_string("chain_unreachable"));
	finds("kms0", "fenced", "chain.rpc");
	set(at(0, "cluster", "anchor"), "error", json_null());
	finds("kms0", "fenced", "recovery was announced");
}

Test(ctl_doctor, disks)
{
	json_t *disk = at(1, "cluster", "disk");

	set(disk, "trouble",
	    json_pack("{s:s, s:s, s:s}", "reason", "rollback", "text",
		"The disk is older than the chain says", "detail",
		"a wrapping key does not open"));
	finds("kms1", "disk_refused", "older than the chain");
	set(disk, "failed", json_true());
	finds("kms1", "disk_failed", "every ten seconds");
	finds_not("kms1", "disk_refused");
}

Test(ctl_doctor, waits)
{
	set(at(2, "", ""), "phase", json_string("joining"));
	finds("kms2", "not_ready", "joining");
	set(at(2, "cluster", ""), "waiting",
	    json_pack("{s:s, s:s, s:s}", "reason", "slot_alive", "text",
		"The slot's holder is alive", "detail", "said kms0"));
	finds("kms2", "slot_alive", "stop the other process of slot kms2");
	set(at(2, "cluster", "waiting"), "reason", json_string("rollback"));
	finds("kms2", "rollback", "old copy");
	set(at(2, "", ""), "phase", json_string("halted"));
	finds("kms2", "halted", "start it again");
	set(at(2, "", ""), "phase", json_string("genesis"));
	finds("kms2", "genesis", "genesis publish --node");
}

Test(ctl_doctor, broken_link)
{
	json_t *p = json_array_get(at(0, "peers", ""), 0);

	set(p, "connected", json_false());
	set(p, "error", json_string("contract_mr"));
	finds("kms0", "link", "Aggregated MR not allowed (contract_mr)");
	down(1);
	finds_not("kms0", "link");
}

/* ---- a living cluster ---- */

Test(ctl_doctor, slow_and_silent)
{
	set(row_of(0, 1), "heard_age_ms", json_integer(9000));
	finds("kms1", "silent", "9000 ms");
	set(row_of(0, 1), "heard_age_ms", json_integer(10));
	set(at(0, "cluster", ""), "last", json_integer(5000));
	finds("kms2", "behind", "4900 entries");
	set(row_of(0, 1), "role", json_string("learner"));
	finds("kms1", "learner", "without a vote");
	set(row_of(0, 1), "role", json_string("absent"));
	finds("kms1", "absent", "node remove kms1");
	set(row_of(0, 1), "refused", json_string("slot_alive"));
	finds("kms1", "refused", "slot_alive");
}

Test(ctl_doctor, voters)
{
	set(at(0, "cluster", ""), "voters", json_integer(2));
	finds("cluster", "few_voters", "2 voters for 3");
	set(at(0, "cluster", ""), "voters", json_integer(1));
	finds("cluster", "below_quorum", "1 voters for 3");
	set(at(0, "cluster", ""), "seats", json_integer(1));
	finds("cluster", "few_seats", "no node may fail");
}

Test(ctl_doctor, another_generation)
{
	set(at(2, "cluster", ""), "generation", json_integer(1));
	finds("kms2", "generation", "joins generation 2");
}

/* At the same entry of the same generation there is one state. */
Test(ctl_doctor, digests)
{
	set(at(2, "", ""), "digest", json_string("d2"));
	finds("kms2", "digest", "kms0 and kms2 hold different states at entry");
	set(at(2, "", ""), "digest_index", json_integer(99));
	finds_not("kms2", "digest");
}

Test(ctl_doctor, not_fresh)
{
	set(at(1, "cluster", ""), "fresh", json_false());
	set(at(1, "cluster", ""), "confirmed_age_ms", json_integer(7000));
	finds("kms1", "not_fresh", "7000 ms");
}

Test(ctl_doctor, money)
{
	json_t *signer =
	    json_object_get(json_object_get(fleet, "chain"), "signer");

	set(signer, "ether", json_string("over 18"));
	finds_not("cluster", "gas");
	set(signer, "ether", json_string("0.01"));
	finds("cluster", "gas_low", "send ether to 0xpayer");
	set(signer, "ether", json_string("0"));
	finds("cluster", "gas", "could not anchor");
	set(at(0, "cluster", "anchor"), "critical_index", json_integer(90));
	finds("cluster", "gas", "waits for its anchor");
	set(fleet, "chain", json_pack("{s:s}", "error", "no answer"));
	finds("cluster", "chain", "no answer");
}

Test(ctl_doctor, announced)
{
	set(json_object_get(fleet, "chain"), "announced",
	    json_pack("{s:i, s:i}", "generation", 3, "index", 99));
	finds("cluster", "announced", "generation 3");
}

/* ---- nobody leads ---- */

/* All restarted: the newest of enough disks, and the very command. */
Test(ctl_doctor, recover)
{
	all_offer();
	finds("cluster", "no_quorum",
	    "kmsctl anchor recover 0x" HEX_C " --sim DIR");
	/* A later term beats a longer log. */
	set(row_of(0, 0), "head_term", json_string("2.8"));
	finds("cluster", "no_quorum", "recover 0x" HEX_A);
	/* Once somebody is named, naming is not repeated. */
	set(json_object_get(fleet, "chain"), "order", json_string("0xnamed"));
	finds("cluster", "no_quorum", "0xnamed is named");
	finds(
	    "cluster", "no_quorum", "not_best: kmsctl anchor recover 0x" HEX_A);
	/* Without a lab, what is to be filled in says so. */
	set(json_object_get(fleet, "chain"), "order", json_null());
	set(fleet, "lab", json_null());
	finds("cluster", "no_quorum",
	    "--rpc URL --chain-id 31337 --anchor 0x22 --key-file OWNER");
}

/* Too few disks: more nodes first; --lossy comes with what it may lose. */
Test(ctl_doctor, lossy)
{
	all_offer();
	down(2);
	for (int i = 0; i < 2; i++)
		set(row_of(i, 2), "role", json_string("absent"));
	finds("cluster", "no_quorum", "2 disks are here, 3 are needed");
	finds("cluster", "no_quorum", "recover 0x" HEX_B " --lossy --sim DIR");
	finds("cluster", "no_quorum", "after entry 60");
	finds("cluster", "no_quorum", "2 of 3 seats answer");
	/* One that was heard of, though it does not answer us, counts. */
	set(row_of(0, 2), "role", json_string("offers"));
	finds("cluster", "no_quorum", "recover 0x" HEX_C " --sim DIR");
}

/* A disk without the anchored entry is not named, however few there are. */
Test(ctl_doctor, old_disks)
{
	all_offer();
	set(row_of(2, 2), "head_index", json_integer(59));
	set(row_of(1, 1), "head_generation", json_integer(1));
	finds("cluster", "no_quorum",
	    "older than the anchor): kms1 (log at 101), kms2 (log at 59)");
	finds("cluster", "no_quorum", "recover 0x" HEX_A " --lossy");
	set(row_of(0, 0), "seated", json_false());
	finds("cluster", "no_quorum", "nothing else can recover");
}

/* A member that still runs is no disk: it must begin a new life first; and
 * if enough of them run, they need a network, not a recovery. */
Test(ctl_doctor, members_run)
{
	all_offer();
	set(at(0, "cluster", ""), "phase", json_string("member"));
	finds("cluster", "no_quorum", "restart kms0");
	finds("cluster", "no_quorum",
	    "recover 0x" HEX_C " --sim DIR, upon which kms0 (log at 100) gives "
	    "way");
	/* As long as a disk is missing, there is nothing to order. */
	down(2);
	for (int i = 0; i < 2; i++)
		set(row_of(i, 2), "role", json_string("absent"));
	finds("cluster", "no_quorum", "start them, restart kms0");
	set(at(1, "cluster", ""), "phase", json_string("member"));
	set(json_array_get(at(0, "peers", ""), 0), "connected", json_false());
	finds("cluster", "no_quorum", "do not restart them");
	/* Denied by all, and allowed again: links are up, nobody listens. */
	set(json_array_get(at(0, "peers", ""), 0), "connected", json_true());
	finds("cluster", "no_quorum", "restart them all");
}

/* A cluster that was never opened misses no quorum. */
Test(ctl_doctor, never_opened)
{
	all_offer();
	for (int i = 0; i < 3; i++)
		set(at(i, "cluster", "anchor"), "generation", json_integer(0));
	set(json_object_get(json_object_get(fleet, "chain"), "point"),
	    "generation", json_integer(0));
	finds_not("cluster", "no_quorum");
}

/* ---- nothing is wrong ---- */

Test(ctl_doctor, healthy)
{
	json_t *found = doctor_examine(fleet);
	char *all = json_dumps(found, JSON_INDENT(1)), *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(json_array_size(found), 0, "%s", all);
	doctor_print(f, fleet, found);
	(void)fclose(f);
	cr_assert_not_null(strstr(text, "3 ready; leader kms0"), "%s", text);
	cr_assert_not_null(strstr(text, "nothing is wrong"));
	free(text);
	free(all);
	json_decref(found);
}

/* ---- the table ---- */

static void
cell(const json_t *r, const char *key, const char *want)
{
	char *got =
	    json_dumps(json_object_get(r, key), JSON_ENCODE_ANY | JSON_COMPACT);

	cr_assert_str_eq(got, want, "%s: %s", key, got);
	free(got);
}

Test(ctl_doctor, table)
{
	json_t *found, *rows;
	const json_t *r;

	down(2);
	set(row_of(0, 2), "match", json_integer(90));
	found = doctor_examine(fleet);
	rows = fleet_table(fleet, found);
	cr_assert_eq(json_array_size(rows), 3);
	r = json_array_get(rows, 0);
	cell(r, "role", "\"leader\"");
	cell(r, "incarnation", "\"aaaaaaaa\"");
	cell(r, "term", "\"2.7\"");
	cell(r, "lag", "0");
	cell(r, "evidence_s", "40");
	cell(r, "anchor", "\"2.60\"");
	cell(r, "trouble", "[]");
	/* Of who is down, what the leader knows. */
	r = json_array_get(rows, 2);
	cell(r, "phase", "\"down\"");
	cell(r, "last", "90");
	cell(r, "lag", "10");
	cell(r, "commit", "null");
	cell(r, "trouble", "[\"down\"]");
	json_decref(rows);
	/* Who was not asked is there, too. */
	cr_assert_eq(json_array_remove(json_object_get(fleet, "nodes"), 2), 0);
	rows = fleet_table(fleet, found);
	cr_assert_eq(json_array_size(rows), 3);
	cell(json_array_get(rows, 2), "phase", "\"not asked\"");
	cell(json_array_get(rows, 2), "node", "\"kms2\"");
	json_decref(rows);
	json_decref(found);
}

/* ---- the lease ---- */

static void
lease(int i, int left_s, int releases, const char *error)
{
	(void)json_object_set_new(at(i, "cluster", ""), "lease",
	    json_pack("{s:b, s:i, s:i, s:i, s:i, s:s?, s:s}", "good",
		left_s > 0 && releases < 100, "left_s", left_s, "lease_s", 900,
		"releases", releases, "max_releases", 100, "error", error,
		"why", "drawn long ago"));
}

/* Who checks in, and is renewed, is well. */
Test(ctl_doctor, lease_good)
{
	for (int i = 0; i < 3; i++)
		lease(i, 880, 99, NULL);
	for (int i = 0; i < 3; i++)
		finds_not(i == 0 ? "kms0" : i == 1 ? "kms1" : "kms2", "lease");
}

/* One that is not renewed while others are is blind, or cut off. */
Test(ctl_doctor, lease_blind)
{
	lease(0, 880, 0, NULL);
	lease(1, -5, 0, NULL);
	lease(2, 880, 0, NULL);
	finds("kms1", "lease", "old chain");
	finds_not("kms0", "lease");
	lease(1, 400, 0, NULL);
	finds("kms1", "lease", "goes on by itself");
}

/* Nobody is: the account, the chain. */
Test(ctl_doctor, lease_unpaid)
{
	for (int i = 0; i < 3; i++)
		lease(i, -5, 0, "chain_unreachable");
	finds("kms1", "lease", "ether");
	for (int i = 0; i < 3; i++)
		lease(i, 400, 0, NULL);
	finds("kms2", "lease", "is there a leader");
}

/* As many releases as may be. */
Test(ctl_doctor, lease_used_up)
{
	for (int i = 0; i < 3; i++)
		lease(i, 800, 50, NULL);
	lease(2, 800, 100, NULL);
	finds("kms2", "lease", "max_releases");
	finds_not("kms0", "lease");
}

/* One alone gives keys without; nobody needs one: nothing to say. */
Test(ctl_doctor, lease_missing)
{
	lease(0, 800, 0, NULL);
	lease(1, 800, 0, NULL);
	finds("kms2", "lease", "the same checkin section");
	finds_not("kms0", "lease");
}

/* A node that waits for its first one says that, and not two things. */
Test(ctl_doctor, lease_awaited)
{
	lease(0, 800, 0, NULL);
	lease(1, 0, 0, NULL);
	lease(2, 800, 0, NULL);
	set(at(1, "", ""), "phase", json_string("checkin"));
	finds("kms1", "lease", "old chain");
	finds_not("kms1", "not_ready");
}
