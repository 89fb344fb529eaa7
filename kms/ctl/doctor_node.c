/* What a node's own word shows. */
#include <string.h>

#include "kms/ctl/doctor.h"

#define STALE_S 120 /* a head older than this, though nothing complains */
#define AHEAD_S 15 /* a block from the future: this clock is behind */
#define WHERE_MAX 256

static bool
is(const json_t *obj, const char *key, const char *word)
{
	return strcmp(fleet_str(obj, key), word) == 0;
}

/* Whether the chain, if it was read, has no seat for it. */
static bool
seatless(const struct doctor *d, const char *name)
{
	const json_t *seats = json_object_get(
			 json_object_get(d->fleet, "chain"), "seats"),
		     *s;
	size_t i;

	json_array_foreach(seats, i, s)
	{
		if (json_is_string(s) &&
		    strcmp(json_string_value(s), name) == 0)
			return false;
	}
	return json_array_size(seats) > 0;
}

static void
not_there(struct doctor *d, const json_t *n, const char *name)
{
	const char *lab = fleet_str(d->fleet, "lab");

	/* Nobody expects it. */
	if (!fleet_is(n, "listed") || (lab[0] != '\0' && seatless(d, name)))
		return;
	doctor_say(d, true, name, "down", "%s does not answer: %s",
	    fleet_str(n, "admin"), fleet_str(n, "error"));
	if (lab[0] != '\0')
		doctor_do(d, "kmsctl sim start %s %s", lab, name);
	else
		doctor_do(d,
		    "look at that machine; start kmsd there, or check that "
		    "this is its admin address");
}

/* ---- who it is, and whether it may ---- */

/* The contract's words, the list behind them, what belongs on it. */
static const struct {
	enum reason reason;
	const char *command, *member, *list;
} lists[] = {
	{ REASON_CONTRACT_OS_IMAGE, "allow-image", "os_image_hash",
	    "OS images" },
	{ REASON_CONTRACT_MR, "allow-mr", "mr_aggregated", "KMS measurements" },
	{ REASON_CONTRACT_KMS_DEVICE, "allow-device", "device_id",
	    "KMS machines" },
};

static void
denied(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *self = json_object_get(s, "self");
	const char *why = fleet_str(self, "reason");
	char where[WHERE_MAX];

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		if (strstr(why, reason_text(lists[i].reason)) == NULL)
			continue;
		doctor_say(d, true, name, "self_denied",
		    "the KMS contract does not allow this node: its list of "
		    "%s lacks it",
		    lists[i].list);
		doctor_do(d, "kmsctl kms %s 0x%s %s", lists[i].command,
		    fleet_str(self, lists[i].member),
		    doctor_where(d, false, where, sizeof where));
		return;
	}
	doctor_say(d, true, name, "self_denied",
	    "the KMS contract does not allow this node: %s (TCB %s)", why,
	    fleet_str(self, "tcb_status"));
	doctor_do(d,
	    "see what the contract demands (kmsctl kms info); an old TCB needs "
	    "firmware updates of that machine");
}

static void
identity(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *self = json_object_get(s, "self");
	const json_t *allowed = json_object_get(self, "allowed");

	if (json_is_false(allowed) ||
	    fleet_is(json_object_get(s, "cluster"), "self_denied")) {
		denied(d, s, name);
	} else if (fleet_str(self, "reason")[0] != '\0' &&
	    !json_is_true(allowed) &&
	    fleet_str(json_object_get(s, "chain"), "error")[0] == '\0') {
		doctor_say(d, true, name, "self_evidence",
		    "this node cannot show what it is: %s",
		    fleet_str(self, "reason"));
		doctor_do(d,
		    "check its PCCS (attestation.pccs_url), its OS image and "
		    "its TCB");
	}
}

static void
seat(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *c = json_object_get(s, "cluster");
	const char *slot = fleet_str(s, "slot");
	const json_t *own = fleet_row(s, slot);
	bool other = is(json_object_get(c, "waiting"), "reason", "seat");
	char where[WHERE_MAX];

	if (fleet_num(json_object_get(c, "anchor"), "generation") == 0 ||
	    own == NULL || (fleet_is(own, "seated") && !other))
		return;
	doctor_say(d, true, name, "seat_missing",
	    other && fleet_is(own, "seated")
		? "the seat of slot %s is another machine's"
		: "the anchor has no seat for slot %s",
	    slot);
	doctor_do(d, "kmsctl anchor seat set %s 0x%s %s", slot,
	    fleet_str(own, "device_id"),
	    doctor_where(d, true, where, sizeof where));
}

/* ---- the chain as it sees it ---- */

