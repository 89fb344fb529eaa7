#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/attest/imagedoc.h"
#include "common/attest/osimage.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"

/* Step 7: "exactly 0x80000000 or >= 0xB0000000". */
#define MEM_2G 0x80000000u
#define MEM_SPLIT 0xb0000000u
#define ABOVE_4G 0x100000000u

/* A PHIT of 56 bytes and one resource of 48 for each range, the gaps around
 * them, and the part above 4 GiB. */
#define HOB_MAX (56 + 48 * (2 * IMAGE_DOC_RANGES + 2))

#define N_ACPI 3
#define EV_PLATFORM_CONFIG 10u

/* The configuration firmware volume: the same for every VM (step 4 [2]). */
static const uint8_t cfv_digest[48] = { 0x34, 0x4b, 0xc5, 0x1c, 0x98, 0x0b,
	0xa6, 0x21, 0xaa, 0xa0, 0x0d, 0xa3, 0xed, 0x74, 0x36, 0xf7, 0xd6, 0xe5,
	0x49, 0x19, 0x7d, 0xfe, 0x69, 0x95, 0x15, 0xdf, 0xa2, 0xc6, 0x58, 0x3d,
	0x95, 0xe6, 0x41, 0x2a, 0xf2, 0x1c, 0x09, 0x7d, 0x47, 0x31, 0x55, 0x87,
	0x5f, 0xfd, 0x56, 0x1d, 0x67, 0x90 };
/* Boot0000, the boot option of the built-in kernel loader (step 4 [13]). */
static const uint8_t boot0000_digest[48] = { 0x23, 0xad, 0xa0, 0x7f, 0x52, 0x61,
	0xf1, 0x2f, 0x34, 0xa0, 0xbd, 0x8e, 0x46, 0x76, 0x09, 0x62, 0xd6, 0xb4,
	0xd5, 0x76, 0xa4, 0x16, 0xf1, 0xfe, 0xa1, 0xc6, 0x4b, 0xc6, 0x56, 0xb1,
	0xd2, 0x8e, 0xac, 0xf7, 0x04, 0x7a, 0xe6, 0xe9, 0x67, 0xc5, 0x8f, 0xd2,
	0xa9, 0x8b, 0xfa, 0x74, 0xc2, 0x98 };

/* GUIDs as they lie in memory (first three groups little-endian). */
static const uint8_t guid_global[16] = { 0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93,
	0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c };
static const uint8_t guid_security[16] = { 0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d,
	0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f };

static const char *const acpi_name[N_ACPI] = { "acpi-loader", "acpi-rsdp",
	"acpi-tables" };

/* What of a vm_config the registers depend on. */
struct vm {
	uint64_t memory_size;
	bool two_pass;
	uint8_t os_image_hash[32];
	struct buf checksum_file; /* owns */
	struct buf measurement; /* owns */
};

/* The event types of TCG's PC client profile that dstack's log shows. */
#define EV_SEPARATOR 4u
#define EV_EVENT_TAG 6u
#define EV_EFI_VARIABLE_DRIVER_CONFIG 0x80000001u
#define EV_EFI_VARIABLE_BOOT 0x80000002u
#define EV_EFI_BOOT_SERVICES_APPLICATION 0x80000003u
#define EV_EFI_ACTION 0x80000007u
#define EV_EFI_FIRMWARE_BLOB2 0x8000000au
#define EV_EFI_HANDOFF_TABLES2 0x8000000bu

/* An event list under construction. */
struct list {
	struct os_event *event; /* borrows OS_EVENTS of them */
	size_t n;
};

static uint8_t *
add(struct list *l, uint32_t imr, uint32_t type)
{
	struct os_event *e = &l->event[l->n++];

	assert(l->n <= OS_EVENTS);
	*e = (struct os_event){ .imr = imr, .type = type, .name = "" };
	return e->digest;
}

static void
add_digest(struct list *l, uint32_t imr, uint32_t type,
    const uint8_t digest[static 48])
{
	memcpy(add(l, imr, type), digest, 48);
}

/* Events whose digest is that of fixed bytes. */
static void
add_bytes(struct list *l, uint32_t imr, uint32_t type, struct bytes in)
{
	sha384(add(l, imr, type), in.p, in.len);
}

/* An absent variable: GUID, lengths of name and (empty) value, UTF-16 name. */
static void
add_variable(struct list *l, const uint8_t guid[static 16], const char *name)
{
	uint8_t in[16 + 8 + 8 + 2 * 16];
	struct wr w = { .p = in, .cap = sizeof in };

	wr_bytes(&w, guid, 16);
	wr_le64(&w, strlen(name));
	wr_le64(&w, 0);
	for (; *name != '\0'; name++)
		wr_le16(&w, (uint8_t)*name);
	assert(wr_ok(&w));
	sha384(add(l, 0, EV_EFI_VARIABLE_DRIVER_CONFIG), in, w.len);
}

