#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/envbox.h"

#include "node/agent/appenv.h"

bool
appenv_name_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= APPENV_NAME &&
	    strspn(name,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789_") == n &&
	    (name[0] < '0' || name[0] > '9');
}

bool
appenv_value_ok(const char *value, size_t len)
{
	return memchr(value, '\0', len) == NULL &&
	    (len == 0 || value[len - 1] != '\\');
}

static enum err
bad(struct refusal *why, enum err e, const char *what)
{
	(void)refuse(why, REASON_REQUEST, "%s", what);
	return e;
}

/* ---- what there is, and what may be ---- */

/* {"NAME": true, ...}; without allowed_envs nothing is. */
static enum err
read_allowed(json_t **out, struct bytes compose, struct refusal *why)
{
	json_t *o = NULL, *set = json_object();
	const json_t *list, *x;
	size_t i;
	enum err e =
	    json_parse(&o, compose.p, compose.len, LIMIT_APP_COMPOSE, NULL, 0);

	if (e != ERR_OK || set == NULL)
		goto done;
	list = json_object_get(o, "allowed_envs");
	if (list != NULL && !json_is_null(list) && !json_is_array(list))
		e = ERR_MALFORMED;
	json_array_foreach(list, i, x)
	{
		if (!json_is_string(x))
			e = ERR_MALFORMED;
		else if (e == ERR_OK)
			e = json_set_bool(set, json_string_value(x), true);
	}
done:
	json_decref(o);
	if (set != NULL && e == ERR_OK) {
		*out = set;
		return ERR_OK;
	}
	json_decref(set);
	return bad(why, ERR_CONFIG, "app-compose: allowed_envs");
}

/* Keeps one item in `kept`, or not. */
static enum err
take(json_t *kept, struct appenv_count *n, size_t *total, const json_t *item,
    const json_t *allowed, struct refusal *why)
{
	const json_t *v = json_object_get(item, "value");
	const char *key;
	size_t len;

	if (!json_is_object(item) ||
	    json_get_str(&key, item, "key") != ERR_OK || !json_is_string(v))
		return bad(
		    why, ERR_MALFORMED, "environment: not key and value");
	len = json_string_length(v);
	*total += strlen(key) + len;
	if (strlen(key) > APPENV_NAME || len > APPENV_VALUE ||
	    *total > APPENV_TOTAL)
		return bad(why, ERR_LIMIT, "environment: too long");
	if (!appenv_name_ok(key) || json_object_get(allowed, key) == NULL) {
		n->dropped++;
		return ERR_OK;
	}
	if (!appenv_value_ok(json_string_value(v), len))
		return bad(why, ERR_MALFORMED,
		    "environment: a value with NUL, or a backslash at its "
		    "end");
	return json_set_new(kept, key, json_stringn(json_string_value(v), len));
}

static enum err
read_env(json_t **out, struct appenv_count *n, struct bytes plain,
    const json_t *allowed, struct refusal *why)
{
	json_t *o = NULL, *kept = json_object();
	const json_t *list, *x;
	size_t i, total = 0;
	enum err e = kept != NULL
	    ? json_parse(&o, plain.p, plain.len, APPENV_FILE_MAX, NULL, 0)
	    : ERR_NOMEM;

	if (e != ERR_OK) {
		e = bad(why, e, "environment: no JSON");
		goto done;
	}
	list = json_object_get(o, "env");
	if (!json_is_object(o) || !json_is_array(list))
		e = bad(why, ERR_MALFORMED, "environment: no list");
	else if (json_array_size(list) > APPENV_ITEMS)
		e = bad(why, ERR_LIMIT, "environment: too many items");
	json_array_foreach(list, i, x)
	{
		if (e == ERR_OK)
			e = take(kept, n, &total, x, allowed, why);
	}
done:
	json_wipe(o);
	if (e == ERR_OK) {
		n->kept = json_object_size(kept);
		*out = kept;
	} else {
		json_wipe(kept);
	}
	return e;
}

/* ---- both forms ---- */

/* Plain as it is; else in single quotes, where nothing is special; else in
 * double quotes with what is special there escaped.  The value is
 * appenv_value_ok: no backslash is before the quote that ends it. */
static void
put_value(struct buf *b, const char *v)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
				    "OPQRSTUVWXYZ0123456789_-./:@%+,=";
	size_t n = strlen(v);
	char *to = (char *)b->p + b->len;
	char *at = to;

	if (strspn(v, plain) == n) {
		memcpy(at, v, n);
		at += n;
	} else if (strchr(v, '\'') == NULL) {
		*at++ = '\'';
		memcpy(at, v, n);
		at += n;
		*at++ = '\'';
	} else {
		*at++ = '"';
		for (; *v != '\0'; v++) {
			if (strchr("\\\"$`", *v) != NULL)
				*at++ = '\\';
			*at++ = *v;
		}
		*at++ = '"';
	}
	b->len += (size_t)(at - to);
}

