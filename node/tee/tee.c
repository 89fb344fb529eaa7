/* tee: the event log and what both platforms share.
 *
 * The runtime log is written before the register is extended: after a crash
 * between the two, the log has one event too many, which is seen and cut
 * off at the next start; the other order would lose an event for good. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "node/tee/platform.h"

#define PATH_CAP 1024
#define RUNTIME_FILE "rtmr3.json"
#define EV_PLATFORM_CONFIG 10
#define ACPI_DATA_HEX "414350492044415441" /* "ACPI DATA" */
#define EVIDENCE_TRIES 5

struct tee {
	pthread_mutex_t lock; /* guards all below but `p` */
	struct platform p;
	bool simulated;
	json_t *events; /* owns; all registers, in order */
	size_t n_boot; /* those of `events` that the boot log brought */
	uint64_t n_measured; /* grows with each event: names a state */
	char path[PATH_CAP]; /* of the runtime log */
};

/* ---- the log ---- */

/* dstack empties the payloads of RTMR0-2, which are long and not needed for
 * the replay, but for the three ACPI ones: dstack-compat.md 3.7. */
static enum err
trim_boot_event(json_t *ev)
{
	const char *payload = "";
	uint64_t imr, type;
	enum err e;

	if (json_get_u64(&imr, ev, "imr") != ERR_OK ||
	    json_get_u64(&type, ev, "event_type") != ERR_OK)
		return ERR_CORRUPT;
	if (imr > 2)
		return ERR_OK;
	e = json_get_str(&payload, ev, "event_payload");
	if (e == ERR_OK && type == EV_PLATFORM_CONFIG &&
	    strcmp(payload, ACPI_DATA_HEX) == 0)
		return ERR_OK;
	return json_set_str(ev, "event_payload", "");
}

/* Appends the events of an array in JSON text. */
static enum err
add_events(struct tee *t, const json_t *list)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || json_array_size(t->events) + n > EVENT_MAX)
		return ERR_CORRUPT;
	for (size_t i = 0; i < n; i++) {
		json_t *ev = json_array_get(list, i);
		enum err e = trim_boot_event(ev);

		if (e != ERR_OK)
			return e;
		if (json_array_append(t->events, ev) != 0)
			return ERR_NOMEM;
	}
	return ERR_OK;
}

static enum err
log_text(struct buf *out, const struct tee *t)
{
	enum err e;

	out->len = 0;
	if ((e = json_write(out, t->events)) != ERR_OK)
		return e;
	return out->len > LIMIT_EVENT_LOG ||
		json_array_size(t->events) > EVENT_MAX
	    ? ERR_LIMIT
	    : ERR_OK;
}

/* What register 3 must be after all events of the log. */
static enum err
log_rtmr3(uint8_t out[static 48], const struct tee *t, struct refusal *why)
{
	struct event_log log = { 0 };
	struct buf text = { 0 };
	enum err e;

	if ((e = log_text(&text, t)) == ERR_OK &&
	    (e = event_log_parse(&log, buf_view(&text), why)) == ERR_OK)
		event_log_replay(out, &log, 3, NULL);
	event_log_fini(&log);
	buf_fini(&text);
	return e;
}

/* {"rtmr3": hex, "events": [...]}, the events after those of the boot. */
static enum err
store(const struct tee *t)
{
	json_t *o = json_object(), *list = json_array();
	struct buf text = { 0 };
	uint8_t rtmr3[48];
	enum err e = o == NULL || list == NULL ? ERR_NOMEM : ERR_OK;

	for (size_t i = t->n_boot;
	     e == ERR_OK && i < json_array_size(t->events); i++)
		if (json_array_append(list, json_array_get(t->events, i)) != 0)
			e = ERR_NOMEM;
	if (e == ERR_OK)
		e = log_rtmr3(rtmr3, t, NULL);
	if (e == ERR_OK)
		e = json_set_hex(o, "rtmr3", rtmr3, sizeof rtmr3);
	if (e == ERR_OK) {
		e = json_set_new(o, "events", list);
		list = NULL;
	}
	if (e == ERR_OK)
		e = json_write_pretty(&text, o);
	if (e == ERR_OK)
		e = file_write(t->path, text.p, text.len, 0600);
	json_decref(o);
	json_decref(list);
	buf_fini(&text);
	return e;
}

