#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/attest/quote.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include "node/agent/agent.h"
#include "node/agent/appcert.h"
#include "node/agent/appenv.h"
#include "node/agent/boot.h"
#include "node/agent/heldkeys.h"
#include "node/agent/kms_link.h"
#include "node/tee/tee.h"

/* A call that has keys to fall back on does not wait for longer. */
#define RENEW_MS 5000u

struct agent {
	struct agent_config config;
	struct app_identity identity; /* owns */
	struct tee *tee; /* owns, as all below */
	struct verifier *verifier;
	struct kms_link *link;
	struct kms_client *client;
	struct heldkeys *keys;
	struct appcert *cert;
	struct td_report td; /* of this boot; its RTMR3 is out of date */
	/* What the first keys came with. */
	uint8_t boot_ca_spki[P256_SPKI_LEN];
	uint8_t os_image_hash[32];
};

/* ---- boot ---- */

static enum err
open_verifier(struct agent *a, struct refusal *why)
{
	const struct agent_config *c = &a->config;
	struct verifier_options o = { .pccs_url = c->pccs_url,
		.pccs_insecure_tls = c->pccs_insecure_tls };
	struct buf root = { 0 };
	enum err e = ERR_OK;

	attest_policy_default(&o.policy);
	if (c->simulated_root[0] != '\0') {
		e = file_read(&root, c->simulated_root, LIMIT_COLLATERAL);
		if (e != ERR_OK) {
			(void)refuse(why, REASON_COLLATERAL_MISSING, "%s: %s",
			    c->simulated_root, err_text(e));
			goto done;
		}
		o.simulated_root = buf_view(&root);
		o.policy.allow_simulated = true;
		log_event(LOG_WARN, "insecure_simulated_root",
		    log_str("file", c->simulated_root));
	}
	e = verifier_new(&a->verifier, &o);
	if (e != ERR_OK)
		(void)refuse(why, REASON_COLLATERAL_INVALID,
		    "cannot make a verifier: %s", err_text(e));
done:
	buf_fini(&root);
	return e;
}

static enum err
open_tee(struct agent *a, struct refusal *why)
{
	const struct agent_config *c = &a->config;
	const struct tee_options o = {
		.simulated = c->simulated,
		.sim_host = c->sim_host,
		.sim_image = c->sim_image,
		.run_dir = c->run_dir,
		.sim_compose_hash = a->identity.compose_hash,
	};
	enum err e;

	if (file_mkdirs(c->run_dir) != ERR_OK) {
		(void)refuse(why, REASON_INTERNAL, "cannot use %s", c->run_dir);
		return ERR_CONFIG;
	}
	e = tee_boot(&a->tee, &o, why);
	if (e == ERR_OK && tee_simulated(a->tee))
		log_plain(LOG_WARN, "simulated_tee");
	return e;
}

static enum err
open_client(struct agent *a)
{
	const struct agent_config *c = &a->config;
	struct kms_client_options o = {
		.n_urls = c->n_kms_urls,
		.attempt_timeout_ms = c->attempt_timeout_s * 1000,
		.terms = {
			.chain_id = c->chain_id,
			.root = c->kms_root,
			.has_registry = c->has_registry,
			.n_anchor_signers = c->n_anchor_signers,
			.code_pinned = c->n_kms_mrs > 0,
			.key_provider_id =
			    buf_view(&a->identity.key_provider_id),
		},
	};
	enum err e;

	for (size_t i = 0; i < c->n_kms_urls; i++)
		o.url[i] = c->kms_url[i];
	memcpy(o.terms.app_id, a->identity.app_id, 20);
	o.terms.has_instance_id = a->identity.has_instance_id;
	memcpy(o.terms.instance_id, a->identity.instance_id, 20);
	memcpy(o.terms.kms_contract, c->kms_contract, 20);
	memcpy(o.terms.registry, c->kms_registry, 20);
	memcpy(o.terms.anchor_signer, c->anchor_signer,
	    sizeof o.terms.anchor_signer);
	/* Then any attested VM that says it serves this contract will do;
	 * who it was stands in RTMR3 only. */
	if (c->kms_root.kind == ROOT_PIN_NONE && c->n_kms_mrs == 0 &&
	    a->identity.key_provider_id.len == 0)
		log_plain(LOG_WARN, "kms_not_pinned");
	e = kms_link_new(&a->link, a->tee, a->verifier, c);
	if (e != ERR_OK)
		return e;
	o.transport = kms_link_transport(a->link);
	return kms_client_new(&a->client, &o);
}

