#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/abird.h"
#include "common/eth/account.h"
#include "kms/ctl/callwords.h"
#include "kms/ctl/when.h"

/* Arguments, one word each: a kind, then what it is called.
 *   m mode   t time   s seconds   n number   a address   h hash   l slot
 *   b boolean */
static const struct {
	uint32_t selector;
	const char *name;
	const char *args;
} known[] = {
	/* RootRegistry */
	{ 0x91da71ff, "orderRotation",
	    "m:mode t:not_before s:retire_the_old_after" },
	{ 0xf8178c59, "withdrawOrder", "" },
	{ 0x7e7db71e, "confirmRoot", "n:epoch h:root_hash" },
	{ 0xefb44be3, "vetoRoot", "n:epoch" },
	{ 0xfc7e4746, "activate", "n:epoch" },
	{ 0xca0fa0ad, "taint", "n:epoch" },
	{ 0xb17e903a, "retire", "n:epoch t:from" },
	{ 0x52316c6c, "destroy", "n:epoch" },
	{ 0x1b86ac3a, "pin", "a:app n:epoch" },
	{ 0xe7316bdb, "registerGenesis", NULL },
	{ 0x3078db6c, "transferAuthority", "a:to" },
	{ 0x1580798f, "acceptAuthority", "" },
	{ 0x8a0dac4a, "setGuardian", "a:guardian" },
	/* OperatorCouncil */
	{ 0xa69beaba, "vote", "h:proposal" },
	{ 0xfb6f93f9, "veto", "h:proposal" },
	{ 0xe751f271, "execute", "h:proposal" },
	{ 0x98251647, "propose", NULL },
	/* ClusterAnchor */
	{ 0xe7b5528f, "setSeat", "l:slot h:device" },
	{ 0xc6840442, "removeSeat", "l:slot" },
	{ 0xa4fe208e, "nameRecovery", "h:incarnation b:lossy" },
	/* DstackKms, DstackApp */
	{ 0xf41781b2, "setRootRegistry", "a:registry" },
	{ 0x3e32d346, "addKmsAggregatedMr", "h:mr" },
	{ 0x2adee48d, "removeKmsAggregatedMr", "h:mr" },
	{ 0x4d5922a1, "addKmsDevice", "h:device" },
	{ 0x9e6f3114, "removeKmsDevice", "h:device" },
	{ 0x06a3ae96, "addOsImageHash", "h:image" },
	{ 0x9425bac6, "removeOsImageHash", "h:image" },
	{ 0x17a1d80f, "registerApp", "a:app" },
	{ 0xdfc77223, "addComposeHash", "h:compose" },
	{ 0x67b3f22c, "removeComposeHash", "h:compose" },
	{ 0x2a819728, "addDevice", "h:device" },
	{ 0x1d266200, "removeDevice", "h:device" },
	{ 0x7c4beeb8, "setAllowAnyDevice", "b:allow" },
	{ 0x6e4c7422, "setRequireTcbUpToDate", "b:require" },
	{ 0xec669036, "disableUpgrades", "" },
};
#define SET_MEMBERS 0x42a6ebeau

struct text {
	char *p;
	size_t n;
};

static void put(struct text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void
put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int k;

	va_start(ap, fmt);
	k = vsnprintf(t->p + t->n, CALLWORDS_MAX - t->n, fmt, ap);
	va_end(ap);
	t->n += (size_t)k;
	if (t->n > CALLWORDS_MAX - 1)
		t->n = CALLWORDS_MAX - 1;
}

static void
put_word(struct text *t, char kind, struct rd *r)
{
	char s[2 * 32 + 1], when[WHEN_TEXT];
	uint8_t w[32] = { 0 };
	uint64_t v;

	switch (kind) {
	case 'a':
		abird_address(r, w);
		account_address_text(s, w);
		put(t, " %s", s);
		break;
	case 'h':
		abird_hash(r, w);
		put(t, " 0x%s", hex_encode(s, w, sizeof w));
		break;
	case 'l':
		abird_hash(r, w);
		abi_text(s, sizeof w + 1, (struct bytes){ w, 32 });
		s[strcspn(s, "?")] = '\0';
		put(t, " %s", s);
		break;
	default:
		v = abird_u64(r);
		if (kind == 't')
			when_date(when, v);
		else if (kind == 's' && v == 0)
			(void)snprintf(when, sizeof when, "-");
		else if (kind == 's')
			when_span(when, v);
		else if (kind == 'm')
			(void)snprintf(when, sizeof when, "%s",
			    v == 0       ? "routine"
				: v == 1 ? "emergency"
					 : "?");
		else if (kind == 'b')
			(void)snprintf(
			    when, sizeof when, "%s", v != 0 ? "yes" : "no");
		else
			(void)snprintf(
			    when, sizeof when, "%llu", (unsigned long long)v);
		put(t, " %s", when);
	}
}

/* The words by the table; false if they are not all there is. */
static bool
put_args(struct text *t, const char *args, struct bytes data)
{
	struct rd r = { .p = data.p + 4, .left = data.len - 4 };

	while (*args != '\0') {
		size_t n = strcspn(args + 2, " ");

		for (size_t i = 0; i < n; i++)
			put(t, "%c", args[2 + i] == '_' ? ' ' : args[2 + i]);
		put_word(t, args[0], &r);
		args += 2 + n;
		if (*args == ' ') {
			args++;
			put(t, ", ");
		}
	}
	return rd_done(&r);
}

/* setMembers(address[], uint64) */
static bool
put_members(struct text *t, struct bytes data)
{
	struct rd r = { .p = data.p + 4, .left = data.len - 4 };
	uint64_t k, n;

	abird_exactly(&r, 2 * ABI_WORD);
	k = abird_u64(&r);
	n = abird_upto(&r, 32);
	put(t, "%llu of %llu:", (unsigned long long)k, (unsigned long long)n);
	for (uint64_t i = 0; !r.bad && i < n; i++)
		put_word(t, 'a', &r);
	return rd_done(&r);
}

void
callwords(char out[static CALLWORDS_MAX], struct bytes data)
{
	struct rd r = { .p = data.p, .left = data.len };
	uint32_t selector = rd_be32(&r);
	struct text t = { .p = out };

	for (size_t i = 0; !r.bad && i < sizeof known / sizeof known[0]; i++) {
		if (known[i].selector != selector)
			continue;
		put(&t, "%s(", known[i].name);
		if (known[i].args == NULL)
			put(&t, "%zu bytes)", data.len - 4);
		else if (put_args(&t, known[i].args, data))
			put(&t, ")");
		else
			break;
		return;
	}
	if (!r.bad && selector == SET_MEMBERS) {
		t.n = 0;
		put(&t, "setMembers(");
		if (put_members(&t, data)) {
			put(&t, ")");
			return;
		}
	}
	t.n = 0;
	put(&t, "unknown call 0x%08x with %zu bytes", selector, r.left);
}
