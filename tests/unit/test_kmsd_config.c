#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "kms/service/kmsd_config.h"
#include "tests/lib/tmpdir.h"

static char *dir;
static char path[600];
static struct buf good;

static void
setup(void)
{
	dir = tmpdir_new();
	cr_assert_eq(file_join(path, sizeof path, dir, "k.yaml"), ERR_OK);
	cr_assert_eq(file_read(&good, "deploy/kmsd.yaml", 1u << 16), ERR_OK);
}

static void
teardown(void)
{
	buf_fini(&good);
	tmpdir_remove(dir);
}

TestSuite(kmsd_config, .init = setup, .fini = teardown, .timeout = 60);

/* Loads the example with one text replaced by another. */
static enum err
load_with(struct kmsd_config *c, const char *from, const char *to, char *why)
{
	struct buf b = { 0 };
	const char *text = (const char *)good.p;
	const char *at = strstr(text, from);
	enum err e;

	cr_assert_not_null(at, "%s", from);
	cr_assert_eq(buf_printf(&b, "%.*s%s%s", (int)(at - text), text, to,
			 at + strlen(from)),
	    ERR_OK);
	cr_assert_eq(file_write(path, b.p, b.len, 0600), ERR_OK);
	e = kmsd_config_load(c, path, why);
	buf_fini(&b);
	return e;
}

#define PPID_31 "0112233445566778899aabbccddeeff"
#define PPID "0" PPID_31
#define PPID_UPPER "00112233445566778899AABBCCDDEEFF"
#define REGISTRY \
	"# registry_contract: \"0x0000000000000000000000000000000000000003\""
#define PPIDS "# allow_ppid: [\"" PPID "\"]"

#define HASH "00000000000000000000000000000000000000000000000000000000000000a1"

