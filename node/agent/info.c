#include <ctype.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"

#include "node/agent/boot.h"
#include "node/agent/info.h"

/* "ACPI DATA" in hex: the one payload of boot events that is kept. */
#define ACPI_DATA "414350492044415441"
#define ACPI_TYPE 10

/* The firmware's word, without what is no printable ASCII. */
static void
read_dmi(char out[static INFO_DMI_MAX], const char *path)
{
	struct buf b = { 0 };
	size_t n = 0;

	if (file_read(&b, path, 4096) == ERR_OK)
		for (size_t i = 0; i < b.len && n < INFO_DMI_MAX - 1; i++)
			if (b.p[i] >= 0x20 && b.p[i] < 0x7f)
				out[n++] = (char)b.p[i];
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	buf_fini(&b);
}

enum err
info_gather(
    struct info *out, const struct agent_backend *b, struct refusal *why)
{
	struct info i = { .m = { .event_log = { 0 } } };
	enum err e;

	sha256(i.device_id, "", 0);
	if ((e = b->measured(b->cookie, &i.m, why)) != ERR_OK)
		return e;
	e = boot_key_provider(&i.key_provider,
	    (struct bytes){ b->boot_ca_spki, sizeof b->boot_ca_spki });
	if (e != ERR_OK) {
		info_fini(&i);
		return e;
	}
	read_dmi(i.cloud_vendor, "/sys/class/dmi/id/sys_vendor");
	read_dmi(i.cloud_product, "/sys/class/dmi/id/product_name");
	*out = i; /* transferred */
	return ERR_OK;
}

void
info_fini(struct info *i)
{
	buf_fini(&i->m.event_log);
	buf_fini(&i->m.vm_config);
	buf_fini(&i->key_provider);
}

static bool
is_acpi(const json_t *ev, uint64_t imr)
{
	const char *payload;
	uint64_t type;

	return imr == 0 && json_get_u64(&type, ev, "event_type") == ERR_OK &&
	    type == ACPI_TYPE &&
	    json_get_str(&payload, ev, "event_payload") == ERR_OK &&
	    strcmp(payload, ACPI_DATA) == 0;
}

json_t *
info_event_log(const struct buf *log)
{
	static const char *const acpi[] = { "acpi-loader", "acpi-rsdp",
		"acpi-tables" };
	json_t *all = NULL, *ev;
	size_t i, n_acpi = 0;
	uint64_t imr;
	enum err e;

	if (json_parse(&all, log->p, log->len, LIMIT_EVENT_LOG, NULL, 0) !=
	    ERR_OK)
		return NULL;
	json_array_foreach(all, i, ev)
	{
		if (json_get_u64(&imr, ev, "imr") != ERR_OK)
			goto bad;
		if (imr > 2)
			continue;
		if (!is_acpi(ev, imr))
			e = json_set_str(ev, "event_payload", "");
		else if (n_acpi < sizeof acpi / sizeof acpi[0])
			e = json_set_str(ev, "event", acpi[n_acpi++]);
		else
			continue;
		if (e != ERR_OK)
			goto bad;
	}
	return all;
bad:
	json_decref(all);
	return NULL;
}

static enum err
add_registers(json_t *o, const struct agent_measured *m)
{
	static const char *const rtmr[] = { "rtmr0", "rtmr1", "rtmr2",
		"rtmr3" };
	enum err e = json_set_hex(o, "mrtd", m->mrtd, 48);

	for (size_t i = 0; e == ERR_OK && i < 4; i++)
		e = json_set_hex(o, rtmr[i], m->rtmr[i], 48);
	if (e == ERR_OK)
		e = json_set_hex(o, "mr_aggregated", m->mr_aggregated, 32);
	return e;
}

enum err
info_tcb(struct buf *out, const struct agent_backend *b, const struct info *i)
{
	const struct app_identity *id = b->identity;
	json_t *o = json_object(), *log = info_event_log(&i->m.event_log);
	enum err e = ERR_NOMEM;

	if (o == NULL)
		goto done;
	if (log == NULL) {
		e = ERR_MALFORMED;
		goto done;
	}
	if ((e = add_registers(o, &i->m)) == ERR_OK &&
	    (e = json_set_hex(o, "os_image_hash", b->os_image_hash, 32)) ==
		ERR_OK &&
	    (e = json_set_hex(o, "compose_hash", id->compose_hash, 32)) ==
		ERR_OK &&
	    (e = json_set_hex(o, "device_id", i->device_id, 32)) == ERR_OK &&
	    (e = json_set_new(o, "event_log", json_incref(log))) == ERR_OK &&
	    (e = json_set_str(o, "app_compose", (const char *)id->compose.p)) ==
		ERR_OK)
		e = json_write_pretty(out, o);
done:
	json_decref(log);
	json_decref(o);
	return e;
}
