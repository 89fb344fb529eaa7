#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/reason.h"

static const struct {
	const char *label;
	const char *text;
} reasons[REASON_COUNT] = {
#define X(name, label, text) [REASON_##name] = { label, text },
	REASON_LIST(X)
#undef X
};

const char *
reason_label(enum reason r)
{
	return (unsigned)r < REASON_COUNT ? reasons[r].label : "internal";
}

const char *
reason_text(enum reason r)
{
	return (unsigned)r < REASON_COUNT ? reasons[r].text : "Internal error";
}

enum reason
reason_from_label(const char *label)
{
	for (unsigned i = 0; i < REASON_COUNT; i++)
		if (strcmp(reasons[i].label, label) == 0)
			return (enum reason)i;
	return REASON_INTERNAL;
}

enum reason
reason_from_contract(const char *text)
{
	for (unsigned i = REASON_CONTRACT_TCB; i < REASON_CONTRACT_OTHER; i++)
		if (strcmp(reasons[i].text, text) == 0)
			return (enum reason)i;
	return REASON_CONTRACT_OTHER;
}

enum err
refuse(struct refusal *why, enum reason code, const char *fmt, ...)
{
	va_list ap;

	if (why == NULL)
		return ERR_DENIED;
	why->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(why->detail, sizeof why->detail, fmt, ap);
	va_end(ap);
	for (char *p = why->detail; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			*p = '?';
	return ERR_DENIED;
}