static void
add_resource(struct wr *w, bool accepted, uint64_t start, uint64_t len)
{
	wr_le16(w, 3); /* EFI_HOB_TYPE_RESOURCE_DESCRIPTOR */
	wr_le16(w, 48);
	wr_zero(w, 4 + 16);
	wr_le32(w, accepted ? 0 : 7);
	wr_le32(w, 7);
	wr_le64(w, start);
	wr_le64(w, len);
}

/* Step 5: the hand-off blocks that QEMU writes for this memory size. */
static void
td_hob_digest(
    uint8_t out[static 48], const struct image_doc *doc, uint64_t memory_size)
{
	uint8_t hob[HOB_MAX];
	struct wr w = { .p = hob, .cap = sizeof hob };
	struct wr end = { .p = hob + 48, .cap = 8 };
	uint64_t at = 0;

	wr_le16(&w, 1); /* EFI_HOB_TYPE_HANDOFF */
	wr_le16(&w, 56);
	wr_zero(&w, 4);
	wr_le32(&w, 9);
	wr_zero(&w, 44);
	for (size_t i = 0; i < doc->n_ranges; i++) {
		const struct image_range *r = &doc->range[i];

		if (r->start > at)
			add_resource(&w, false, at, r->start - at);
		add_resource(&w, true, r->start, r->end - r->start);
		at = r->end;
	}
	/* What is left ends at 2 GiB, the rest is above 4 GiB. */
	assert(at < MEM_2G && memory_size >= MEM_2G);
	add_resource(&w, false, at, MEM_2G - at);
	if (memory_size > MEM_2G)
		add_resource(&w, false, ABOVE_4G, memory_size - MEM_2G);
	wr_le64(&end, doc->hob_addr + w.len + 8);
	assert(wr_ok(&w) && wr_ok(&end));
	sha384(out, hob, w.len);
}

/* The three ACPI digests are taken as the log has them: lite images let the
 * host choose the tables.  RTMR0 still has to replay. */
static enum err
find_acpi(const uint8_t *acpi[static N_ACPI], const struct event_log *log,
    struct refusal *why)
{
	size_t n = 0;

	for (size_t i = 0; i < log->n; i++) {
		const struct event *e = &log->event[i];

		if (e->imr != 0 || e->type != EV_PLATFORM_CONFIG ||
		    e->payload.len != 9 ||
		    memcmp(e->payload.p, "ACPI DATA", 9) != 0)
			continue;
		if (n == N_ACPI)
			return refuse(why, REASON_OS_IMAGE,
			    "more than three ACPI DATA events");
		/* Old logs leave the name empty; the order is the same. */
		if (e->name[0] != '\0' && strcmp(e->name, acpi_name[n]) != 0)
			return refuse(why, REASON_OS_IMAGE,
			    "ACPI event %s is not %s", e->name, acpi_name[n]);
		acpi[n++] = e->digest;
	}
	if (n != N_ACPI)
		return refuse(why, REASON_OS_IMAGE, "%zu ACPI DATA events", n);
	return ERR_OK;
}

static enum err
base64_member(
    struct buf *out, const json_t *obj, const char *key, struct refusal *why)
{
	const char *s;
	size_t len;
	enum err e;