static const struct {
	const char *label, *what, *help;
} chain_errors[] = {
	{ "chain_unreachable", "no quorum of its chain endpoints answers",
	    "check chain.rpc in its kmsd.yaml, and its network" },
	{ "chain_stale", "the newest final block is too old",
	    "does the chain move, and is this machine's clock right?  else "
	    "take other endpoints" },
	{ "chain_disagree", "its chain endpoints tell different stories",
	    "find the endpoint that is wrong, and replace it" },
	{ "chain_backwards",
	    "an endpoint denies a block that this cluster has seen",
	    "that endpoint is behind, or on a fork: replace it" },
	{ "chain_wrong", "an endpoint is on another chain",
	    "correct chain.rpc or chain.chain_id in its kmsd.yaml" },
	{ "chain_answer", "an endpoint answers what cannot be",
	    "is chain.kms_contract right, and is the contract there?" },
};

static void
chain(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *v = json_object_get(s, "chain");
	const char *error = fleet_str(v, "error");
	json_int_t age = fleet_num(v, "block_age_s");

	for (size_t i = 0; i < sizeof chain_errors / sizeof chain_errors[0];
	     i++) {
		if (strcmp(error, chain_errors[i].label) != 0)
			continue;
		doctor_say(d, true, name, error, "%s", chain_errors[i].what);
		doctor_do(d, "%s", chain_errors[i].help);
		return;
	}
	if (error[0] != '\0') {
		doctor_say(
		    d, true, name, "chain", "cannot read the chain: %s", error);
	} else if (age < -AHEAD_S) {
		doctor_say(d, true, name, "clock",
		    "the newest block is %lld s in its future: its clock is "
		    "behind",
		    (long long)-age);
		doctor_do(d, "set that machine's clock (NTP)");
	} else if (age > STALE_S) {
		doctor_say(d, false, name, "chain_old",
		    "the block at which it asks is %lld s old", (long long)age);
		doctor_do(
		    d, "does the chain move?  is the machine's clock ahead?");
	}
}

static void
fence(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *c = json_object_get(s, "cluster");
	const json_t *a = json_object_get(c, "anchor");

	if (!fleet_is(c, "fenced") || fleet_num(a, "generation") == 0 ||
	    is(s, "phase", "starting"))
		return;
	if (fleet_str(a, "error")[0] == '\0') {
		doctor_say(d, true, name, "fenced",
		    "it serves nothing: a recovery was announced that may open "
		    "at any moment (anchor read %lld ms ago)",
		    (long long)fleet_num(a, "age_ms"));
		doctor_do(d,
		    "if this cluster lives, its veto ends that; see `kmsctl "
		    "anchor status`");
		return;
	}
	doctor_say(d, true, name, "fenced",
	    "it serves nothing: it has not read the anchor for %lld ms (%s)",
	    (long long)fleet_num(a, "age_ms"), fleet_str(a, "error"));
	doctor_do(d,
	    "bring back its chain endpoints (chain.rpc); it goes on by itself");
}

/* ---- its disk, its part in the cluster ---- */

static void
disk(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *v =
	    json_object_get(json_object_get(s, "cluster"), "disk");
	const json_t *t = json_object_get(v, "trouble");

	if (fleet_is(v, "failed")) {
		doctor_say(d, true, name, "disk_failed",
		    "its disk cannot be written, so it takes no part: %s",
		    fleet_str(t, "detail"));
		doctor_do(d,
		    "free or replace the disk of %s: it looks again every ten "
		    "seconds",
		    name);
	} else if (json_is_object(t)) {
		doctor_say(d, !is(s, "phase", "ready"), name, "disk_refused",
		    "what its disk had was refused at start and wiped: %s "
		    "(%s: %s)",
		    fleet_str(t, "text"), fleet_str(t, "reason"),
		    fleet_str(t, "detail"));
		doctor_do(d,
		    "the log comes again from the others; if nobody restored "
		    "this disk on purpose, ask who runs its host");
	}
}

/* Why it waits, where no other check has a name for it. */
static void
waiting(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *w =
	    json_object_get(json_object_get(s, "cluster"), "waiting");
	const char *reason = fleet_str(w, "reason");

	if (!json_is_object(w) || is(s, "phase", "ready") ||
	    strcmp(reason, "seat") == 0 || strcmp(reason, "self_denied") == 0)
		return;
	doctor_say(d, strcmp(reason, "rollback") == 0, name, reason,
	    "is %s: %s (%s)", fleet_str(s, "phase"), fleet_str(w, "text"),
	    fleet_str(w, "detail"));
	if (strcmp(reason, "slot_alive") == 0)
		doctor_do(d,
		    "stop the other process of slot %s; if it has just ended, "
		    "this passes in seconds",
		    fleet_str(s, "slot"));
	else if (strcmp(reason, "rollback") == 0)
		doctor_do(d,
		    "this disk is an old copy: it cannot recover the cluster, "
		    "but a living cluster takes the node in as a new one");
}

