#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/name.h"
#include "kms/service/kmsd_config.h"
#include "kms/state/command.h"

/* Clocks of validators and of this machine may differ by this much. */
#define AHEAD_MAX_S 60u
/* A lease outlives the time that blocks take to be final, some 15 minutes,
 * and a few batches that were not mined. */
#define CHECKIN_PERIOD_S 300u
#define CHECKIN_LEASE_S 3600u
#define CHECKIN_LEASE_MAX_S 86400u
#define CHECKIN_RELEASES 100000u
/* Periods in a lease: at least, at most (lease.h). */
#define CHECKIN_PERIODS_MIN 2u
#define CHECKIN_PERIODS_MAX 40u

struct file_chain {
	char rpc[KMSD_RPCS][KMSD_URL_MAX];
	unsigned rpc_count;
	uint32_t quorum;
	uint64_t chain_id;
	char kms_contract[48];
	char anchor_contract[48];
	char registry_contract[48];
	char mode[16];
	char code[STANDARD_CODES_MAX][80];
	unsigned code_count;
	char block_tag[32];
	uint32_t max_age_s, max_ahead_s, fence_s, poll_ms, timeout_ms;
};

struct file_checkin {
	char contract[48];
	uint32_t period_s, lease_s, max_releases;
};

struct file_tee {
	enum yaml_bool simulated;
	char sim_host[KMSD_PATH_MAX];
	char sim_image[KMSD_PATH_MAX];
	char app_compose[KMSD_PATH_MAX];
};

struct file_attestation {
	char pccs_url[KMSD_URL_MAX];
	char pccs_more[KMSD_PCCS - 1][KMSD_URL_MAX];
	unsigned pccs_more_count;
	enum yaml_bool pccs_insecure_tls;
	char insecure_simulated_root[KMSD_PATH_MAX];
	char allow_status[KMSD_STATUSES][48];
	unsigned allow_status_count;
	char allow_advisory[KMSD_ADVISORIES][ADVISORY_LEN];
	unsigned allow_advisory_count;
	char allow_ppid[POLICY_PLATFORMS_MAX][40];
	unsigned allow_ppid_count;
	uint32_t grace_s;
	uint32_t min_tcb_eval, min_qe_eval;
	uint32_t evidence_life_s;
};

struct file_public {
	char listen[96];
};

/* 0: as channel_limits_default has it. */
struct file_limits {
	uint32_t handshakes_per_source, sessions_per_source;
	uint32_t sessions_per_device, requests_per_session;
};

struct file {
	char slot[64];
	char listen[KMSD_URL_MAX];
	char admin[96];
	char data_dir[KMSD_PATH_MAX];
	enum yaml_bool seal;
	enum yaml_bool genesis;
	char peers[KMSD_PEERS][KMSD_URL_MAX];
	unsigned peers_count;
	uint32_t snapshot_every;
	struct file_chain chain;
	struct file_checkin checkin;
	struct file_tee tee;
	struct file_attestation attestation;
	struct file_public public;
	struct file_limits limits;
	struct harden_file process;
	char log_level[8];
};

#define OPT CYAML_FLAG_OPTIONAL
#define REQ CYAML_FLAG_DEFAULT
#define BOOL(key, flags, type, member) \
	CYAML_FIELD_ENUM( \
	    key, (flags) | CYAML_FLAG_STRICT, type, member, yaml_bools, 2)

static const cyaml_schema_value_t url_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, KMSD_URL_MAX - 1),
};
static const cyaml_schema_value_t code_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, 79),
};
static const cyaml_schema_value_t status_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, 47),
};
static const cyaml_schema_value_t advisory_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, ADVISORY_LEN - 1),
};
static const cyaml_schema_value_t ppid_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, 39),
};

