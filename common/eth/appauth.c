#include <string.h>

#include "common/base/wr.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"

/* AppBootInfo has nine members, all one word in the head; the last two
 * (tcbStatus, advisoryIds) are offsets of what follows. */
#define HEAD_LEN (9u * ABI_WORD)
/* Selector, offset, head, status, and 64 advisories of two words and an
 * offset each come to less than 7 KiB. */
#define CALL_MAX (8u * 1024)

static enum err
put_selector(struct buf *out, uint32_t selector)
{
	uint8_t sel[4];
	struct wr w = { .p = sel, .cap = sizeof sel };

	wr_be32(&w, selector);
	return buf_set(out, sel, sizeof sel);
}

/* string[]: count, then offsets from behind the count, then the strings. */
static enum err
put_advisories(struct buf *out, const struct boot_info *bi)
{
	enum err e = abi_put_u64(out, bi->n_advisories, CALL_MAX);
	size_t at = (size_t)bi->n_advisories * ABI_WORD;

	for (unsigned i = 0; e == ERR_OK && i < bi->n_advisories; i++) {
		e = abi_put_u64(out, at, CALL_MAX);
		at += abi_bytes_size(strlen(bi->advisory[i]));
	}
	for (unsigned i = 0; e == ERR_OK && i < bi->n_advisories; i++)
		e = abi_put_bytes(
		    out, bi->advisory[i], strlen(bi->advisory[i]), CALL_MAX);
	return e;
}

static bool
in_bounds(const struct boot_info *bi)
{
	if ((unsigned)bi->tcb_status >= TCB_STATUS_COUNT ||
	    bi->n_advisories > ADVISORY_MAX)
		return false;
	for (unsigned i = 0; i < bi->n_advisories; i++)
		if (memchr(bi->advisory[i], 0, ADVISORY_LEN) == NULL)
			return false;
	return true;
}

enum err
appauth_call(struct buf *out, uint32_t selector, const struct boot_info *bi)
{
	static const uint8_t none[20];
	const uint8_t *instance = bi->has_instance_id ? bi->instance_id : none;
	const char *tcb;
	size_t tcb_len;
	enum err e;

	if (!in_bounds(bi))
		return ERR_MALFORMED;
	tcb = tcb_status_text(bi->tcb_status);
	tcb_len = strlen(tcb);
	if ((e = put_selector(out, selector)) != ERR_OK ||
	    (e = abi_put_u64(out, ABI_WORD, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_address(out, bi->app_id, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, bi->compose_hash, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_address(out, instance, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, bi->device_id, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, bi->mr_aggregated, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, bi->mr_system, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes32(out, bi->os_image_hash, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_u64(out, HEAD_LEN, CALL_MAX)) != ERR_OK ||
	    (e = abi_put_u64(out, HEAD_LEN + abi_bytes_size(tcb_len),
		 CALL_MAX)) != ERR_OK ||
	    (e = abi_put_bytes(out, tcb, tcb_len, CALL_MAX)) != ERR_OK)
		return e;
	return put_advisories(out, bi);
}

enum err
appauth_getter(struct buf *out, uint32_t selector)
{
	return put_selector(out, selector);
}

enum err
appauth_of_app(
    struct buf *out, uint32_t selector, const uint8_t app_id[static 20])
{
	enum err e = put_selector(out, selector);

	return e == ERR_OK ? abi_put_address(out, app_id, CALL_MAX) : e;
}

enum err
appauth_answer(bool *allowed, struct bytes *reason, struct bytes in)
{
	return abi_get_bool_string(allowed, reason, in);
}

enum err
appauth_kms_info(struct appauth_kms_info *out, struct bytes in)
{
	struct bytes m[4];
	enum err e = abi_get_dynamic(m, 4, in);

	if (e != ERR_OK)
		return e;
	*out = (struct appauth_kms_info){ m[0], m[1], m[2], m[3] };
	return ERR_OK;
}
