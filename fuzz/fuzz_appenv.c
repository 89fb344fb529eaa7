/* fuzz_appenv: appenv_render.
 *
 * The input is a decrypted environment.  What is accepted has only names that
 * app-compose allows, within the limits, and one line for each. */
#include <string.h>

#include "common/base/json.h"

#include "fuzz/must.h"
#include "node/agent/appenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char compose[] =
	    "{\"allowed_envs\":[\"A\",\"B\",\"_c9\",\"no name\",\"9\"]}";
	struct buf lines = { 0 }, object = { 0 };
	struct appenv_count n;
	json_t *o = NULL, *v;
	const char *key;

	if (appenv_render(&lines, &object, &n, (struct bytes){ data, size },
		BYTES_STR(compose), NULL) != ERR_OK) {
		must(lines.p == NULL && object.p == NULL);
		return 0;
	}
	must(json_parse(&o, object.p, object.len, SIZE_MAX, NULL, 0) == ERR_OK);
	must(json_object_size(o) == n.kept && n.kept <= 3);
	json_object_foreach(o, key, v)
	{
		must(strcmp(key, "A") == 0 || strcmp(key, "B") == 0 ||
		    strcmp(key, "_c9") == 0);
		must(json_string_length(v) <= APPENV_VALUE);
		must(strlen(json_string_value(v)) == json_string_length(v));
	}
	must(strlen((const char *)lines.p) == lines.len);
	must(lines.len == 0 || lines.p[lines.len - 1] == '\n');
	json_decref(o);
	buf_fini(&lines);
	buf_fini(&object);
	return 0;
}