	if (json_get_str(&s, obj, key) != ERR_OK)
		return refuse(
		    why, REASON_OS_IMAGE, "no tdx_measurement.%s", key);
	len = strlen(s);
	if ((e = buf_reserve(out, len / 4 * 3 + 3)) != ERR_OK)
		return e;
	if (sodium_base642bin(out->p, out->cap, s, len, NULL, &out->len, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0)
		return refuse(why, REASON_OS_IMAGE,
		    "tdx_measurement.%s is not base64", key);
	return ERR_OK;
}

/* Reads decimal digits up to `end`; false unless there are one to three. */
static bool
number(unsigned *out, const char **s, char end)
{
	unsigned v = 0;
	int n = 0;

	for (; **s >= '0' && **s <= '9' && n < 3; n++)
		v = v * 10 + (unsigned)(*(*s)++ - '0');
	if (n == 0 || *(*s)++ != end)
		return false;
	*out = v;
	return true;
}

/* Step 3: "MRTD = two_pass if qemu 8.x, single_pass if >= 9 (default
 * 9.1.0)"; the peer's override has an inverted name: true is two_pass. */
static enum err
parse_qemu(struct vm *vm, const json_t *obj, struct refusal *why)
{
	const char *s = "9.1.0";
	unsigned major, minor, patch;
	enum err e = json_get_str(&s, obj, "qemu_version");

	if ((e != ERR_OK && e != ERR_NOTFOUND) || !number(&major, &s, '.') ||
	    !number(&minor, &s, '.') || !number(&patch, &s, '\0') || major < 8)
		return refuse(why, REASON_OS_IMAGE, "qemu_version");
	vm->two_pass = major == 8;
	e = json_get_bool(&vm->two_pass, obj, "qemu_single_pass_add_pages");
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return refuse(
		    why, REASON_OS_IMAGE, "qemu_single_pass_add_pages");
	return ERR_OK;
}

static enum err
parse_vm(struct vm *vm, const json_t *obj, struct refusal *why)
{
	const char *s;
	const json_t *m;
	enum err e;

	if (json_get_hex(vm->os_image_hash, 32, obj, "os_image_hash") != ERR_OK)
		return refuse(why, REASON_OS_IMAGE, "no os_image_hash");
	/* Without the measurement document the registers could be anything
	 * that somebody calls by this hash. */
	if (json_get_str(&s, obj, "tdx_attestation_variant") != ERR_OK ||
	    strcmp(s, "lite") != 0)
		return refuse(why, REASON_OS_IMAGE,
		    "vm_config is not of the lite variant");
	if ((e = json_get_str(&s, obj, "ovmf_variant")) != ERR_NOTFOUND &&
	    (e != ERR_OK || strcmp(s, "pre202505") != 0))
		return refuse(why, REASON_OS_IMAGE, "ovmf_variant");
	if (json_get_u64(&vm->memory_size, obj, "memory_size") != ERR_OK ||
	    (vm->memory_size != MEM_2G && vm->memory_size < MEM_SPLIT))
		return refuse(why, REASON_OS_IMAGE,
		    "memory_size is neither 2 GiB nor at least 2.75 GiB");
	if ((e = parse_qemu(vm, obj, why)) != ERR_OK)
		return e;
	m = json_object_get(obj, "tdx_measurement");
	if ((e = base64_member(&vm->checksum_file, m, "checksum_file", why)) !=
	    ERR_OK)
		return e;
	return base64_member(&vm->measurement, m, "measurement", why);
}

/* vm_config may be an object whose string member "vm_config" is the real
 * one (dstack-compat.md 3.8): unwrapped once. */
static enum err
load_vm(struct vm *vm, struct bytes vm_config, struct refusal *why)
{
	json_t *root = NULL, *inner = NULL;
	const char *s;
	char text[120];
	enum err e;

	if (json_parse(&root, vm_config.p, vm_config.len, LIMIT_VM_CONFIG, text,
		sizeof text) != ERR_OK)
		return refuse(why, REASON_OS_IMAGE, "vm_config: %s", text);
	e = json_get_str(&s, root, "vm_config");
	if (e == ERR_OK) {
		if (json_parse(&inner, s, strlen(s), LIMIT_VM_CONFIG, text,
			sizeof text) != ERR_OK)
			e = refuse(
			    why, REASON_OS_IMAGE, "inner vm_config: %s", text);
		else
			e = parse_vm(vm, inner, why);
	} else if (e == ERR_NOTFOUND) {
		e = parse_vm(vm, root, why);
	} else {
		e = refuse(why, REASON_OS_IMAGE, "vm_config is no object");
	}
	json_decref(inner);
	json_decref(root);
	return e;
}

/* One line of sha256sum.txt: 64 digits, two spaces, the name. */
static bool
checksum_line(uint8_t hash[static 32], bool *ours, const char *line, size_t n)
{
	static const char name[] = "measurement.tdx.cbor";
	size_t len;

	if (n < 64 + 2 + 1 || line[64] != ' ' || line[65] != ' ' ||
	    hex_decode(hash, 32, &len, line, 64) != ERR_OK)
		return false;
	*ours =
	    n - 66 == sizeof name - 1 && memcmp(line + 66, name, n - 66) == 0;
	return true;
}

/* Step 1: os_image_hash names the checksum file, and exactly one of its
 * lines the measurement document. */
static enum err
check_image_hash(const struct vm *vm, struct refusal *why)
{
	const char *p = (const char *)vm->checksum_file.p;
	const char *end = p + vm->checksum_file.len;
	uint8_t h[32], line_hash[32];
	unsigned found = 0;

	sha256(h, vm->checksum_file.p, vm->checksum_file.len);
	if (memcmp(h, vm->os_image_hash, 32) != 0)
		return refuse(why, REASON_OS_IMAGE,
		    "os_image_hash is not that of the checksum file");
	sha256(h, vm->measurement.p, vm->measurement.len);
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl != NULL ? nl : end) - p);
		bool ours = false;

		if (n > 0 && !checksum_line(line_hash, &ours, p, n))
			return refuse(
			    why, REASON_OS_IMAGE, "line of the checksum file");
		if (ours && (found++ > 0 || memcmp(line_hash, h, 32) != 0))
			return refuse(why, REASON_OS_IMAGE,
			    "measurement document is not the image's");
		p += n + (nl != NULL);
	}
	if (found == 0)
		return refuse(why, REASON_OS_IMAGE,
		    "checksum file without measurement document");
	return ERR_OK;
}