static enum err
register_log(void *cookie, struct buf *out)
{
	struct agent *a = cookie;

	return tee_event_log(a->tee, out);
}

static enum err
register_extend(void *cookie, const char *name, struct bytes payload)
{
	struct agent *a = cookie;

	return tee_extend(a->tee, name, payload);
}

/* The registers that no longer change are those of one quote. */
static enum err
read_registers(struct agent *a, struct refusal *why)
{
	const uint8_t nothing[64] = { 0 };
	struct buf q = { 0 };
	struct quote parsed;
	enum err e;

	if ((e = tee_quote(a->tee, &q, nothing, why)) != ERR_OK)
		goto done;
	if ((e = quote_parse(&parsed, buf_view(&q), why)) != ERR_OK)
		goto done;
	if (parsed.tee == TEE_TDX)
		a->td = parsed.td;
	else
		e = refuse(why, REASON_QUOTE_UNSUPPORTED, "not a TD quote");
done:
	buf_fini(&q);
	return e;
}

static enum err
fetch_own_keys(struct agent *a, struct app_release *own, struct refusal *why)
{
	const struct kms_patience patience = {
		.total_ms = (uint64_t)a->config.boot_deadline_s * 1000,
		.past_refusals = true,
	};
	uint8_t address[20];
	enum err e;

	e = kms_client_app_keys(a->client, own, NULL, &patience, why);
	if (e != ERR_OK)
		return e;
	if ((e = k256_address(address, &own->root)) != ERR_OK)
		return e;
	log_event(LOG_INFO, "keys_released", log_u64("epoch", own->epoch),
	    log_hex("root", address, 20), log_u64("block", own->block_number));
	return ERR_OK;
}

static struct kms_patience
call_patience(const struct agent *a)
{
	return (struct kms_patience){
		.total_ms = (uint64_t)a->config.call_deadline_s * 1000,
		.past_refusals = false,
	};
}

/* Matches heldkeys_options.fetch. */
static enum err
fetch_keys(void *cookie, struct app_release *out, const uint64_t *epoch,
    bool held, struct refusal *why)
{
	struct agent *a = cookie;
	struct kms_patience patience = call_patience(a);

	if (held) {
		patience.renew = true;
		if (patience.total_ms > RENEW_MS)
			patience.total_ms = RENEW_MS;
	}
	return kms_client_app_keys(a->client, out, epoch, &patience, why);
}

static enum err
hold_keys(struct agent *a, const struct app_release *own)
{
	const struct heldkeys_options o = { .cookie = a,
		.fetch = fetch_keys,
		.now_ms = clock_mono_ms,
		.refresh_ms = a->config.refresh_s * 1000 };

	memcpy(a->boot_ca_spki, own->ca_spki, sizeof a->boot_ca_spki);
	memcpy(a->os_image_hash, own->os_image_hash, sizeof a->os_image_hash);
	return heldkeys_new(&a->keys, &o, own);
}

/* The file that the configuration names, or the one that dstack puts beside
 * app-compose.json. */
static enum err
env_path(char out[static CONFIG_PATH_MAX], const struct agent_config *c)
{
	const char *slash = strrchr(c->compose_file, '/');
	int n;

	if (c->encrypted_env[0] != '\0')
		n = snprintf(out, CONFIG_PATH_MAX, "%s", c->encrypted_env);
	else
		n = snprintf(out, CONFIG_PATH_MAX, "%.*s" APPENV_FILE,
		    slash != NULL ? (int)(slash + 1 - c->compose_file) : 0,
		    c->compose_file);
	return n < CONFIG_PATH_MAX ? ERR_OK : ERR_CONFIG;
}

static enum err
fetch_older(void *cookie, struct app_release *out, const uint64_t *epoch,
    struct refusal *why)
{
	return fetch_keys(cookie, out, epoch, false, why);
}