static enum err
load_boot(struct tee *t)
{
	json_t *list = NULL;
	enum err e = ERR_OK;

	if (t->p.boot_log.len == 0)
		return ERR_OK; /* none was left for us */
	e = json_parse(&list, t->p.boot_log.p, t->p.boot_log.len,
	    LIMIT_EVENT_LOG, NULL, 0);
	if (e == ERR_OK)
		e = add_events(t, list);
	json_decref(list);
	t->n_boot = json_array_size(t->events);
	return e;
}

/* What this boot has measured before a restart of the process. */
static enum err
load_runtime(struct tee *t)
{
	struct buf text = { 0 };
	json_t *o = NULL;
	enum err e = file_read(&text, t->path, 2 * LIMIT_EVENT_LOG);

	if (e == ERR_NOTFOUND) {
		e = ERR_OK;
	} else if (e == ERR_OK) {
		e = json_parse(
		    &o, text.p, text.len, 2 * LIMIT_EVENT_LOG, NULL, 0);
		if (e == ERR_OK)
			e = add_events(t, json_object_get(o, "events"));
	}
	json_decref(o);
	buf_fini(&text);
	return e;
}

/* The register and the log must agree, but for an event that was written
 * and not yet measured. */
static enum err
reconcile(struct tee *t, struct refusal *why)
{
	uint8_t is[48], must[48];
	size_t n = json_array_size(t->events);
	enum err e = t->p.ops->rtmr3(t->p.self, is);

	if (e == ERR_UNSUPPORTED)
		return ERR_OK;
	if (e != ERR_OK || (e = log_rtmr3(must, t, why)) != ERR_OK)
		return e;
	if (memcmp(is, must, sizeof is) == 0)
		return ERR_OK;
	if (n > t->n_boot) {
		(void)json_array_remove(t->events, n - 1);
		if ((e = log_rtmr3(must, t, why)) != ERR_OK)
			return e;
		if (memcmp(is, must, sizeof is) == 0)
			return store(t);
	}
	return refuse(why, REASON_EVENT_LOG,
	    "RTMR3 does not replay from the log of this boot");
}

/* ---- public ---- */

enum err
tee_start(struct tee **out, struct platform *p, const struct tee_options *o,
    struct refusal *why)
{
	struct tee *t = calloc(1, sizeof *t);
	enum err e;

	if (t == NULL) {
		p->ops->close(p->self);
		buf_fini(&p->boot_log);
		buf_fini(&p->vm_config);
		return ERR_NOMEM;
	}
	(void)pthread_mutex_init(&t->lock, NULL);
	t->p = *p;
	*p = (struct platform){ 0 };
	t->simulated = o->simulated;
	if ((t->events = json_array()) == NULL) {
		e = ERR_NOMEM;
		goto done;
	}
	if ((e = file_join(t->path, sizeof t->path, o->run_dir,
		 RUNTIME_FILE)) != ERR_OK ||
	    (e = file_mkdirs(o->run_dir)) != ERR_OK)
		goto done;
	e = load_boot(t);
	if (e == ERR_OK && !t->p.fresh)
		e = load_runtime(t);
	if (e != ERR_OK) {
		e = refuse(why, REASON_EVENT_LOG,
		    "the log of this boot does not parse");
		goto done;
	}
	e = t->p.fresh ? store(t) : reconcile(t, why);
	if (e != ERR_OK)
		goto done;
	*out = t;
	t = NULL;
done:
	tee_close(t);
	return e;
}

enum err
tee_boot(struct tee **out, const struct tee_options *o, struct refusal *why)
{
	static const struct tdx_paths kernel = {
		.reports = TEE_TDX_REPORTS,
		.rtmr3 = TEE_TDX_RTMRS "/rtmr3:sha384",
		.retry_ms = 2000,
	};
	struct platform p = { 0 };
	enum err e;

	if (o->run_dir == NULL)
		return ERR_CONFIG;
	e = o->simulated ? sim_platform_boot(&p, o, why)
			 : tdx_platform_boot(&p, o, &kernel, why);
	return e == ERR_OK ? tee_start(out, &p, o, why) : e;
}

