#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/attest/osimage.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "node/tee/simhost.h"
#include "node/tee/simimage.h"

#define PATH_CAP 1024
#define MEMORY_SIZE 0x80000000ull
#define QEMU_VERSION "8.2.2" /* adds pages in two passes: step 3 */
#define EV_PLATFORM_CONFIG_FLAGS 10u

/* The memory that the firmware finds accepted: pages from its base on. */
static const struct {
	uint8_t start, count;
} accepted[] = { { 0, 6 }, { 9, 2 }, { 11, 2 }, { 16, 16 } };
#define N_ACCEPTED (sizeof accepted / sizeof accepted[0])
#define HOB_PAGE 9

struct image {
	const char *seed;
	struct buf measurement, checksums, vm_config, boot_log; /* owns */
};

/* Whatever a real image would have been measured to. */
static void
digest_of(uint8_t out[static 48], const char *seed, const char *what)
{
	sha384_v(out,
	    (const struct bytes[]){ BYTES_STR(SIM_ORGANIZATION " image:"),
		{ (const uint8_t *)what, strlen(what) }, BYTES_STR(":"),
		{ (const uint8_t *)seed, strlen(seed) } },
	    4);
}

/* ---- measurement.tdx.cbor: step 2 ---- */

static void
cbor_text(struct wr *w, const char *s)
{
	size_t n = strlen(s);

	wr_u8(w, (uint8_t)(0x60 + n)); /* all are shorter than 24 */
	wr_bytes(w, s, n);
}

static void
cbor_digest(struct wr *w, const char *name, const char *seed)
{
	uint8_t d[48];

	digest_of(d, seed, name);
	cbor_text(w, name);
	wr_u8(w, 0x58);
	wr_u8(w, sizeof d);
	wr_bytes(w, d, sizeof d);
}

static enum err
make_measurement(struct image *im)
{
	uint8_t out[512];
	struct wr w = { .p = out, .cap = sizeof out };
	/* base page 2048 as a varint, HOB page, n, then pairs */
	uint8_t hob[4 + 2 * N_ACCEPTED] = { 0x80, 0x10, HOB_PAGE, N_ACCEPTED };

	for (size_t i = 0; i < N_ACCEPTED; i++) {
		hob[4 + 2 * i] = accepted[i].start;
		hob[4 + 2 * i + 1] = accepted[i].count;
	}
	wr_u8(&w, 0xa3);
	cbor_text(&w, "version");
	wr_u8(&w, 3);
	cbor_text(&w, "image");
	wr_u8(&w, 0xa3);
	cbor_digest(&w, "cmdline_sha384", im->seed);
	cbor_digest(&w, "kernel_authenticode", im->seed);
	cbor_digest(&w, "initrd_sha384", im->seed);
	cbor_text(&w, "tdvf");
	wr_u8(&w, 0xa3);
	cbor_text(&w, "ovmf");
	cbor_text(&w, "pre202505");
	cbor_text(&w, "mrtd");
	wr_u8(&w, 0xa2);
	cbor_digest(&w, "single_pass", im->seed);
	cbor_digest(&w, "two_pass", im->seed);
	cbor_text(&w, "td_hob");
	wr_u8(&w, 0x40 + sizeof hob);
	wr_bytes(&w, hob, sizeof hob);
	if (!wr_ok(&w))
		return ERR_LIMIT;
	return buf_set(&im->measurement, out, w.len);
}

/* ---- sha256sum.txt and vm_config: step 1 ---- */

static enum err
make_checksums(struct image *im)
{
	uint8_t h[32];
	char hex[65];

	sha256(h, im->measurement.p, im->measurement.len);
	return buf_printf(&im->checksums, "%s  " SIM_IMAGE_MEASUREMENT "\n",
	    hex_encode(hex, h, sizeof h));
}

static enum err
set_base64(json_t *o, const char *key, const struct buf *b)
{
	char text[2048];

	if (sodium_base64_encoded_len(b->len, sodium_base64_VARIANT_ORIGINAL) >
	    sizeof text)
		return ERR_LIMIT;
	(void)sodium_bin2base64(
	    text, sizeof text, b->p, b->len, sodium_base64_VARIANT_ORIGINAL);
	return json_set_str(o, key, text);
}

static enum err
make_vm_config(struct image *im, const char *name)
{
	json_t *o = json_object(), *m = json_object();
	uint8_t hash[32];
	enum err e;

	sha256(hash, im->checksums.p, im->checksums.len);
	if (o == NULL || m == NULL)
		e = ERR_NOMEM;
	else if ((e = set_base64(m, "checksum_file", &im->checksums)) ==
		ERR_OK &&
	    (e = set_base64(m, "measurement", &im->measurement)) == ERR_OK &&
	    (e = json_set_hex(o, "os_image_hash", hash, 32)) == ERR_OK &&
	    (e = json_set_u64(o, "cpu_count", 2)) == ERR_OK &&
	    (e = json_set_u64(o, "memory_size", MEMORY_SIZE)) == ERR_OK &&
	    (e = json_set_str(o, "qemu_version", QEMU_VERSION)) == ERR_OK &&
	    (e = json_set_str(o, "image", name)) == ERR_OK &&
	    (e = json_set_str(o, "tdx_attestation_variant", "lite")) ==
		ERR_OK &&
	    (e = json_set_u64(o, "spec_version", 1)) == ERR_OK) {
		e = json_set_new(o, "tdx_measurement", m);
		m = NULL;
	}
	if (e == ERR_OK)
		e = json_write(&im->vm_config, o);
	json_decref(o);
	json_decref(m);
	return e;
}