static enum err
decrypt_env(struct agent *a, const struct app_release *own, struct refusal *why)
{
	const struct agent_config *c = &a->config;
	char path[CONFIG_PATH_MAX];
	const struct appenv_options o = { .file = path,
		.must_exist = c->encrypted_env[0] != '\0',
		.dir = c->env_dir,
		.compose = buf_view(&a->identity.compose),
		.cookie = a,
		.fetch = fetch_older };

	if (env_path(path, c) != ERR_OK || file_mkdirs(c->env_dir) != ERR_OK) {
		(void)refuse(why, REASON_INTERNAL, "cannot use %s", c->env_dir);
		return ERR_CONFIG;
	}
	return appenv_install(&o, own, why);
}

static enum err
boot_steps(struct agent *a, struct app_release *own, struct refusal *why)
{
	const struct boot_register reg = { a, register_log, register_extend };
	const struct agent_config *c = &a->config;
	struct boot_plan plan;
	enum err e;

	e = identity_load(&a->identity, c->compose_file, c->state_dir,
	    c->has_app_id ? c->app_id : NULL, why);
	if (e != ERR_OK)
		return e;
	if ((e = open_verifier(a, why)) != ERR_OK)
		return e;
	if ((e = open_tee(a, why)) != ERR_OK)
		return e;
	/* Everything that says who we are, and the line below it. */
	boot_plan_identity(&plan, &a->identity);
	if ((e = boot_run(&reg, &plan, why)) != ERR_OK)
		return e;
	log_event(LOG_INFO, "boot_measured",
	    log_hex("app_id", a->identity.app_id, 20),
	    log_hex("compose_hash", a->identity.compose_hash, 32),
	    log_hex("instance_id", a->identity.instance_id,
		a->identity.has_instance_id ? 20 : 0));
	/* Keys, from whichever node gives them first. */
	if ((e = open_client(a)) != ERR_OK)
		return e;
	if ((e = fetch_own_keys(a, own, why)) != ERR_OK)
		return e;
	/* What the keys came with, once: no node before can have left this. */
	e = boot_plan_keys(&plan, own->os_image_hash,
	    (struct bytes){ own->ca_spki, sizeof own->ca_spki });
	if (e != ERR_OK)
		return e;
	if ((e = boot_run(&reg, &plan, why)) != ERR_OK)
		return e;
	if ((e = read_registers(a, why)) != ERR_OK)
		return e;
	if ((e = decrypt_env(a, own, why)) != ERR_OK)
		return e;
	return hold_keys(a, own);
}

enum err
agent_boot(
    struct agent **out, const struct agent_config *c, struct refusal *why)
{
	struct app_release own = { .epoch = 0 };
	struct agent *a = calloc(1, sizeof *a);
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	a->config = *c;
	e = boot_steps(a, &own, why);
	release_wipe(&own);
	if (e == ERR_OK) {
		const struct agent_backend b = agent_backend(a);

		e = appcert_new(&a->cert, &b);
	}
	if (e != ERR_OK) {
		agent_free(a);
		return e;
	}
	*out = a;
	return ERR_OK;
}

void
agent_free(struct agent *a)
{
	if (a == NULL)
		return;
	appcert_free(a->cert);
	kms_client_free(a->client);
	kms_link_free(a->link);
	heldkeys_free(a->keys);
	verifier_free(a->verifier);
	tee_close(a->tee);
	identity_fini(&a->identity);
	free(a);
}

/* ---- the backend ---- */

static enum err
back_keys(void *cookie, struct app_release *out, const uint64_t *epoch,
    struct refusal *why)
{
	struct agent *a = cookie;

	return heldkeys_get(a->keys, out, epoch, why);
}

static void
back_pin(void *cookie, struct heldkeys_pin *out)
{
	struct agent *a = cookie;
	struct app_release r = { .epoch = 0 };

	heldkeys_pin(a->keys, out);
	/* Where nothing is held, that could take a call's whole patience. */
	if (!out->held)
		return;
	(void)!heldkeys_get(a->keys, &r, NULL, NULL);
	release_wipe(&r);
	heldkeys_pin(a->keys, out);
}