static const cyaml_schema_field_t chain_fields[] = {
	CYAML_FIELD_SEQUENCE(
	    "rpc", REQ, struct file_chain, rpc, &url_entry, 1, KMSD_RPCS),
	CYAML_FIELD_UINT("quorum", OPT, struct file_chain, quorum),
	CYAML_FIELD_UINT("chain_id", REQ, struct file_chain, chain_id),
	CYAML_FIELD_STRING(
	    "kms_contract", REQ, struct file_chain, kms_contract, 1),
	CYAML_FIELD_STRING(
	    "anchor_contract", REQ, struct file_chain, anchor_contract, 1),
	CYAML_FIELD_STRING(
	    "registry_contract", OPT, struct file_chain, registry_contract, 1),
	CYAML_FIELD_STRING("mode", OPT, struct file_chain, mode, 1),
	/* Empty would read as "nothing" and mean "anything": at least one. */
	CYAML_FIELD_SEQUENCE("code_hashes", OPT, struct file_chain, code,
	    &code_entry, 1, STANDARD_CODES_MAX),
	CYAML_FIELD_STRING("block_tag", OPT, struct file_chain, block_tag, 1),
	CYAML_FIELD_UINT("max_age_s", OPT, struct file_chain, max_age_s),
	CYAML_FIELD_UINT("max_ahead_s", OPT, struct file_chain, max_ahead_s),
	CYAML_FIELD_UINT("fence_s", OPT, struct file_chain, fence_s),
	CYAML_FIELD_UINT("poll_ms", OPT, struct file_chain, poll_ms),
	CYAML_FIELD_UINT("timeout_ms", OPT, struct file_chain, timeout_ms),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t checkin_fields[] = {
	CYAML_FIELD_STRING("contract", REQ, struct file_checkin, contract, 1),
	CYAML_FIELD_UINT("period_s", OPT, struct file_checkin, period_s),
	CYAML_FIELD_UINT("lease_s", OPT, struct file_checkin, lease_s),
	CYAML_FIELD_UINT(
	    "max_releases", OPT, struct file_checkin, max_releases),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t tee_fields[] = {
	BOOL("simulated", OPT, struct file_tee, simulated),
	CYAML_FIELD_STRING("sim_host", OPT, struct file_tee, sim_host, 1),
	CYAML_FIELD_STRING("sim_image", OPT, struct file_tee, sim_image, 1),
	CYAML_FIELD_STRING("app_compose", OPT, struct file_tee, app_compose, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t attestation_fields[] = {
	CYAML_FIELD_STRING(
	    "pccs_url", REQ, struct file_attestation, pccs_url, 1),
	BOOL("pccs_insecure_tls", OPT, struct file_attestation,
	    pccs_insecure_tls),
	CYAML_FIELD_STRING("insecure_simulated_root", OPT,
	    struct file_attestation, insecure_simulated_root, 1),
	CYAML_FIELD_SEQUENCE("allow_status", OPT, struct file_attestation,
	    allow_status, &status_entry, 1, KMSD_STATUSES),
	CYAML_FIELD_SEQUENCE("allow_advisory", OPT, struct file_attestation,
	    allow_advisory, &advisory_entry, 0, KMSD_ADVISORIES),
	/* Empty would read as "nobody" and mean "anybody": at least one. */
	CYAML_FIELD_SEQUENCE("allow_ppid", OPT, struct file_attestation,
	    allow_ppid, &ppid_entry, 1, POLICY_PLATFORMS_MAX),
	CYAML_FIELD_SEQUENCE("pccs_more", OPT, struct file_attestation,
	    pccs_more, &url_entry, 0, KMSD_PCCS - 1),
	CYAML_FIELD_UINT("grace_s", OPT, struct file_attestation, grace_s),
	CYAML_FIELD_UINT(
	    "min_tcb_eval", OPT, struct file_attestation, min_tcb_eval),
	CYAML_FIELD_UINT(
	    "min_qe_eval", OPT, struct file_attestation, min_qe_eval),
	CYAML_FIELD_UINT(
	    "evidence_life_s", OPT, struct file_attestation, evidence_life_s),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t public_fields[] = {
	CYAML_FIELD_STRING("listen", REQ, struct file_public, listen, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t limits_fields[] = {
	CYAML_FIELD_UINT("handshakes_per_source", OPT, struct file_limits,
	    handshakes_per_source),
	CYAML_FIELD_UINT("sessions_per_source", OPT, struct file_limits,
	    sessions_per_source),
	CYAML_FIELD_UINT("sessions_per_device", OPT, struct file_limits,
	    sessions_per_device),
	CYAML_FIELD_UINT("requests_per_session", OPT, struct file_limits,
	    requests_per_session),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t file_fields[] = {
	CYAML_FIELD_STRING("slot", REQ, struct file, slot, 1),
	CYAML_FIELD_STRING("listen", REQ, struct file, listen, 1),
	CYAML_FIELD_STRING("admin", OPT, struct file, admin, 1),
	CYAML_FIELD_STRING("data_dir", REQ, struct file, data_dir, 1),
	BOOL("seal", OPT, struct file, seal),
	BOOL("genesis", OPT, struct file, genesis),
	CYAML_FIELD_SEQUENCE(
	    "peers", OPT, struct file, peers, &url_entry, 0, KMSD_PEERS),
	CYAML_FIELD_UINT("snapshot_every", OPT, struct file, snapshot_every),
	CYAML_FIELD_MAPPING("chain", REQ, struct file, chain, chain_fields),
	CYAML_FIELD_MAPPING(
	    "checkin", OPT, struct file, checkin, checkin_fields),
	CYAML_FIELD_MAPPING("tee", OPT, struct file, tee, tee_fields),
	CYAML_FIELD_MAPPING(
	    "attestation", REQ, struct file, attestation, attestation_fields),
	CYAML_FIELD_MAPPING("public", OPT, struct file, public, public_fields),
	CYAML_FIELD_MAPPING("limits", OPT, struct file, limits, limits_fields),
	CYAML_FIELD_MAPPING(
	    "process", OPT, struct file, process, harden_fields),
	CYAML_FIELD_STRING("log_level", OPT, struct file, log_level, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t file_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, file_fields),
};

/* The first key that does not decode is the one that is told. */
static enum err
bad(char *why, const char *key, const char *must)
{
	(void)snprintf(why, YAML_WHY_MAX, "%s: %s", key, must);
	return ERR_CONFIG;
}

#define COPY(to, from) (void)snprintf((to), sizeof(to), "%s", (from))

/* What a seat on chain can be called: one word there. */
static enum err
decode_slot(const char *s, char *why)
{
	if (strlen(s) >= SLOT_MAX)
		return bad(why, "slot", "must be at most 31 characters");
	if (!name_ok(s, SLOT_MAX))
		return bad(why, "slot",
		    "must be printable, without space, '/' and '#'");
	return ERR_OK;
}

/* "host:port"; the host is a numeric address. */
static enum err
decode_address(char host[static 64], uint16_t *out, const char *text,
    const char *key, char *why)
{
	const char *colon = strrchr(text, ':');
	char *end;
	unsigned long port;

	if (colon == NULL || colon == text || colon - text >= 64)
		return bad(why, key, "must be address:port");
	port = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > 65535)
		return bad(why, key, "must be address:port");
	(void)snprintf(host, 64, "%.*s", (int)(colon - text), text);
	*out = (uint16_t)port;
	return ERR_OK;
}

static enum err
decode_http(struct kmsd_config *c, const struct file *f, char *why)
{
	enum err e = ERR_OK;

	if (f->admin[0] == '\0')
		COPY(c->admin_host, "127.0.0.1");
	else
		e = decode_address(
		    c->admin_host, &c->admin_port, f->admin, "admin", why);
	if (e == ERR_OK && f->public.listen[0] != '\0')
		e = decode_address(c->public_host, &c->public_port,
		    f->public.listen, "public.listen", why);
	return e;
}

/* The address of a contract of which there may not be none. */
static enum err
decode_contract(
    uint8_t out[static 20], const char *text, const char *key, char *why)
{
	static const uint8_t zero[20];

	if (hex_fixed(out, 20, text) != ERR_OK)
		return bad(why, key, "must be an address");
	if (memcmp(out, zero, sizeof zero) == 0)
		return bad(why, key, "must not be zero");
	return ERR_OK;
}

static enum err
decode_contracts(struct kmsd_config *c, const struct file_chain *f, char *why)
{
	enum err e;

	if (hex_fixed(c->kms_contract, 20, f->kms_contract) != ERR_OK)
		return bad(why, "chain.kms_contract", "must be an address");
	e = decode_contract(c->anchor_contract, f->anchor_contract,
	    "chain.anchor_contract", why);
	c->has_registry = f->registry_contract[0] != '\0';
	if (e == ERR_OK && c->has_registry)
		e = decode_contract(c->registry_contract, f->registry_contract,
		    "chain.registry_contract", why);
	return e;
}

static enum err
decode_mode(struct kmsd_config *c, const struct file_chain *f, char *why)
{
	c->chain_proof = strcmp(f->mode, "proof") == 0;
	if (!c->chain_proof && f->mode[0] != '\0' &&
	    strcmp(f->mode, "quorum") != 0)
		return bad(why, "chain.mode", "must be quorum or proof");
	if (!c->chain_proof && f->code_count > 0)
		return bad(
		    why, "chain.code_hashes", "goes with chain.mode: proof");
	for (unsigned i = 0; i < f->code_count; i++)
		if (standard_code_parse(&c->code[i], f->code[i]) != ERR_OK)
			return bad(why, "chain.code_hashes",
			    "must be proxy:, kms: or app:0x and 64 digits");
	c->n_codes = f->code_count;
	return ERR_OK;
}

static enum err
decode_chain(struct kmsd_config *c, const struct file_chain *f, char *why)
{
	enum err e;

	for (unsigned i = 0; i < f->rpc_count; i++) {
		if (strncmp(f->rpc[i], "http://", 7) != 0 &&
		    strncmp(f->rpc[i], "https://", 8) != 0)
			return bad(why, "chain.rpc", "must be http(s)://...");
		for (unsigned k = 0; k < i; k++)
			if (strcmp(f->rpc[i], f->rpc[k]) == 0)
				return bad(why, "chain.rpc",
				    "names an endpoint twice");
		COPY(c->rpc[i], f->rpc[i]);
	}
	c->n_rpcs = f->rpc_count;
	/* More than half by default, so that two disjoint sets of endpoints
	 * can never both be believed. */
	c->rpc_quorum = f->quorum != 0 ? f->quorum : f->rpc_count / 2 + 1;
	if (c->rpc_quorum > c->n_rpcs)
		return bad(why, "chain.quorum", "exceeds the endpoints");
	if (f->chain_id == 0 || f->chain_id > INT64_MAX)
		return bad(why, "chain.chain_id", "must be 1 to 2^63-1");
	c->chain_id = f->chain_id;
	if ((e = decode_contracts(c, f, why)) != ERR_OK ||
	    (e = decode_mode(c, f, why)) != ERR_OK)
		return e;
	COPY(
	    c->block_tag, f->block_tag[0] != '\0' ? f->block_tag : "finalized");
	c->max_age_s = f->max_age_s != 0 ? f->max_age_s : 1800;
	c->max_ahead_s = f->max_ahead_s != 0 ? f->max_ahead_s : AHEAD_MAX_S;
	c->fence_s = f->fence_s != 0 ? f->fence_s : 2400;
	c->poll_ms = f->poll_ms != 0 ? f->poll_ms : 4000;
	c->rpc_timeout_ms = f->timeout_ms != 0 ? f->timeout_ms : 5000;
	return ERR_OK;
}

static enum err
decode_checkin(struct kmsd_config *c, const struct file_checkin *f, char *why)
{
	enum err e;

	if (f->contract[0] == '\0')
		return ERR_OK;
	if ((e = decode_contract(c->checkin_contract, f->contract,
		 "checkin.contract", why)) != ERR_OK)
		return e;
	c->has_checkin = true;
	c->checkin_lease_s = f->lease_s != 0 ? f->lease_s : CHECKIN_LEASE_S;
	c->checkin_period_s = f->period_s != 0 ? f->period_s : CHECKIN_PERIOD_S;
	c->checkin_max_releases =
	    f->max_releases != 0 ? f->max_releases : CHECKIN_RELEASES;
	if (c->checkin_lease_s > CHECKIN_LEASE_MAX_S)
		return bad(why, "checkin.lease_s", "must be at most a day");
	if (c->checkin_lease_s / CHECKIN_PERIODS_MIN < c->checkin_period_s ||
	    c->checkin_period_s * CHECKIN_PERIODS_MAX < c->checkin_lease_s)
		return bad(why, "checkin.lease_s",
		    "must be 2 to 40 times checkin.period_s");
	return ERR_OK;
}

static enum err
decode_ppids(
    struct attest_policy *p, const struct file_attestation *f, char *why)
{
	for (unsigned i = 0; i < f->allow_ppid_count; i++) {
		if (hex_fixed(p->ppid[i], sizeof p->ppid[i],
			f->allow_ppid[i]) != ERR_OK)
			return bad(why, "attestation.allow_ppid",
			    "must be PPIDs: 32 hex digits");
		for (unsigned k = 0; k < i; k++)
			if (memcmp(p->ppid[i], p->ppid[k], sizeof p->ppid[i]) ==
			    0)
				return bad(why, "attestation.allow_ppid",
				    "names a platform twice");
	}
	p->n_ppids = f->allow_ppid_count;
	return ERR_OK;
}

static enum err
decode_attestation(
    struct kmsd_config *c, const struct file_attestation *f, char *why)
{
	COPY(c->pccs_url[0], f->pccs_url);
	for (unsigned i = 0; i < f->pccs_more_count; i++)
		COPY(c->pccs_url[i + 1], f->pccs_more[i]);
	c->n_pccs = 1 + f->pccs_more_count;
	c->pccs_insecure_tls = f->pccs_insecure_tls == YAML_TRUE;
	COPY(c->simulated_root, f->insecure_simulated_root);
	attest_policy_default(&c->policy);
	for (unsigned i = 0; i < f->allow_status_count; i++) {
		enum tcb_status s;

		if (tcb_status_parse(&s, f->allow_status[i]) != ERR_OK ||
		    s == TCB_REVOKED)
			return bad(why, "attestation.allow_status",
			    "must be TCB statuses, and never Revoked");
		c->policy.status[s] = true;
	}
	for (unsigned i = 0; i < f->allow_advisory_count; i++)
		COPY(c->policy.advisory[i], f->allow_advisory[i]);
	c->policy.n_advisories = f->allow_advisory_count;
	c->policy.grace_s = f->grace_s;
	c->policy.min_tcb_eval = f->min_tcb_eval;
	c->policy.min_qe_eval = f->min_qe_eval;
	c->policy.allow_simulated = c->simulated_root[0] != '\0';
	c->evidence_life_s =
	    f->evidence_life_s != 0 ? f->evidence_life_s : 3600;
	return decode_ppids(&c->policy, f, why);
}

/* What a host behind one address, or with many CVMs, may need more of. */
static enum err
decode_limits(struct channel_limits *l, const struct file_limits *f, char *why)
{
	const struct {
		const char *key;
		uint32_t asked, max;
		unsigned *to;
	} all[] = {
		{ "limits.handshakes_per_source", f->handshakes_per_source,
		    KMSD_RATE_MAX, &l->handshakes_per_source },
		{ "limits.sessions_per_source", f->sessions_per_source,
		    KMSD_SESSIONS_MAX, &l->max_sessions_per_source },
		{ "limits.sessions_per_device", f->sessions_per_device,
		    KMSD_SESSIONS_MAX, &l->max_sessions_per_device },
		{ "limits.requests_per_session", f->requests_per_session,
		    KMSD_RATE_MAX, &l->requests_per_session },
	};

	channel_limits_default(l);
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		if (all[i].asked > all[i].max)
			return bad(why, all[i].key,
			    all[i].max == KMSD_RATE_MAX
				? "must be at most 100000 a second"
				: "must be at most 1024");
		if (all[i].asked != 0)
			*all[i].to = all[i].asked;
	}
	return ERR_OK;
}

static enum err
decode(struct kmsd_config *c, const struct file *f, char *why)
{
	static const char *const levels[] = { "debug", "info", "warn",
		"error" };
	enum err e;

	if ((e = decode_slot(f->slot, why)) != ERR_OK)
		return e;
	COPY(c->slot, f->slot);
	if (strncmp(f->listen, "tcp://", 6) != 0)
		return bad(why, "listen", "must be tcp://address:port");
	COPY(c->listen, f->listen);
	if ((e = decode_http(c, f, why)) != ERR_OK)
		return e;
	COPY(c->data_dir, f->data_dir);
	c->seal = f->seal == YAML_TRUE;
	c->genesis = f->genesis == YAML_TRUE;
	for (unsigned i = 0; i < f->peers_count; i++) {
		if (strncmp(f->peers[i], "tcp://", 6) != 0)
			return bad(why, "peers", "must be tcp://host:port");
		COPY(c->peer[i], f->peers[i]);
	}
	c->n_peers = f->peers_count;
	c->snapshot_every =
	    f->snapshot_every != 0 ? f->snapshot_every : KMSD_SNAPSHOT_EVERY;
	if ((e = decode_chain(c, &f->chain, why)) != ERR_OK)
		return e;
	if ((e = decode_checkin(c, &f->checkin, why)) != ERR_OK)
		return e;
	c->simulated = f->tee.simulated == YAML_TRUE;
	COPY(c->sim_host, f->tee.sim_host);
	COPY(c->sim_image, f->tee.sim_image);
	COPY(c->app_compose, f->tee.app_compose);
	if (c->simulated !=
	    (c->sim_host[0] != '\0' && c->sim_image[0] != '\0' &&
		c->app_compose[0] != '\0'))
		return bad(why, "tee",
		    "simulated goes with sim_host, sim_image, app_compose");
	/* A clock that a host has set back would not be noticed. */
	if (c->max_ahead_s > AHEAD_MAX_S && !c->simulated)
		return bad(why, "chain.max_ahead_s",
		    "over 60 is for simulated platforms");
	if ((e = decode_attestation(c, &f->attestation, why)) != ERR_OK ||
	    (e = harden_decode(&c->process, &f->process, why)) != ERR_OK ||
	    (e = decode_limits(&c->limits, &f->limits, why)) != ERR_OK)
		return e;
	c->log_level = LOG_INFO;
	if (f->log_level[0] != '\0') {
		unsigned i;

		for (i = 0; i < 4; i++)
			if (strcmp(f->log_level, levels[i]) == 0)
				break;
		if (i == 4)
			return bad(why, "log_level",
			    "must be debug, info, warn or error");
		c->log_level = (enum log_level)i;
	}
	return ERR_OK;
}

enum err
kmsd_config_parse(
    struct kmsd_config *out, struct bytes yaml, char why[static YAML_WHY_MAX])
{
	struct kmsd_config *c = calloc(1, sizeof *c);
	void *f = NULL;
	enum err e = ERR_NOMEM;

	if (c == NULL)
		return e;
	if ((e = yaml_parse(&f, yaml, &file_schema, why)) == ERR_OK &&
	    (e = decode(c, f, why)) == ERR_OK)
		*out = *c;
	yaml_release(f, &file_schema);
	free(c);
	return e;
}

enum err
kmsd_config_load(
    struct kmsd_config *out, const char *path, char why[static YAML_WHY_MAX])
{
	struct buf text = { 0 };
	enum err e = file_read(&text, path, LIMIT_CONFIG_FILE);

	if (e != ERR_OK) {
		(void)snprintf(why, YAML_WHY_MAX, "%s: %s", path, err_text(e));
		e = ERR_CONFIG;
	} else {
		e = kmsd_config_parse(out, buf_view(&text), why);
	}
	buf_fini(&text);
	return e;
}