/* Every bad value is refused with words that name the key or the line. */
Test(kmsd_config, refusals)
{
	static const struct {
		const char *from, *to, *named;
	} bad[] = {
		{ "slot: kms0", "slot: 'a b'", "slot" },
		{ "slot: kms0", "slot: 'a/b'", "slot" },
		{ "slot: kms0", "slot: 'a#b'", "slot" },
		{ "slot: kms0", "slot: \"a\\tb\"", "slot" },
		{ "slot: kms0", "slot: 'k\u00e9'", "slot" },
		{ "slot: kms0", "slot: ''", "slot" },
		{ "slot: kms0", "slot: '12345678901234567890123456789012'",
		    "slot" },
		{ "slot: kms0", "slto: kms0", "slto" },
		{ "listen: tcp://0.0.0.0:7100", "listen: 7100", "listen" },
		{ "admin: 127.0.0.1:7101", "admin: localhost", "admin" },
		{ "admin: 127.0.0.1:7101", "admin: 127.0.0.1:70000", "admin" },
		{ "genesis: false", "genesis: maybe", "genesis" },
		{ "log_level: info", "public: { listen: 8000 }", "public" },
		{ "log_level: info", "public: { listen: '' }", "listen" },
		{ "log_level: info", "public: {}", "listen" },
		{ "log_level: info", "limits: { sessions: 1 }", "sessions" },
		{ "log_level: info", "limits: { handshakes_per_source: -1 }",
		    "handshakes_per_source" },
		{ "log_level: info",
		    "limits: { handshakes_per_source: 100001 }",
		    "limits.handshakes_per_source" },
		{ "log_level: info", "limits: { sessions_per_source: 1025 }",
		    "limits.sessions_per_source" },
		{ "log_level: info", "limits: { sessions_per_device: 1025 }",
		    "limits.sessions_per_device" },
		{ "log_level: info", "limits: { requests_per_session: 100001 }",
		    "limits.requests_per_session" },
		{ "log_level: info", "public: { listen: '1.2.3.4:99999' }",
		    "public" },
		{ "log_level: info", "public: { listen: '1.2.3.4:1', x: 1 }",
		    "x" },
		{ "quorum: 2", "quorum: 4", "quorum" },
		{ "chain_id: 1", "chain_id: 0", "chain_id" },
		{ "https://rpc-b.example", "https://rpc-a.example", "rpc" },
		{ "https://rpc-b.example", "ftp://rpc-b.example", "rpc" },
		{ "0x0000000000000000000000000000000000000001", "0x01",
		    "kms_contract" },
		{ "0x0000000000000000000000000000000000000002", "0x02",
		    "anchor_contract" },
		{ "0x0000000000000000000000000000000000000002",
		    "0x0000000000000000000000000000000000000000",
		    "anchor_contract" },
		{ "  anchor_contract: "
		  "\"0x0000000000000000000000000000000000000002\"\n",
		    "", "anchor_contract" },
		{ REGISTRY, "registry_contract: '0x03'", "registry_contract" },
		{ REGISTRY, "registry_contract: ''", "registry_contract" },
		{ REGISTRY,
		    "registry_contract: "
		    "'0x0000000000000000000000000000000000000000'",
		    "registry_contract" },
		{ REGISTRY, "registry: '0x03'", "registry" },
		{ "mode: proof", "mode: both", "chain.mode" },
		{ "mode: proof", "mode: ''", "mode" },
		{ "mode: proof", "code_hashes: ['kms:0x" HASH "']",
		    "goes with" },
		{ "mode: proof", "mode: proof\n  code_hashes: []",
		    "Insufficient entries" },
		{ "mode: proof", "mode: proof\n  code_hashes: ['" HASH "']",
		    "code_hashes" },
		{ "mode: proof",
		    "mode: proof\n  code_hashes: ['kms:0x" HASH "0']",
		    "code_hashes" },
		{ "mode: proof",
		    "mode: proof\n  code_hashes: ['km:0x" HASH "']",
		    "code_hashes" },
		{ "simulated: false", "simulated: true", "tee" },
		{ "poll_ms: 4000", "max_ahead_s: 61", "max_ahead_s" },
		{ "# allow_status: [SWHardeningNeeded]",
		    "allow_status: [Revoked]", "allow_status" },
		{ "# allow_status: [SWHardeningNeeded]", "allow_status: [Fine]",
		    "allow_status" },
		{ PPIDS, "allow_ppid: []", "Insufficient entries" },
		{ PPIDS, "allow_ppid: ['001122']", "allow_ppid" },
		{ PPIDS, "allow_ppid: ['" PPID "00']", "allow_ppid" },
		{ PPIDS, "allow_ppid: ['g" PPID_31 "']", "allow_ppid" },
		{ PPIDS, "allow_ppid: ['" PPID "', '0x" PPID_UPPER "']",
		    "allow_ppid" },
		{ "seccomp: enforce", "seccomp: on", "process.seccomp" },
		{ "seccomp: enforce", "seccomp: ''", "seccomp" },
		{ "seccomp: enforce", "selinux: enforce", "selinux" },
		{ "# group: kmsd ", "group: kmsd ", "process.group" },
		{ "# user: kmsd ", "user: a-name-that-no-user-can-ever-have",
		    "user" },
		{ "log_level: info", "log_level: loud", "log_level" },
		{ "tcp://kms1.example:7100", "http://kms1.example", "peers" },
	};
	static struct kmsd_config c;
	char why[YAML_WHY_MAX];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(load_with(&c, bad[i].from, bad[i].to, why),
		    ERR_CONFIG, "%s", bad[i].to);
		cr_assert_not_null(
		    strstr(why, bad[i].named), "%s: %s", bad[i].to, why);
	}
}

/* The example means what it says; the default policy is the strict one. */
Test(kmsd_config, example)
{
	static struct kmsd_config c;
	char why[YAML_WHY_MAX] = "";
	struct buf b = { 0 };

	cr_assert_eq(
	    kmsd_config_load(&c, "deploy/kmsd.yaml", why), ERR_OK, "%s", why);
	cr_assert_str_eq(c.slot, "kms0");
	cr_assert_eq(c.n_peers, 2);
	cr_assert_eq(c.rpc_quorum, 2);
	cr_assert_eq(c.admin_port, 7101);
	cr_assert_eq(c.kms_contract[19], 1);
	cr_assert_eq(c.anchor_contract[19], 2);
	cr_assert(!c.has_registry);
	cr_assert_eq(c.max_ahead_s, 60);
	cr_assert(!c.simulated);
	cr_assert(!c.policy.allow_simulated);
	cr_assert(c.policy.status[TCB_UP_TO_DATE]);
	cr_assert(!c.policy.status[TCB_OUT_OF_DATE]);
	cr_assert_eq(c.n_pccs, 1);
	cr_assert_eq(c.policy.n_ppids, 0); /* any platform */
	cr_assert_eq(c.process.filter, HARDEN_ENFORCE);
	cr_assert_eq(kmsd_config_print(&b, &c), ERR_OK);
	cr_assert_not_null(strstr((char *)b.p, "process.seccomp: enforce\n"));
	cr_assert_not_null(
	    strstr((char *)b.p, "insecure_simulated_root: none"));
	cr_assert_not_null(
	    strstr((char *)b.p, "attestation.allow_ppid: any\n"));
	cr_assert_not_null(
	    strstr((char *)b.p, "chain.registry_contract: none\n"));
	buf_fini(&b);
}