/* Steps 4 and 6, in the order in which a boot measures. */
static void
list_events(struct os_event out[static OS_EVENTS], const struct vm *vm,
    const struct image_doc *doc, const uint8_t *const acpi[static N_ACPI])
{
	static const uint8_t zeros[4];
	const struct bytes separator = { zeros, 4 }, boot_order = { zeros, 2 };
	struct list l = { .event = out };

	td_hob_digest(add(&l, 0, EV_EFI_HANDOFF_TABLES2), doc, vm->memory_size);
	add_digest(&l, 0, EV_EFI_FIRMWARE_BLOB2, cfv_digest);
	add_variable(&l, guid_global, "SecureBoot");
	add_variable(&l, guid_global, "PK");
	add_variable(&l, guid_global, "KEK");
	add_variable(&l, guid_security, "db");
	add_variable(&l, guid_security, "dbx");
	add_bytes(&l, 0, EV_SEPARATOR, separator);
	for (int i = 0; i < N_ACPI; i++) {
		add_digest(&l, 0, EV_PLATFORM_CONFIG, acpi[i]);
		out[l.n - 1].name = acpi_name[i];
	}
	add_digest(
	    &l, 1, EV_EFI_BOOT_SERVICES_APPLICATION, doc->kernel_authenticode);
	add_bytes(&l, 0, EV_EFI_VARIABLE_BOOT, boot_order);
	add_digest(&l, 0, EV_EFI_VARIABLE_BOOT, boot0000_digest);
	add_bytes(&l, 1, EV_EFI_ACTION,
	    BYTES_STR("Calling EFI Application from Boot Option"));
	add_bytes(&l, 1, EV_SEPARATOR, separator);
	add_digest(&l, 2, EV_EVENT_TAG, doc->cmdline_sha384);
	add_digest(&l, 2, EV_EVENT_TAG, doc->initrd_sha384);
	add_bytes(
	    &l, 1, EV_EFI_ACTION, BYTES_STR("Exit Boot Services Invocation"));
	add_bytes(&l, 1, EV_EFI_ACTION,
	    BYTES_STR("Exit Boot Services Returned with Success"));
	assert(l.n == OS_EVENTS);
}

enum err
os_image_events(struct os_registers *out,
    struct os_event event[static OS_EVENTS], struct bytes vm_config,
    const struct event_log *log, struct refusal *why)
{
	const uint8_t *acpi[N_ACPI] = { 0 };
	struct image_doc doc;
	struct vm vm = { 0 };
	const char *what;
	enum err e = load_vm(&vm, vm_config, why);

	if (e != ERR_OK || (e = check_image_hash(&vm, why)) != ERR_OK)
		goto done;
	if (image_doc_parse(&doc, &what, buf_view(&vm.measurement)) != ERR_OK) {
		e = refuse(
		    why, REASON_OS_IMAGE, "measurement document: %s", what);
		goto done;
	}
	if ((e = find_acpi(acpi, log, why)) != ERR_OK)
		goto done;
	list_events(event, &vm, &doc, acpi);
	memset(out, 0, sizeof *out);
	for (size_t i = 0; i < OS_EVENTS; i++)
		rtmr_extend(out->rtmr[event[i].imr], event[i].digest);
	memcpy(out->mrtd,
	    vm.two_pass ? doc.mrtd_two_pass : doc.mrtd_single_pass, 48);
	memcpy(out->os_image_hash, vm.os_image_hash, 32);
done:
	buf_fini(&vm.checksum_file);
	buf_fini(&vm.measurement);
	return e;
}

enum err
os_image_measure(struct os_registers *out, struct bytes vm_config,
    const struct event_log *log, struct refusal *why)
{
	struct os_event event[OS_EVENTS];

	return os_image_events(out, event, vm_config, log, why);
}
