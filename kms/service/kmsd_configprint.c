#include <inttypes.h>

#include "common/base/hex.h"
#include "kms/service/kmsd_config.h"

static enum err
print_mode(struct buf *b, const struct kmsd_config *c)
{
	char hex[65];
	enum err e = buf_printf(
	    b, "chain.mode: %s\n", c->chain_proof ? "proof" : "quorum");

	if (e == ERR_OK && c->chain_proof && c->n_codes == 0)
		e = buf_printf(b, "chain.code_hashes: any\n");
	for (unsigned i = 0; e == ERR_OK && i < c->n_codes; i++)
		e = buf_printf(b, "chain.code_hashes: %s:0x%s\n",
		    standard_role_text(c->code[i].role),
		    hex_encode(hex, c->code[i].hash, 32));
	return e;
}

enum err
kmsd_config_print(struct buf *b, const struct kmsd_config *c)
{
	char hex[41], anchor[41];
	enum err e;

	hex_encode(hex, c->kms_contract, 20);
	hex_encode(anchor, c->anchor_contract, 20);
	e = buf_printf(b,
	    "slot: %s\nlisten: %s\nadmin: %s:%u\ndata_dir: %s\n"
	    "seal: %s\ngenesis: %s\nsnapshot_every: %u\n"
	    "chain.chain_id: %" PRIu64 "\n"
	    "chain.kms_contract: 0x%s\nchain.anchor_contract: 0x%s\n"
	    "chain.quorum: %u of %u\n"
	    "chain.block_tag: %s\nchain.max_age_s: %u\n"
	    "chain.max_ahead_s: %u\n"
	    "chain.fence_s: %u\nchain.poll_ms: %u\n"
	    "chain.timeout_ms: %u\ntee.simulated: %s\n"
	    "attestation.pccs_url: %s\n"
	    "attestation.insecure_simulated_root: %s\n"
	    "attestation.evidence_life_s: %u\nattestation.grace_s: %" PRId64
	    "\nattestation.min_tcb_eval: %" PRIu32
	    "\nattestation.min_qe_eval: %" PRIu32 "\n",
	    c->slot, c->listen, c->admin_host, c->admin_port, c->data_dir,
	    c->seal ? "true" : "false", c->genesis ? "true" : "false",
	    c->snapshot_every, c->chain_id, hex, anchor, c->rpc_quorum,
	    c->n_rpcs, c->block_tag, c->max_age_s, c->max_ahead_s, c->fence_s,
	    c->poll_ms, c->rpc_timeout_ms, c->simulated ? "true" : "false",
	    c->pccs_url[0],
	    c->simulated_root[0] != '\0' ? c->simulated_root : "none",
	    c->evidence_life_s, c->policy.grace_s, c->policy.min_tcb_eval,
	    c->policy.min_qe_eval);
	if (e == ERR_OK)
		e = buf_printf(b, "chain.registry_contract: %s%s\n",
		    c->has_registry ? "0x" : "",
		    c->has_registry ? hex_encode(hex, c->registry_contract, 20)
				    : "none");
	if (e == ERR_OK && c->public_host[0] == '\0')
		e = buf_printf(b, "public.listen: off\n");
	else if (e == ERR_OK)
		e = buf_printf(b, "public.listen: %s:%u\n", c->public_host,
		    c->public_port);
	if (e == ERR_OK)
		e = harden_print(b, &c->process);
	if (e == ERR_OK)
		e = buf_printf(b,
		    "limits.handshakes_per_source: %u\n"
		    "limits.sessions_per_source: %u\n"
		    "limits.sessions_per_device: %u\n"
		    "limits.requests_per_session: %u\n",
		    c->limits.handshakes_per_source,
		    c->limits.max_sessions_per_source,
		    c->limits.max_sessions_per_device,
		    c->limits.requests_per_session);
	if (e == ERR_OK)
		e = print_mode(b, c);
	if (e == ERR_OK && !c->has_checkin)
		e = buf_printf(b, "checkin.contract: none\n");
	else if (e == ERR_OK)
		e = buf_printf(b,
		    "checkin.contract: 0x%s\ncheckin.period_s: %u\n"
		    "checkin.lease_s: %u\ncheckin.max_releases: %" PRIu64 "\n",
		    hex_encode(hex, c->checkin_contract, 20),
		    c->checkin_period_s, c->checkin_lease_s,
		    c->checkin_max_releases);
	for (unsigned i = 0; e == ERR_OK && i < c->n_peers; i++)
		e = buf_printf(b, "peer: %s\n", c->peer[i]);
	for (unsigned i = 0; e == ERR_OK && i < c->n_rpcs; i++)
		e = buf_printf(b, "chain.rpc: %s\n", c->rpc[i]);
	for (unsigned i = 1; e == ERR_OK && i < c->n_pccs; i++)
		e = buf_printf(
		    b, "attestation.pccs_more: %s\n", c->pccs_url[i]);
	for (unsigned i = 0; e == ERR_OK && i < c->policy.n_advisories; i++)
		e = buf_printf(b, "attestation.allow_advisory: %s\n",
		    c->policy.advisory[i]);
	if (e == ERR_OK && c->policy.n_ppids == 0)
		e = buf_printf(b, "attestation.allow_ppid: any\n");
	for (unsigned i = 0; e == ERR_OK && i < c->policy.n_ppids; i++)
		e = buf_printf(b, "attestation.allow_ppid: %s\n",
		    hex_encode(hex, c->policy.ppid[i], 16));
	for (unsigned i = 0; e == ERR_OK && i < TCB_STATUS_COUNT; i++)
		if (c->policy.status[i])
			e = buf_printf(b, "attestation.allow_status: %s\n",
			    tcb_status_text((enum tcb_status)i));
	return e;
}
