#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/appname.h"
#include "kms/ctl/lab.h"

enum ctl_exit
appname_resolve(uint8_t out[static 20], const struct ctl *c,
    const struct args *a, const char *text)
{
	const char *dir = args_get(a, "sim");
	char why[LAB_WHY_MAX];
	struct lab_app *app;
	struct lab *l = NULL;
	bool found = false;

	if (hex_fixed(out, 20, text) == ERR_OK)
		return CTL_OK;
	if (dir == NULL)
		return ctl_fail(
		    c, CTL_USAGE, "app: %.80s: must be 20 bytes in hex", text);
	if (lab_load(&l, dir, why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	if ((app = lab_find_app(l, text)) != NULL) {
		memcpy(out, app->app_id, 20);
		found = true;
	}
	lab_free(l);
	if (!found)
		return ctl_fail(
		    c, CTL_USAGE, "%.80s: no such app in %.200s", text, dir);
	return CTL_OK;
}