/* ---- boot_events.json: steps 4 to 6 ---- */

static enum err
log_add(json_t *log, uint32_t imr, uint32_t type, const char *name,
    const uint8_t digest[static 48])
{
	static const char acpi[] = "ACPI DATA";
	size_t len = type == EV_PLATFORM_CONFIG_FLAGS ? sizeof acpi - 1 : 0;
	json_t *o = json_object();
	enum err e = o == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK)
		e = json_set_u64(o, "imr", imr);
	if (e == ERR_OK)
		e = json_set_u64(o, "event_type", type);
	if (e == ERR_OK)
		e = json_set_hex(o, "digest", digest, 48);
	if (e == ERR_OK)
		e = json_set_str(o, "event", name);
	if (e == ERR_OK)
		e = json_set_hex(
		    o, "event_payload", (const uint8_t *)acpi, len);
	if (e == ERR_OK && json_array_append(log, o) != 0)
		e = ERR_NOMEM;
	json_decref(o);
	return e;
}

/* The ACPI tables are the only part of a boot that an image does not fix:
 * the simulator's VMM shows its own, made from the seed. */
static enum err
acpi_events(struct event_log *out, const char *seed)
{
	static const char *const name[] = { "acpi-loader", "acpi-rsdp",
		"acpi-tables" };
	json_t *log = json_array();
	struct buf text = { 0 };
	enum err e = log == NULL ? ERR_NOMEM : ERR_OK;
	uint8_t d[48];

	for (size_t i = 0; i < 3 && e == ERR_OK; i++) {
		digest_of(d, seed, name[i]);
		e = log_add(log, 0, EV_PLATFORM_CONFIG_FLAGS, name[i], d);
	}
	if (e == ERR_OK)
		e = json_write(&text, log);
	if (e == ERR_OK)
		e = event_log_parse(out, buf_view(&text), NULL);
	json_decref(log);
	buf_fini(&text);
	return e;
}

/* What an honest boot of this image logs, from the verifier's own recipe:
 * the two may not differ. */
static enum err
make_boot_log(struct image *im)
{
	struct os_event event[OS_EVENTS];
	struct os_registers regs;
	struct event_log acpi = { 0 };
	json_t *log = json_array();
	enum err e = log == NULL ? ERR_NOMEM : acpi_events(&acpi, im->seed);

	if (e == ERR_OK)
		e = os_image_events(
		    &regs, event, buf_view(&im->vm_config), &acpi, NULL);
	for (size_t i = 0; i < OS_EVENTS && e == ERR_OK; i++)
		e = log_add(log, event[i].imr, event[i].type, event[i].name,
		    event[i].digest);
	if (e == ERR_OK)
		e = json_write(&im->boot_log, log);
	json_decref(log);
	event_log_fini(&acpi);
	return e;
}

/* ---- public ---- */

static enum err
put(const char *folder, const char *name, const struct buf *b)
{
	char path[PATH_CAP];
	enum err e = file_join(path, sizeof path, folder, name);

	return e == ERR_OK ? file_write(path, b->p, b->len, 0644) : e;
}

enum err
sim_image_create(const char *dir, const char *name, const char *seed)
{
	char folder[PATH_CAP - 64];
	struct image im = { .seed = seed };
	struct stat st;
	enum err e;
	int n = snprintf(folder, sizeof folder, "%s/images/%s", dir, name);

	if (!sim_name_ok(name))
		e = ERR_CONFIG;
	else if (n < 0 || (size_t)n >= sizeof folder)
		e = ERR_LIMIT;
	else if (stat(folder, &st) == 0)
		e = ERR_EXISTS;
	else if ((e = make_measurement(&im)) == ERR_OK &&
	    (e = make_checksums(&im)) == ERR_OK &&
	    (e = make_vm_config(&im, name)) == ERR_OK &&
	    (e = make_boot_log(&im)) == ERR_OK &&
	    (e = file_mkdirs(folder)) == ERR_OK &&
	    (e = put(folder, "sha256sum.txt", &im.checksums)) == ERR_OK &&
	    (e = put(folder, SIM_IMAGE_MEASUREMENT, &im.measurement)) ==
		ERR_OK &&
	    (e = put(folder, SIM_IMAGE_VM_CONFIG, &im.vm_config)) == ERR_OK)
		e = put(folder, SIM_IMAGE_BOOT_LOG, &im.boot_log);
	buf_fini(&im.measurement);
	buf_fini(&im.checksums);
	buf_fini(&im.vm_config);
	buf_fini(&im.boot_log);
	return e;
}
