#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "kms/ctl/show.h"

/* The caller frees the text. */
static char *
shown(const char *json)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_t *v = NULL;

	cr_assert_eq(json_parse(&v, json, strlen(json), 1 << 20, NULL, 0),
	    ERR_OK, "%s", json);
	show_value(f, v);
	(void)fclose(f);
	json_decref(v);
	return text;
}

static void
expect(const char *json, const char *text)
{
	char *got = shown(json);

	cr_expect_str_eq(got, text);
	free(got);
}

/* Names line up; members of members carry the name of their parent. */
Test(ctl_show, lines)
{
	expect("{\"a\":1,\"long\":\"x\",\"in\":{\"b\":true,\"c\":null}}",
	    "a     1\nlong  x\nin.b  yes\nin.c  -\n");
	expect("{\"list\":[\"x\",2,false],\"none\":[],\"empty\":\"\"}",
	    "list   x, 2, no\nnone   -\nempty  -\n");
	expect("\"plain\"", "plain\n");
}

/* Rows line up below their head; a member that a row lacks is "-". */
Test(ctl_show, tables)
{
	expect("{\"n\":1,\"t\":[{\"a\":\"xx\",\"b\":1},{\"a\":\"y\"}]}",
	    "n  1\nt:\n  a   b\n  xx  1\n  y   -\n");
}

/* Whatever an answer holds, only printable ASCII reaches the terminal. */
Test(ctl_show, nothing_moves_the_cursor)
{
	char *got = shown("{\"a\":\"x\\u001b[2J\\r\\n\\u009by\",\"t\":"
			  "[{\"k\":\"\\u001b]0;z\\u0007\"}]}");

	for (const char *p = got; *p != '\0'; p++)
		cr_assert(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
	free(got);
}

/* Names come from elsewhere, too. */
Test(ctl_show, nor_do_names)
{
	char *got = shown("{\"\\u001b[2Jx\":1,\"t\":[{\"\\u001b[3Jy\":2}]}");

	for (const char *p = got; *p != '\0'; p++)
		cr_assert(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
	free(got);
}

/* Long values are cut, and many of them, without harm. */
Test(ctl_show, long_values)
{
	size_t n = 100000;
	char *json = malloc(n + 32), *got;

	memcpy(json, "{\"a\":\"", 6);
	memset(json + 6, 'x', n);
	memcpy(json + 6 + n, "\"}", 3);
	got = shown(json);
	cr_assert_lt(strlen(got), 1000);
	free(got);
	memcpy(json, "{\"a\":[", 6);
	for (size_t i = 0; i + 2 < n; i += 2)
		memcpy(json + 6 + i, "1,", 2);
	memcpy(json + 6 + n - 2, "1]}", 4);
	got = shown(json);
	cr_assert_lt(strlen(got), 1000);
	free(got);
	free(json);
}
