/* fuzz_bootinfo: who booted, as an event log and a vm_config tell it.
 *
 * Targets: boot_info_build, boot_info_measure, os_image_events,
 * image_doc_parse, event_log_replay.
 *
 * Input: variant u8 | n u16 | vm_config n | event log.  The verdict's RTMRs are
 * the log's replay, so that its first check is passed (odd: RTMR3 alone is).
 *
 * Asserted: what an image measures to is the same twice, and RTMR0-2 of what
 * boots are that; a log whose RTMR3 is another is refused; a refusal has a
 * reason and writes nothing. */
#include <string.h>

#include "common/attest/bootinfo.h"
#include "common/attest/imagedoc.h"
#include "common/attest/osimage.h"
#include "common/base/rd.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_doc(struct bytes in)
{
	struct image_doc d;
	const char *what = NULL;

	if (image_doc_parse(&d, &what, in) != ERR_OK) {
		must(what != NULL);
		return;
	}
	must(d.n_ranges <= IMAGE_DOC_RANGES);
	for (size_t i = 0; i < d.n_ranges; i++) {
		must(d.range[i].start < d.range[i].end);
		must(i == 0 || d.range[i - 1].end <= d.range[i].start);
	}
	must(image_doc_parse(&d, &what, (struct bytes){ in.p, in.len - 1 }) ==
	    ERR_MALFORMED);
}

/* False: it is no image's. */
static bool
measure(struct os_registers *out, struct bytes vm, const struct event_log *log)
{
	struct os_event ev[OS_EVENTS], ev2[OS_EVENTS];
	struct os_registers again;
	struct refusal why = { 0 };
	enum err e;

	memset(out, 0x5a, sizeof *out);
	memset(&again, 0x5a, sizeof again);
	e = os_image_events(out, ev, vm, log, &why);
	if (e != ERR_OK) {
		must(e == ERR_DENIED || e == ERR_NOMEM);
		must(why.code == REASON_OS_IMAGE);
		must(memcmp(out, &again, sizeof again) == 0);
		return false;
	}
	must(os_image_events(&again, ev2, vm, log, &why) == ERR_OK);
	must(memcmp(out, &again, sizeof again) == 0);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct boot_info b, blank;
	struct rd in = { .p = data, .left = size };
	uint8_t how = rd_u8(&in);
	size_t n = rd_be16(&in);
	struct bytes vm = { in.p, n < in.left ? n : in.left }, text;
	struct verdict v = { .tee = TEE_TDX };
	struct os_registers r = { 0 };
	struct event_log log;
	struct refusal why = { 0 };
	bool is_image;
	enum err e;

	vm.p = rd_bytes(&in, vm.len);
	text = (struct bytes){ in.p, in.left };
	if (in.bad || vm.p == NULL)
		return 0;
	try_doc(text);
	if (event_log_parse(&log, text, &why) != ERR_OK)
		return 0;
	is_image = measure(&r, vm, &log);
	for (uint32_t i = 0; i < 4; i++)
		event_log_replay(v.td.rtmr[i], &log, i, NULL);
	if (is_image && (how & 1) != 0) {
		memcpy(v.td.mrtd, r.mrtd, 48);
		memcpy(v.td.rtmr, r.rtmr, sizeof r.rtmr);
	}
	memset(&b, 0x5a, sizeof b);
	memset(&blank, 0x5a, sizeof blank);
	why = (struct refusal){ 0 };
	e = boot_info_build(
	    &b, &v, text, vm, (how & 2) != 0 ? BOOT_KMS : BOOT_APP, &why);
	if (e == ERR_OK) {
		must(is_image && memcmp(v.td.rtmr[0], r.rtmr[0], 48) == 0 &&
		    memcmp(v.td.rtmr[1], r.rtmr[1], 48) == 0 &&
		    memcmp(v.td.rtmr[2], r.rtmr[2], 48) == 0 &&
		    memcmp(v.td.mrtd, r.mrtd, 48) == 0);
		must(memcmp(b.os_image_hash, r.os_image_hash, 32) == 0);
		must(memchr(b.key_provider, 0, sizeof b.key_provider) != NULL);
		v.td.rtmr[3][how % 48] ^= 1;
		must(boot_info_build(&blank, &v, text, vm, BOOT_APP, &why) ==
		    ERR_DENIED);
	} else {
		must(e != ERR_DENIED || why.code != REASON_NONE);
		must(memcmp(&b, &blank, sizeof b) == 0);
	}
	event_log_fini(&log);
	return 0;
}
