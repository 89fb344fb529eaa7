#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "node/agent/config.h"

#define CONTRACT "0x5fbdb2315678afecb367f032d93f642f64180aa3"
#define KMS_MIN \
	"kms:\n" \
	"  urls: [tcp://127.0.0.1:9000]\n" \
	"  chain_id: 31337\n" \
	"  contract: '" CONTRACT "'\n"
#define MIN "app:\n  compose_file: /a.json\n" KMS_MIN

static enum err
parse(struct agent_config *c, const char *text, char *why)
{
	return config_parse(
	    c, (struct bytes){ (const uint8_t *)text, strlen(text) }, why);
}

static void
refused(const char *text, const char *words)
{
	struct agent_config c = { .n_kms_urls = 77 };
	char why[CONFIG_WHY_MAX];

	cr_assert_eq(parse(&c, text, why), ERR_CONFIG, "%s", text);
	cr_assert_not_null(strstr(why, words), "'%s' lacks '%s'", why, words);
	cr_assert_eq(c.n_kms_urls, 77, "output touched");
}

/* A misspelt key is refused with its name and its line. */
Test(agent_config, unknown_key_names_the_line)
{
	refused(MIN "listen:\n  sockett: /x\n", "sockett");
	refused(MIN "listen:\n  sockett: /x\n", "line: 8");
	refused(MIN "  bogus: 1\n", "bogus (line: 7)");
	refused(MIN "secrets: 1\n", "secrets (line: 7)");
}

/* What the agent cannot do without must be there. */
Test(agent_config, required_keys)
{
	refused(KMS_MIN, "app");
	refused("app:\n  compose_file: /a.json\n", "kms");
	refused("app:\n  state_dir: /x\n" KMS_MIN, "compose_file");
	refused("app:\n  compose_file: /a.json\nkms:\n  urls: []\n"
		"  chain_id: 1\n  contract: '" CONTRACT "'\n",
	    "");
	refused("", "empty");
	refused("app: { compose_file: /a, compose_file: /b }\n" KMS_MIN,
	    "already seen");
}

static const char *const no_address[] = { "8090", ":8090", "0.0.0.0",
	"0.0.0.0:", "0.0.0.0:x", "0.0.0.0:65536", "0.0.0.0:-1", "localhost:1",
	"::1:80", "[::1]", "[::1:80", "[]:1", "[1.2.3.4]:1", "1.2.3:1",
	"0.0.0.0:000080" };

/* Values that do not decode are refused, by key. */
Test(agent_config, bad_values)
{
	refused(MIN "log_level: loud\n", "log_level");
	refused(MIN "process: { seccomp: on }\n", "process.seccomp");
	refused(MIN "process: { group: kms }\n", "process.group");
	refused(MIN "process: { landlock: off }\n", "landlock");
	refused(MIN "listen: { mode: '0999' }\n", "listen.mode");
	refused(MIN "listen: { mode: '7777' }\n", "listen.mode");
	refused(MIN "listen: { socket: /a, tappd_socket: /a }\n",
	    "listen.tappd_socket");
	refused(MIN "listen: { tappd_socket: /var/run/dstack.sock }\n",
	    "listen.tappd_socket");
	for (size_t i = 0; i < sizeof no_address / sizeof *no_address; i++) {
		char text[1000];

		(void)snprintf(text, sizeof text,
		    MIN "listen: { external: '%s' }\n", no_address[i]);
		refused(text, "listen.external");
	}
	refused(MIN "tee: { simulated: true }\n", "sim_host");
	refused(MIN "tee: { sim_host: /x }\n", "simulated");
	refused(MIN "tee: { simulated: perhaps }\n", "perhaps");
	refused("app: { compose_file: /a, id: '0x12' }\n" KMS_MIN, "app.id");
	refused("app: { compose_file: /a }\nkms:\n  urls: ['http://x:1']\n"
		"  chain_id: 1\n  contract: '" CONTRACT "'\n",
	    "kms.urls");
	refused("app: { compose_file: /a }\nkms:\n  urls: ['tcp://x:1']\n"
		"  chain_id: 1\n  contract: '0x00'\n",
	    "kms.contract");
	refused("app: { compose_file: /a }\nkms:\n  urls: ['tcp://x:1']\n"
		"  chain_id: -1\n  contract: '" CONTRACT "'\n",
	    "chain_id");
	refused("app: { compose_file: /a }\n" KMS_MIN "  root: '0x0102'\n",
	    "kms.root");
	refused("app: { compose_file: /a }\n" KMS_MIN
		"  mr_aggregated: ['0xab']\n",
	    "kms.mr_aggregated");
	refused(MIN "  registry: '0x12'\n", "kms.registry");
	refused(MIN "  registry: ''\n", "registry");
	refused(MIN "  anchor_signer: ['0x12']\n", "kms.anchor_signer");
	refused(MIN "  anchor_signer: []\n", "Insufficient entries");
	refused(MIN "  refresh_s: 86401\n", "kms.refresh_s");
	refused(MIN "  refresh_s: -1\n", "refresh_s");
	refused(MIN "  refresh_s: soon\n", "refresh_s");
}