/* A registry is named, or there is none. */
Test(kmsd_config, registry)
{
	static struct kmsd_config c;
	char why[YAML_WHY_MAX] = "";
	struct buf b = { 0 };

	cr_assert_eq(
	    load_with(&c, REGISTRY, &REGISTRY[2], why), ERR_OK, "%s", why);
	cr_assert(c.has_registry);
	cr_assert_eq(c.registry_contract[19], 3);
	cr_assert_eq(kmsd_config_print(&b, &c), ERR_OK);
	cr_assert_not_null(strstr((char *)b.p,
	    "chain.registry_contract: "
	    "0x0000000000000000000000000000000000000003\n"));
	buf_fini(&b);
}

/* P27: the platforms named are the only ones; --check repeats them. */
Test(kmsd_config, platforms)
{
	static struct kmsd_config c;
	char why[YAML_WHY_MAX] = "";
	struct verdict v = { .tee = TEE_TDX, .status = TCB_UP_TO_DATE };
	struct refusal r = { 0 };
	struct buf b = { 0 };

	cr_assert_eq(load_with(&c, PPIDS,
			 "allow_ppid: [ffffffffffffffffffffffffffffffff,"
			 " '0x" PPID_UPPER "']",
			 why),
	    ERR_OK, "%s", why);
	cr_assert_eq(c.policy.n_ppids, 2);
	v.td.td_attributes[3] = 0x10; /* SEPT_VE_DISABLE */
	v.td.xfam[0] = 0x03;
	cr_assert_eq(verdict_accept(&v, &c.policy, &r), ERR_DENIED);
	cr_assert_eq(r.code, REASON_PLATFORM);
	cr_assert_str_eq(r.detail,
	    "POLICY_PLATFORM: PPID 00000000000000000000000000000000 is not "
	    "listed");
	for (int i = 0; i < 16; i++)
		v.ppid[i] = (uint8_t)(i * 0x11);
	cr_assert_eq(verdict_accept(&v, &c.policy, &r), ERR_OK, "%s", r.detail);
	cr_assert_eq(kmsd_config_print(&b, &c), ERR_OK);
	cr_assert_not_null(
	    strstr((char *)b.p, "attestation.allow_ppid: " PPID "\n"));
	buf_fini(&b);
}

/* A seat's name may be anything that fits one word on chain. */
Test(kmsd_config, slot)
{
	static struct kmsd_config c;
	char why[YAML_WHY_MAX] = "";

	cr_assert_eq(load_with(&c, "slot: kms0",
			 "slot: 'eu:west~1!890123456789012345678'", why),
	    ERR_OK, "%s", why);
	cr_assert_str_eq(c.slot, "eu:west~1!890123456789012345678");
	cr_assert_eq(strlen(c.slot), 31);
}

/* Policy keys arrive where they are judged. */
Test(kmsd_config, policy)
{
	static struct kmsd_config c;
	char why[YAML_WHY_MAX] = "";

	cr_assert_eq(load_with(&c, "grace_s: 0",
			 "grace_s: 86400\n  allow_status: [OutOfDate]\n"
			 "  pccs_more: ['https://b.example']",
			 why),
	    ERR_OK, "%s", why);
	cr_assert_eq(c.policy.grace_s, 86400);
	cr_assert(c.policy.status[TCB_OUT_OF_DATE]);
	cr_assert_eq(c.n_pccs, 2);
	cr_assert_str_eq(c.pccs_url[1], "https://b.example");
}