void
tee_close(struct tee *t)
{
	if (t == NULL)
		return;
	if (t->p.self != NULL)
		t->p.ops->close(t->p.self);
	buf_fini(&t->p.boot_log);
	buf_fini(&t->p.vm_config);
	json_decref(t->events);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

bool
tee_simulated(const struct tee *t)
{
	return t->simulated;
}

static enum err
runtime_event(json_t **out, const uint8_t digest[static 48], const char *name,
    struct bytes payload)
{
	json_t *o = json_object();
	enum err e = o == NULL ? ERR_NOMEM : json_set_u64(o, "imr", 3);

	if (e == ERR_OK)
		e = json_set_u64(o, "event_type", EVENT_RUNTIME);
	if (e == ERR_OK)
		e = json_set_hex(o, "digest", digest, 48);
	if (e == ERR_OK)
		e = json_set_str(o, "event", name);
	if (e == ERR_OK)
		e = json_set_hex(o, "event_payload", payload.p, payload.len);
	if (e != ERR_OK) {
		json_decref(o);
		return e;
	}
	*out = o;
	return ERR_OK;
}

enum err
tee_extend(struct tee *t, const char *name, struct bytes payload)
{
	struct buf text = { 0 };
	uint8_t digest[48];
	json_t *ev = NULL;
	enum err e;

	if (strlen(name) >= EVENT_NAME_MAX || payload.len > LIMIT_EVENT_LOG / 2)
		return ERR_LIMIT;
	event_digest_v1(digest, name, payload);
	if ((e = runtime_event(&ev, digest, name, payload)) != ERR_OK)
		return e;
	(void)pthread_mutex_lock(&t->lock);
	if (json_array_append(t->events, ev) != 0) {
		e = ERR_NOMEM;
	} else if ((e = log_text(&text, t)) != ERR_OK ||
	    (e = store(t)) != ERR_OK ||
	    (e = t->p.ops->extend(t->p.self, digest)) != ERR_OK) {
		(void)json_array_remove(
		    t->events, json_array_size(t->events) - 1);
		/* Best effort: what is left is cut off at the next start. */
		if (store(t) != ERR_OK)
			e = ERR_IO;
	} else {
		t->n_measured++;
	}
	json_decref(ev); /* under the lock: another thread may count too */
	(void)pthread_mutex_unlock(&t->lock);
	buf_fini(&text);
	return e;
}

enum err
tee_quote(struct tee *t, struct buf *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	return t->p.ops->quote(t->p.self, out, report_data, why);
}

static enum err
copy_log(struct tee *t, struct buf *out, uint64_t *state)
{
	enum err e;

	(void)pthread_mutex_lock(&t->lock);
	e = log_text(out, t);
	*state = t->n_measured;
	(void)pthread_mutex_unlock(&t->lock);
	return e;
}

enum err
tee_event_log(struct tee *t, struct buf *out)
{
	uint64_t state;

	return copy_log(t, out, &state);
}

enum err
tee_vm_config(struct tee *t, struct buf *out)
{
	return buf_set(out, t->p.vm_config.p, t->p.vm_config.len);
}

enum err
tee_evidence(struct tee *t, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct evidence ev = { .tee = TEE_TDX };
	uint64_t before, after;
	enum err e = tee_vm_config(t, &ev.vm_config);

	for (unsigned i = 0; e == ERR_OK && i < EVIDENCE_TRIES; i++) {
		ev.quote.len = 0;
		if ((e = copy_log(t, &ev.event_log, &before)) != ERR_OK ||
		    (e = tee_quote(t, &ev.quote, report_data, why)) != ERR_OK)
			break;
		(void)pthread_mutex_lock(&t->lock);
		after = t->n_measured;
		(void)pthread_mutex_unlock(&t->lock);
		if (before == after) {
			*out = ev;
			return ERR_OK;
		}
		if (i + 1 == EVIDENCE_TRIES)
			e = ERR_AGAIN; /* events come faster than quotes */
	}
	buf_fini(&ev.quote);
	buf_fini(&ev.event_log);
	buf_fini(&ev.vm_config);
	return e;
}

enum err
tee_seal_key(struct tee *t, uint8_t out[static 32], const char *label)
{
	return t->p.ops->seal_key(t->p.self, out, label);
}
