#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kms/ctl/args.h"
#include "kms/ctl/when.h"

#define LAST INT64_C(253402300799) /* of the year 9999 */

static const struct {
	const char *unit;
	uint64_t seconds;
} units[] = { { "d", 86400 }, { "h", 3600 }, { "min", 60 }, { "s", 1 } };
#define UNITS (sizeof units / sizeof units[0])

void
when_date(char out[static WHEN_TEXT], uint64_t at)
{
	time_t t = (time_t)at;
	struct tm tm;

	if (at == 0 || at > (uint64_t)LAST || gmtime_r(&t, &tm) == NULL ||
	    strftime(out, WHEN_TEXT, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		(void)snprintf(out, WHEN_TEXT, "-");
}

void
when_span(char out[static WHEN_TEXT], uint64_t seconds)
{
	size_t i = 0;
	int n;

	while (i + 1 < UNITS && seconds < units[i].seconds)
		i++;
	n = snprintf(out, WHEN_TEXT, "%llu %s",
	    (unsigned long long)(seconds / units[i].seconds), units[i].unit);
	seconds %= units[i].seconds;
	if (++i < UNITS && seconds >= units[i].seconds)
		(void)snprintf(out + n, WHEN_TEXT - (size_t)n, " %llu %s",
		    (unsigned long long)(seconds / units[i].seconds),
		    units[i].unit);
}

void
when_seen(char out[static WHEN_TEXT], uint64_t at, uint64_t now)
{
	char span[WHEN_TEXT];
	size_t n;

	when_date(out, at);
	if (strcmp(out, "-") == 0)
		return;
	n = strlen(out);
	when_span(span, at > now ? at - now : now - at);
	(void)snprintf(out + n, WHEN_TEXT - n,
	    at > now ? " (in %.20s)" : " (%.20s ago)", span);
}

enum err
when_parse(uint64_t *seconds, const char *text)
{
	size_t n = strspn(text, "0123456789");
	char digits[20];
	uint64_t v;

	if (n == 0 || n >= sizeof digits)
		return ERR_MALFORMED;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (args_u64(&v, digits, UINT32_MAX) != ERR_OK)
		return ERR_MALFORMED;
	for (size_t i = 0; i < UNITS; i++)
		if (strcmp(text + n, units[i].unit) == 0 ||
		    (text[n] == '\0' && i == UNITS - 1)) {
			*seconds = v * units[i].seconds;
			return ERR_OK;
		}
	return ERR_MALFORMED;
}