/* Without a mode it is a quorum's; code is of one role each. */
Test(kmsd_config, chain_mode)
{
	static struct kmsd_config c;
	struct buf shown = { 0 };
	char why[YAML_WHY_MAX];

	cr_assert_eq(
	    load_with(&c, "  mode: proof", "", why), ERR_OK, "%s", why);
	cr_assert(!c.chain_proof);
	cr_assert_eq(load_with(&c, "mode: proof",
			 "mode: proof\n  code_hashes: ['proxy:" HASH
			 "', 'kms:0x" HASH "', 'app:0x" HASH "']",
			 why),
	    ERR_OK, "%s", why);
	cr_assert(c.chain_proof);
	cr_assert_eq(c.n_codes, 3);
	cr_assert_eq(c.code[0].role, STANDARD_PROXY);
	cr_assert_eq(c.code[1].role, STANDARD_KMS);
	cr_assert_eq(c.code[2].role, STANDARD_APP);
	cr_assert_eq(c.code[2].hash[31], 0xa1);
	cr_assert_eq(kmsd_config_print(&shown, &c), ERR_OK);
	cr_assert_not_null(
	    strstr((char *)shown.p, "chain.code_hashes: app:0x" HASH "\n"));
	cr_assert_not_null(strstr((char *)shown.p, "chain.mode: proof\n"));
	buf_fini(&shown);
}

#define CHECKIN "log_level: info"
#define AT "checkin: {contract: '0x0000000000000000000000000000000000000004'"

/* A lease that could not be renewed in time, or that is for ever, is refused;
 * without the section there is none. */
Test(kmsd_config, checkin)
{
	static const struct {
		const char *to, *named;
	} bad[] = {
		{ "checkin: {contract: '0x04'}", "checkin.contract" },
		{ "checkin: {contract: "
		  "'0x0000000000000000000000000000000000000000'}",
		    "checkin.contract" },
		{ "checkin: {lease_s: 900}", "contract" },
		{ AT ", lease: 900}", "lease" },
		{ AT ", lease_s: 599}", "checkin.lease_s" },
		{ AT ", lease_s: 86401, period_s: 3600}", "checkin.lease_s" },
		{ AT ", lease_s: 4294967295}", "checkin.lease_s" },
		{ AT ", period_s: 4294967295}", "checkin.lease_s" },
		{ AT ", lease_s: 410, period_s: 10}", "checkin.lease_s" },
	};
	static struct kmsd_config c;
	char why[YAML_WHY_MAX] = "";
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(load_with(&c, CHECKIN, bad[i].to, why), ERR_CONFIG,
		    "%s", bad[i].to);
		cr_assert_not_null(
		    strstr(why, bad[i].named), "%s: %s", bad[i].to, why);
	}
	cr_assert_eq(load_with(&c, CHECKIN, "", why), ERR_OK, "%s", why);
	cr_assert(!c.has_checkin);
	cr_assert_eq(kmsd_config_print(&b, &c), ERR_OK);
	cr_assert_not_null(strstr((char *)b.p, "checkin.contract: none\n"));
	buf_fini(&b);
	cr_assert_eq(load_with(&c, CHECKIN, AT "}", why), ERR_OK, "%s", why);
	cr_assert(c.has_checkin);
	cr_assert_eq(c.checkin_contract[19], 4);
	cr_assert_eq(c.checkin_period_s, 300);
	cr_assert_eq(c.checkin_lease_s, 3600);
	cr_assert_eq(c.checkin_max_releases, 100000);
	cr_assert_eq(
	    load_with(&c, CHECKIN,
		AT ", period_s: 10, lease_s: 400, max_releases: 7}", why),
	    ERR_OK, "%s", why);
	cr_assert_eq(c.checkin_lease_s, 400);
	cr_assert_eq(kmsd_config_print(&b, &c), ERR_OK);
	cr_assert_not_null(strstr((char *)b.p,
	    "checkin.contract: 0x0000000000000000000000000000000000000004\n"
	    "checkin.period_s: 10\ncheckin.lease_s: 400\n"
	    "checkin.max_releases: 7\n"));
	buf_fini(&b);
}
