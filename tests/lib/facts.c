#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "tests/lib/facts.h"

#define FACTS_DIR "../shared/vectors"
#define FACTS_MAX (4u << 20)

void
facts_hex(uint8_t *out, size_t len, const char *hex)
{
	cr_assert_eq(hex_fixed(out, len, hex), ERR_OK, "%s", hex);
}

void
facts_hex_buf(struct buf *out, const char *hex)
{
	size_t n = strlen(hex) / 2;

	out->len = 0;
	cr_assert_eq(buf_reserve(out, n), ERR_OK);
	cr_assert_eq(hex_decode(out->p, n, &out->len, hex, 2 * n), ERR_OK);
}

bool
facts_eq(const void *got, size_t len, const char *hex)
{
	struct buf want = { 0 };
	bool same;

	facts_hex_buf(&want, hex);
	same = want.len == len && memcmp(want.p, got, len) == 0;
	if (!same) {
		fprintf(stderr, "want %s\ngot  ", hex);
		for (size_t i = 0; i < len; i++)
			fprintf(stderr, "%02x", ((const uint8_t *)got)[i]);
		fputc('\n', stderr);
	}
	buf_fini(&want);
	return same;
}

void
facts_read(struct buf *out, const char *name)
{
	char path[512];
	enum err e;

	cr_assert_eq(file_join(path, sizeof path, FACTS_DIR, name), ERR_OK);
	e = file_read(out, path, FACTS_MAX);
	if (e == ERR_NOTFOUND)
		cr_skip("%s is not here", path);
	cr_assert_eq(e, ERR_OK, "%s: %s", path, err_text(e));
}

json_t *
facts_json(const char *name)
{
	struct buf b = { 0 };
	json_t *v;

	facts_read(&b, name);
	/* Vectors hold NULs in strings, which json_parse refuses. */
	v = json_loadb((char *)b.p, b.len, JSON_ALLOW_NUL, NULL);
	cr_assert_not_null(v, "%s", name);
	buf_fini(&b);
	return v;
}

json_t *
facts_get(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);

	cr_assert_not_null(v, "%s", key);
	return v;
}

const char *
facts_str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(facts_get(obj, key));

	cr_assert_not_null(s, "%s", key);
	return s;
}
