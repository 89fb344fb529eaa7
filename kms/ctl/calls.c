#include <string.h>

#include "common/base/limits.h"
#include "common/eth/abi.h"
#include "kms/ctl/calls.h"

/* A quote and an event log, and little beside them. */
#define MAX LIMIT_KMS_INFO

#define SET_KMS_INFO 0x7d025352u
#define DEPLOY_APP 0x9cb9c31fu

const uint8_t calls_app_deployed_topic[32] = { 0xfd, 0x86, 0xd7, 0xf6, 0x96,
	0x2e, 0xba, 0x3b, 0x7a, 0x3b, 0xf9, 0x12, 0x9c, 0x06, 0xc0, 0xb2, 0xf8,
	0x85, 0xe1, 0xc6, 0x1e, 0xf2, 0xc9, 0xf0, 0xdb, 0xb8, 0x56, 0xbe, 0x0d,
	0xee, 0xfd, 0xee };

enum err
calls_getter(struct buf *out, uint32_t selector)
{
	const uint8_t s[4] = { (uint8_t)(selector >> 24),
		(uint8_t)(selector >> 16), (uint8_t)(selector >> 8),
		(uint8_t)selector };

	return buf_set(out, s, sizeof s);
}

enum err
calls_bytes32(struct buf *out, uint32_t selector, const uint8_t v[static 32])
{
	enum err e = calls_getter(out, selector);

	return e != ERR_OK ? e : abi_put_bytes32(out, v, MAX);
}

enum err
calls_address(struct buf *out, uint32_t selector, const uint8_t v[static 20])
{
	enum err e = calls_getter(out, selector);

	return e != ERR_OK ? e : abi_put_address(out, v, MAX);
}

enum err
calls_bool(struct buf *out, uint32_t selector, bool v)
{
	enum err e = calls_getter(out, selector);

	return e != ERR_OK ? e : abi_put_u64(out, v, MAX);
}

enum err
calls_set_kms_info(struct buf *out, const struct bytes member[4])
{
	/* The tuple is dynamic: its offset, then one for each member,
	 * counted from the tuple's first word. */
	uint64_t at = (uint64_t)ABI_WORD * 4;
	enum err e = calls_getter(out, SET_KMS_INFO);

	if (e == ERR_OK)
		e = abi_put_u64(out, ABI_WORD, MAX);
	for (unsigned i = 0; e == ERR_OK && i < 4; i++) {
		e = abi_put_u64(out, at, MAX);
		at += abi_bytes_size(member[i].len);
	}
	for (unsigned i = 0; e == ERR_OK && i < 4; i++)
		e = abi_put_bytes(out, member[i].p, member[i].len, MAX);
	return e;
}

enum err
calls_deploy_app(struct buf *out, const struct calls_deploy_app *d)
{
	enum err e = calls_getter(out, DEPLOY_APP);

	if (e == ERR_OK)
		e = abi_put_address(out, d->owner, MAX);
	if (e == ERR_OK)
		e = abi_put_u64(out, d->disable_upgrades, MAX);
	if (e == ERR_OK)
		e = abi_put_u64(out, d->require_tcb, MAX);
	if (e == ERR_OK)
		e = abi_put_u64(out, d->any_device, MAX);
	if (e == ERR_OK)
		e = abi_put_bytes32(out, d->device, MAX);
	if (e == ERR_OK)
		e = abi_put_bytes32(out, d->compose, MAX);
	return e;
}
