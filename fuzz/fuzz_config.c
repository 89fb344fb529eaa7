/* fuzz_config: the files that an operator writes.
 *
 * Targets: kmsd_config_parse, config_parse (the agent's), quotepolicy_parse,
 * yaml_parse and libcyaml below them.  The first byte chooses.
 *
 * Asserted: a refusal says why and changes nothing; what is accepted is within
 * its bounds and can be printed, and the agent's, printed and read again, is
 * the same. */
#include <string.h>

#include "fuzz/must.h"
#include "kms/ctl/quotepolicy.h"
#include "kms/service/kmsd_config.h"
#include "node/agent/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
ends(const char *s, size_t cap)
{
	return memchr(s, 0, cap) != NULL;
}

/* One line of words, if it was refused; nothing was written then. */
static bool
accepted(enum err e, const char *why, const void *out, size_t len)
{
	const uint8_t *p = out;

	if (e == ERR_OK)
		return true;
	must(e == ERR_CONFIG && why[0] != '\0' && ends(why, YAML_WHY_MAX));
	for (size_t i = 0; i < len; i++)
		must(p[i] == 0x5a);
	return false;
}

static bool
is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static void
check_kmsd(const struct kmsd_config *c)
{
	struct buf b = { 0 };

	must(c->slot[0] != '\0' && strlen(c->slot) < 32);
	must(strncmp(c->listen, "tcp://", 6) == 0);
	must(ends(c->listen, sizeof c->listen));
	must(ends(c->data_dir, sizeof c->data_dir));
	must(c->n_peers <= KMSD_PEERS && c->n_rpcs <= KMSD_RPCS);
	must(
	    c->n_rpcs >= 1 && c->rpc_quorum >= 1 && c->rpc_quorum <= c->n_rpcs);
	must(c->chain_id != 0 && !is_zero(c->anchor_contract, 20));
	must(!c->has_registry || !is_zero(c->registry_contract, 20));
	must(!c->has_checkin || !is_zero(c->checkin_contract, 20));
	must(c->n_codes <= STANDARD_CODES_MAX &&
	    (c->chain_proof || c->n_codes == 0));
	must(c->n_pccs >= 1 && c->n_pccs <= KMSD_PCCS);
	must(c->max_ahead_s <= 60 || c->simulated);
	must(!c->policy.status[TCB_REVOKED]);
	must(c->policy.allow_simulated == (c->simulated_root[0] != '\0'));
	must(kmsd_config_print(&b, c) == ERR_OK && b.len > 0);
	buf_fini(&b);
}

static void
try_kmsd(struct bytes in)
{
	static struct kmsd_config c;
	char why[YAML_WHY_MAX];

	memset(&c, 0x5a, sizeof c);
	if (accepted(kmsd_config_parse(&c, in, why), why, &c, sizeof c))
		check_kmsd(&c);
}

static void
try_agent(struct bytes in)
{
	static struct agent_config c, again;
	char why[CONFIG_WHY_MAX > YAML_WHY_MAX ? CONFIG_WHY_MAX : YAML_WHY_MAX];
	struct buf b = { 0 }, b2 = { 0 };

	memset(&c, 0x5a, sizeof c);
	if (!accepted(config_parse(&c, in, why), why, &c, sizeof c))
		return;
	must(c.n_kms_urls <= CONFIG_KMS_URLS && c.n_kms_mrs <= CONFIG_MR_PINS);
	must(c.n_anchor_signers <= CONFIG_SIGNERS);
	must(config_print(&b, &c) == ERR_OK);
	must(config_parse(&again, buf_view(&b), why) == ERR_OK);
	must(config_print(&b2, &again) == ERR_OK);
	must(b.len == b2.len && memcmp(b.p, b2.p, b.len) == 0);
	buf_fini(&b);
	buf_fini(&b2);
}

static void
try_policy(struct bytes in)
{
	static struct attest_policy p;
	char why[YAML_WHY_MAX];

	memset(&p, 0x5a, sizeof p);
	if (!accepted(quotepolicy_parse(&p, in, why), why, &p, sizeof p))
		return;
	must(!p.status[TCB_REVOKED]);
	for (int tee = TEE_TDX; tee <= TEE_SGX; tee++)
		json_decref(quotepolicy_json(&p, (enum tee_kind)tee));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data + 1, size - 1 };

	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		try_kmsd(in);
		break;
	case 1:
		try_agent(in);
		break;
	case 2:
		try_policy(in);
		break;
	}
	return 0;
}