static enum err
back_measured(void *cookie, struct agent_measured *out, struct refusal *why)
{
	struct agent *a = cookie;
	struct agent_measured m = { .event_log = { 0 } };
	struct event_log log = { .event = NULL };
	struct td_report td = a->td;
	uint8_t mr_system[32];
	enum err e;

	if ((e = tee_event_log(a->tee, &m.event_log)) != ERR_OK)
		goto done;
	if ((e = tee_vm_config(a->tee, &m.vm_config)) != ERR_OK)
		goto done;
	e = event_log_parse(&log, buf_view(&m.event_log), why);
	if (e != ERR_OK)
		goto done;
	event_log_replay(td.rtmr[3], &log, 3, NULL);
	e = boot_info_measure(mr_system, m.mr_aggregated, &td, &log, BOOT_KMS);
	if (e != ERR_OK)
		goto done;
	memcpy(m.mrtd, td.mrtd, sizeof m.mrtd);
	memcpy(m.rtmr, td.rtmr, sizeof m.rtmr);
	*out = m; /* transferred */
	memset(&m, 0, sizeof m);
done:
	event_log_fini(&log);
	buf_fini(&m.event_log);
	buf_fini(&m.vm_config);
	return e;
}

static enum err
back_quote(void *cookie, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct agent *a = cookie;

	return tee_evidence(a->tee, out, report_data, why);
}

static enum err
back_attest(void *cookie, struct buf *out, const uint8_t report_data[static 64],
    bool stripped, struct refusal *why)
{
	struct agent *a = cookie;
	struct evidence ev = { .tee = 0 };
	enum err e = tee_evidence(a->tee, &ev, report_data, why);

	if (e == ERR_OK)
		e = attestation_encode(out, &ev, report_data, stripped, why);
	evidence_fini(&ev);
	return e;
}

static enum err
back_attest_v1(void *cookie, struct buf *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct agent *a = cookie;
	struct evidence ev = { .tee = 0 };
	enum err e = tee_evidence(a->tee, &ev, report_data, why);

	if (e == ERR_OK)
		e = attestation_v1_encode(out, &ev, report_data, why);
	evidence_fini(&ev);
	return e;
}

static void
back_app_cert(void *cookie, struct buf *out)
{
	struct agent *a = cookie;

	appcert_get(a->cert, out);
}

static enum err
back_emit(void *cookie, const char *name, struct bytes payload)
{
	struct agent *a = cookie;
	enum err e = tee_extend(a->tee, name, payload);

	log_event(LOG_INFO, "event_emitted", log_str("name", name),
	    log_u64("bytes", payload.len), log_str("result", err_text(e)));
	return e;
}

static enum err
back_sign_cert(void *cookie, struct buf chain[static 3],
    const struct kms_cert_request *rq, struct refusal *why)
{
	struct agent *a = cookie;
	struct kms_patience patience = call_patience(a);

	return kms_client_sign_cert(a->client, chain, rq, &patience, why);
}

static enum err
back_counter_get(void *cookie, struct kms_counter *out, const char *name,
    struct refusal *why)
{
	struct agent *a = cookie;
	struct kms_patience patience = call_patience(a);

	return kms_client_counter_get(a->client, out, name, &patience, why);
}

static enum err
back_counter_increment(void *cookie, struct kms_counter *out, const char *name,
    uint64_t expected, const uint8_t operation[static KMS_OPERATION_LEN],
    struct refusal *why)
{
	struct agent *a = cookie;
	struct kms_patience patience = call_patience(a);

	return kms_client_counter_increment(
	    a->client, out, name, expected, operation, &patience, why);
}

struct agent_backend
agent_backend(struct agent *a)
{
	struct agent_backend b = {
		.cookie = a,
		.simulated = tee_simulated(a->tee),
		.identity = &a->identity,
		.logs_dir =
		    a->config.logs_dir[0] != '\0' ? a->config.logs_dir : NULL,
		.chain_id = a->config.chain_id,
		.keys = back_keys,
		.pin = back_pin,
		.measured = back_measured,
		.quote = back_quote,
		.attest = back_attest,
		.attest_v1 = back_attest_v1,
		.app_cert = back_app_cert,
		.emit = back_emit,
		.sign_cert = back_sign_cert,
		.counter_get = back_counter_get,
		.counter_increment = back_counter_increment,
	};

	memcpy(b.kms_contract, a->config.kms_contract, 20);
	memcpy(b.boot_ca_spki, a->boot_ca_spki, sizeof b.boot_ca_spki);
	memcpy(b.os_image_hash, a->os_image_hash, sizeof b.os_image_hash);
	return b;
}
