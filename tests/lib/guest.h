/* guest: a made-up CVM for tests, whose image, log and verdict agree.
 *
 * Its OS image "measures" the SHA-384 of words ("kernel", "initrd", ...).
 * A test changes one thing and looks for the refusal. */
#ifndef TESTS_LIB_GUEST_H
#define TESTS_LIB_GUEST_H

#include <jansson.h>

#include "common/attest/bootinfo.h"

#define GUEST_DOC_LEN 384

struct guest {
	json_t *vm; /* owns; the vm_config */
	json_t *log; /* owns; the array of events */
	struct verdict verdict;
};

/* A guest of 2 GiB that has booted up to system-ready, with the events of
 * dstack-compat.md 3.3; app id 11.., compose hash 22.., instance 44... */
void guest_init(struct guest *g);
void guest_fini(struct guest *g);

/* The image's measurement document, and a guest with another one. */
void guest_doc(uint8_t out[static GUEST_DOC_LEN]);
void guest_set_doc(struct guest *g, const uint8_t *doc, size_t len);

/* guest_event appends a runtime event; guest_insert puts it at `at`. */
void guest_event(struct guest *g, const char *name, struct bytes payload);
void guest_insert(
    struct guest *g, size_t at, const char *name, struct bytes payload);
/* guest_at: the index of the first event of that name, or fails. */
size_t guest_at(const struct guest *g, const char *name);

/* guest_quote sets the verdict's RTMR0-3 to the replay of the log. */
void guest_quote(struct guest *g);

/* The JSON text, for the calls under test; the caller owns it. */
struct buf guest_text(const json_t *v);

/* boot_info_build of this guest. */
enum err guest_boot(struct boot_info *out, const struct guest *g,
    enum boot_variant variant, struct refusal *why);

#endif