static void
phase(struct doctor *d, const json_t *s, const char *name, const char *admin)
{
	if (is(s, "phase", "halted")) {
		doctor_say(d, true, name, "halted",
		    "this life is over: it was replaced, removed, or the "
		    "cluster went on without it");
		doctor_do(d, "start it again: it comes back as a new life");
	} else if (is(s, "phase", "genesis")) {
		doctor_say(d, true, name, "genesis",
		    "it made roots that the contracts do not name yet");
		doctor_do(d, "kmsctl genesis publish --node %s", admin);
	} else if (!is(s, "phase", "ready") &&
	    !doctor_has(d, name, "self_denied") &&
	    !doctor_has(d, name, "lease") &&
	    !json_is_object(
		json_object_get(json_object_get(s, "cluster"), "waiting"))) {
		doctor_say(d, false, name, "not_ready", "is %s, not ready yet",
		    fleet_str(s, "phase"));
	}
}

static void
freshness(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *c = json_object_get(s, "cluster");

	if (!is(s, "phase", "ready") || fleet_is(c, "fresh") ||
	    fleet_is(c, "fenced"))
		return;
	doctor_say(d, true, name, "not_fresh",
	    "it answers nobody: no quorum has confirmed it for %lld ms",
	    (long long)fleet_num(c, "confirmed_age_ms"));
	doctor_do(d, "can it reach the other nodes?  are enough of them up?");
}

/* A link that is broken because its other end is down says nothing new. */
static void
links(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(s, "peers"), i, p)
	{
		const char *slot = fleet_str(p, "slot");
		const char *error = fleet_str(p, "error");

		if (fleet_is(p, "connected") ||
		    (slot[0] != '\0' &&
			(doctor_has(d, slot, "down") || seatless(d, slot))))
			continue;
		doctor_say(d, false, name, "link",
		    "no link to %s%s%s%s: %s (%s)", fleet_str(p, "url"),
		    slot[0] != '\0' ? " (" : "", slot,
		    slot[0] != '\0' ? ")" : "",
		    error[0] != '\0' ? reason_text(reason_from_label(error))
				     : "not connected yet",
		    error[0] != '\0' ? error : "-");
		doctor_do(d,
		    "is that address right (peers in kmsd.yaml), the network "
		    "open, and that node allowed?");
	}
}

/* ---- its process ---- */

static void
hardening(struct doctor *d, const json_t *s, const char *name)
{
	const json_t *h = json_object_get(s, "hardening");

	/* Of another version: it does not say. */
	if (!json_is_object(h))
		return;
	if (!is(h, "seccomp", "enforce")) {
		doctor_say(d, false, name, "seccomp",
		    "its system calls are not confined (process.seccomp: %s)",
		    fleet_str(h, "seccomp"));
		doctor_do(d,
		    "remove process.seccomp from its kmsd.yaml, or take a "
		    "build without a sanitizer, and start it again");
	}
	if (!fleet_is(h, "no_new_privs") || fleet_is(h, "capabilities") ||
	    fleet_is(h, "dumpable")) {
		doctor_say(d, false, name, "privileges",
		    "its process has rights that it does not need:%s%s%s",
		    fleet_is(h, "capabilities") ? " capabilities;" : "",
		    fleet_is(h, "no_new_privs") ? "" : " new privileges;",
		    fleet_is(h, "dumpable") ? " it can be dumped;" : "");
		doctor_do(d, "is that our kmsd?  compare its OS image");
	}
	if (!fleet_is(h, "memory_locked")) {
		doctor_say(d, false, name, "memory_not_locked",
		    "it cannot lock memory: keys may be written to swap");
		doctor_do(d,
		    "raise LimitMEMLOCK of its unit (64 MiB at least), or turn "
		    "swap off");
	}
}

void
doctor_node(struct doctor *d, const json_t *n)
{
	const json_t *s = json_object_get(n, "status");
	const char *name = fleet_str(n, "name");

	if (!json_is_object(s)) {
		not_there(d, n, name);
		return;
	}
	chain(d, s, name);
	identity(d, s, name);
	seat(d, s, name);
	fence(d, s, name);
	disk(d, s, name);
	waiting(d, s, name);
	phase(d, s, name, fleet_str(n, "admin"));
	freshness(d, s, name);
	hardening(d, s, name);
}

void
doctor_links(struct doctor *d, const json_t *n)
{
	const json_t *s = json_object_get(n, "status");

	if (json_is_object(s))
		links(d, s, fleet_str(n, "name"));
}
