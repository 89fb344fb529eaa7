#include <assert.h>
#include <string.h>

#include "common/attest/eventlog.h"
#include "common/base/hex.h"

#include "node/agent/boot.h"

static void
add(struct boot_plan *p, const char *name, struct bytes payload)
{
	struct boot_event *ev = &p->event[p->n];

	assert(p->n < BOOT_EVENTS_MAX && payload.len <= BOOT_PAYLOAD_MAX);
	p->n++;
	ev->name = name;
	ev->len = payload.len;
	if (payload.len > 0)
		memcpy(ev->payload, payload.p, payload.len);
}

void
boot_plan_identity(struct boot_plan *p, const struct app_identity *id)
{
	const struct bytes none = { NULL, 0 };

	p->n = 0;
	add(p, "system-preparing", none);
	add(p, "app-id", (struct bytes){ id->app_id, 20 });
	add(p, "compose-hash", (struct bytes){ id->compose_hash, 32 });
	add(p, "instance-id",
	    id->has_instance_id ? (struct bytes){ id->instance_id, 20 } : none);
	add(p, "boot-mr-done", none);
}

enum err
boot_key_provider(struct buf *out, struct bytes ca_spki)
{
	char id[2 * BOOT_PAYLOAD_MAX + 1];

	if (ca_spki.len > BOOT_PAYLOAD_MAX)
		return ERR_LIMIT;
	return buf_printf(out, "{\"name\":\"kms\",\"id\":\"%s\"}",
	    hex_encode(id, ca_spki.p, ca_spki.len));
}

enum err
boot_plan_keys(struct boot_plan *p, const uint8_t os_image_hash[static 32],
    struct bytes ca_spki)
{
	struct buf provider = { 0 };
	enum err e = boot_key_provider(&provider, ca_spki);

	if (e == ERR_OK && provider.len > BOOT_PAYLOAD_MAX)
		e = ERR_LIMIT;
	if (e == ERR_OK) {
		add(p, "os-image-hash", (struct bytes){ os_image_hash, 32 });
		add(p, "key-provider", buf_view(&provider));
		add(p, "system-ready", (struct bytes){ NULL, 0 });
	}
	buf_fini(&provider);
	return e;
}

static bool
same(const struct boot_event *want, const struct event *is)
{
	return strcmp(want->name, is->name) == 0 &&
	    want->len == is->payload.len &&
	    (want->len == 0 ||
		memcmp(want->payload, is->payload.p, want->len) == 0);
}

enum err
boot_run(const struct boot_register *r, const struct boot_plan *p,
    struct refusal *why)
{
	struct event_log log = { .event = NULL };
	struct buf json = { 0 };
	size_t done = 0;
	enum err e;

	if ((e = r->log(r->cookie, &json)) != ERR_OK)
		goto done;
	if ((e = event_log_parse(&log, buf_view(&json), why)) != ERR_OK)
		goto done;
	for (size_t i = 0; i < log.n && done < p->n; i++) {
		if (log.event[i].imr != 3)
			continue;
		if (!same(&p->event[done], &log.event[i])) {
			e = refuse(why, REASON_EVENT_LOG,
			    "RTMR3 has %s where %s must be; reboot the VM",
			    log.event[i].name, p->event[done].name);
			goto done;
		}
		done++;
	}
	for (; done < p->n; done++) {
		const struct boot_event *ev = &p->event[done];

		e = r->extend(r->cookie, ev->name,
		    (struct bytes){ ev->payload, ev->len });
		if (e != ERR_OK)
			goto done;
	}
done:
	event_log_fini(&log);
	buf_fini(&json);
	return e;
}

bool
boot_reserved(const char *name)
{
	static const char *const system[] = { "system-preparing", "app-id",
		"compose-hash", "init-script-hash", "gpu-policy-hash",
		"gpu-attestation", "instance-id", "boot-mr-done", "mr-kms",
		"os-image-hash", "key-provider", "storage-fs", "system-ready" };
	size_t n = strcspn(name, ":");

	for (size_t i = 0; i < sizeof system / sizeof system[0]; i++)
		if (strlen(system[i]) == n && strncmp(system[i], name, n) == 0)
			return true;
	return false;
}