/* Anchors, a second document's worth of junk, and other YAML are refused. */
Test(agent_config, not_this_yaml)
{
	refused("- 1\n- 2\n", "");
	refused("app: &a { compose_file: /a }\nkms: *a\n", "");
	refused(MIN "\t: x\n", "");
	refused("\xff\xfe", "");
}

/* A file without optional keys gets the documented defaults. */
Test(agent_config, defaults)
{
	struct agent_config c;
	char why[CONFIG_WHY_MAX];

	cr_assert_eq(parse(&c, MIN, why), ERR_OK, "%s", why);
	cr_assert_eq(c.socket_mode, 0660);
	cr_assert_str_eq(c.socket, "/var/run/dstack.sock");
	cr_assert_str_eq(c.tappd_socket, "");
	cr_assert_str_eq(c.external_host, "");
	cr_assert_eq(c.n_kms_urls, 1);
	cr_assert_str_eq(c.kms_url[0], "tcp://127.0.0.1:9000");
	cr_assert_eq(c.chain_id, 31337);
	cr_assert_eq(c.kms_contract[0], 0x5f);
	cr_assert_eq(c.kms_root.kind, ROOT_PIN_NONE);
	cr_assert_eq(c.boot_deadline_s, 0);
	cr_assert_eq(c.refresh_s, 10);
	cr_assert(!c.has_registry);
	cr_assert_eq(c.n_anchor_signers, 0);
	cr_assert(!c.simulated && !c.has_app_id);
	cr_assert_str_eq(c.encrypted_env, "");
	cr_assert_str_eq(c.env_dir, c.run_dir);
	cr_assert_eq(c.log_level, LOG_INFO);
	cr_assert_eq(c.process.filter, HARDEN_ENFORCE);
	cr_assert_str_eq(c.process.user, "");
}

/* A printed configuration reads back as the same one. */
Test(agent_config, print_round_trip)
{
	static const char text[] =
	    "tee: { simulated: true, sim_host: /h, sim_image: /i }\n"
	    "app: { compose_file: \"/it's\", id: '" CONTRACT "',"
	    " encrypted_env_file: /e, env_dir: /run/e }\n" KMS_MIN
	    "  root: '" CONTRACT "'\n"
	    "  registry: '" CONTRACT "'\n"
	    "  anchor_signer: ['" CONTRACT "', '" CONTRACT "']\n"
	    "  refresh_s: 0\n"
	    "  mr_aggregated:\n"
	    "    - '0x1111111111111111111111111111111111111111111111111111"
	    "111111111111'\n"
	    "attestation: { insecure_simulated_root: /root.der,"
	    " pccs_url: 'http://127.0.0.1:1' }\n"
	    "listen: { socket: /tmp/s, mode: '0600',"
	    " tappd_socket: /tmp/t, external: '[::1]:8090' }\n"
	    "process: { user: u, group: g, seccomp: log }\n"
	    "log_level: debug\n";
	static struct agent_config a, b;
	struct buf out = { 0 };
	char why[CONFIG_WHY_MAX];

	cr_assert_eq(parse(&a, text, why), ERR_OK, "%s", why);
	cr_assert_eq(config_print(&out, &a), ERR_OK);
	cr_assert_eq(config_parse(&b, buf_view(&out), why), ERR_OK, "%s in %s",
	    why, (char *)out.p);
	cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
	cr_assert_eq(a.kms_root.kind, ROOT_PIN_ADDRESS);
	cr_assert_eq(a.socket_mode, 0600);
	cr_assert_str_eq(a.tappd_socket, "/tmp/t");
	cr_assert_str_eq(a.external_host, "::1");
	cr_assert_eq(a.external_port, 8090);
	cr_assert_eq(a.refresh_s, 0);
	cr_assert_eq(a.process.filter, HARDEN_LOG);
	cr_assert_str_eq(a.process.group, "g");
	cr_assert(a.has_registry);
	cr_assert_eq(a.kms_registry[0], 0x5f);
	cr_assert_eq(a.n_anchor_signers, 2);
	cr_assert_str_eq(a.compose_file, "/it's");
	cr_assert_str_eq(a.encrypted_env, "/e");
	cr_assert_str_eq(a.env_dir, "/run/e");
	cr_assert_eq(
	    parse(&a, MIN "listen: { external: '0.0.0.0:0' }\n", why), ERR_OK);
	cr_assert_str_eq(a.external_host, "0.0.0.0");
	buf_fini(&out);
}