static enum err
to_dotenv(struct buf *out, json_t *kept)
{
	size_t room = 1;
	const char *key;
	json_t *v;
	enum err e;

	json_object_foreach(kept, key, v) room +=
	    strlen(key) + 2 * json_string_length(v) + 4;
	/* All of it at once: growing would leave copies behind. */
	if ((e = buf_reserve(out, room)) != ERR_OK)
		return e;
	json_object_foreach(kept, key, v)
	{
		size_t n = strlen(key);

		memcpy(out->p + out->len, key, n);
		out->len += n;
		out->p[out->len++] = '=';
		put_value(out, json_string_value(v));
		out->p[out->len++] = '\n';
	}
	out->p[out->len] = '\0';
	return ERR_OK;
}

enum err
appenv_render(struct buf *dotenv, struct buf *json, struct appenv_count *n,
    struct bytes plain, struct bytes compose, struct refusal *why)
{
	struct appenv_count count = { 0 };
	struct buf lines = { 0 }, object = { 0 };
	json_t *allowed = NULL, *kept = NULL;
	enum err e = read_allowed(&allowed, compose, why);

	if (e == ERR_OK)
		e = read_env(&kept, &count, plain, allowed, why);
	if (e == ERR_OK)
		e = to_dotenv(&lines, kept);
	if (e == ERR_OK)
		e = json_write(&object, kept);
	json_wipe(kept);
	json_decref(allowed);
	if (e == ERR_OK) {
		buf_wipe(dotenv);
		buf_wipe(json);
		*dotenv = lines;
		*json = object;
		*n = count;
		return ERR_OK;
	}
	buf_wipe(&lines);
	buf_wipe(&object);
	return e;
}

/* ---- files ---- */

static enum err
paths(char dotenv[static CONFIG_PATH_MAX + 32],
    char json[static CONFIG_PATH_MAX + 32], const char *dir)
{
	enum err e =
	    file_join(dotenv, CONFIG_PATH_MAX + 32, dir, APPENV_DOTENV);

	return e == ERR_OK
	    ? file_join(json, CONFIG_PATH_MAX + 32, dir, APPENV_JSON)
	    : e;
}

static enum err
remove_old(const char *path)
{
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : ERR_IO;
}

/* The key of the app's own epoch, then of those before it, as long as the KMS
 * gives them out. */
static enum err
open_box(struct buf *plain, uint64_t *epoch, const struct appenv_options *o,
    const struct app_release *own, struct bytes blob, struct refusal *why)
{
	enum err e = envbox_open(plain, own->env_crypt_key, blob);

	*epoch = own->epoch;
	for (unsigned i = 0; e == ERR_AUTH && i<APPENV_EPOCHS && * epoch> 0;
	     i++) {
		struct app_release old = { .epoch = 0 };
		enum err got;

		--*epoch;
		got = o->fetch(o->cookie, &old, epoch, why);
		if (got == ERR_OK)
			e = envbox_open(plain, old.env_crypt_key, blob);
		else if (got != ERR_DENIED) /* destroyed is denied */
			e = got;
		release_wipe(&old);
	}
	if (e == ERR_AUTH)
		return refuse(why, REASON_REQUEST,
		    "%s: no env key of this app opens it", o->file);
	return e == ERR_MALFORMED
	    ? bad(why, e, "the encrypted environment is no box")
	    : e;
}

static enum err
write_both(const struct appenv_options *o, const char *dotenv, const char *json,
    struct bytes plain, uint64_t epoch, struct refusal *why)
{
	struct buf lines = { 0 }, object = { 0 };
	struct appenv_count n;
	enum err e;

	e = appenv_render(&lines, &object, &n, plain, o->compose, why);
	if (e != ERR_OK)
		goto done;
	if ((e = file_write(dotenv, lines.p, lines.len, 0600)) == ERR_OK)
		e = file_write(json, object.p, object.len, 0600);
	if (e != ERR_OK)
		(void)refuse(
		    why, REASON_INTERNAL, "cannot write into %s", o->dir);
	else
		log_event(LOG_INFO, "env_decrypted", log_u64("kept", n.kept),
		    log_u64("dropped", n.dropped), log_u64("epoch", epoch));
done:
	buf_wipe(&lines);
	buf_wipe(&object);
	return e;
}

enum err
appenv_install(const struct appenv_options *o, const struct app_release *own,
    struct refusal *why)
{
	char dotenv[CONFIG_PATH_MAX + 32], json[CONFIG_PATH_MAX + 32];
	struct buf blob = { 0 }, plain = { 0 };
	uint64_t epoch;
	enum err e;

	if (paths(dotenv, json, o->dir) != ERR_OK ||
	    remove_old(dotenv) != ERR_OK || remove_old(json) != ERR_OK)
		return bad(why, ERR_CONFIG, "app.env_dir cannot be used");
	e = file_read(&blob, o->file, APPENV_FILE_MAX + ENVBOX_OVERHEAD);
	if (e == ERR_NOTFOUND && !o->must_exist)
		return ERR_OK;
	if (e != ERR_OK) {
		(void)refuse(
		    why, REASON_INTERNAL, "%s: %s", o->file, err_text(e));
		return e == ERR_NOTFOUND ? ERR_CONFIG : e;
	}
	e = open_box(&plain, &epoch, o, own, buf_view(&blob), why);
	if (e == ERR_OK)
		e = write_both(o, dotenv, json, buf_view(&plain), epoch, why);
	buf_wipe(&plain);
	buf_fini(&blob);
	return e;
}
