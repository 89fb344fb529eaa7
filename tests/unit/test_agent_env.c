/* The encrypted environment in the agent: only what app-compose allows, within
 * dstack's limits, by a key of the app; and files that say what was meant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/envbox.h"

#include "node/agent/appenv.h"
#include "tests/lib/tmpdir.h"

#define COMPOSE "{\"allowed_envs\":[\"A\",\"SECRET\",\"9X\",\"a b\",\"_z9\"]}"

static char *dir;
static char file[700], out_dir[700];
static struct refusal why;

static void
setup(void)
{
	json_wiping();
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	dir = tmpdir_new();
	cr_assert_eq(file_join(file, sizeof file, dir, "in"), ERR_OK);
	cr_assert_eq(file_join(out_dir, sizeof out_dir, dir, "out"), ERR_OK);
	cr_assert_eq(file_mkdirs(out_dir), ERR_OK);
}

static void
teardown(void)
{
	tmpdir_remove(dir);
}

TestSuite(agent_env, .init = setup, .fini = teardown, .timeout = 120);

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static struct buf lines, object;
static struct appenv_count count;

static void
is_not(enum err want, const char *plain, const char *compose)
{
	cr_assert_eq(buf_set(&lines, "before", 6), ERR_OK);
	why = (struct refusal){ .code = REASON_NONE };
	cr_assert_eq(appenv_render(&lines, &object, &count, text(plain),
			 text(compose), &why),
	    want, "%.80s: %s", plain, why.detail);
	cr_assert_neq(why.code, REASON_NONE);
	cr_assert_str_eq((const char *)lines.p, "before");
}

static void
is(const char *plain, const char *compose, const char *want, size_t dropped)
{
	cr_assert_eq(appenv_render(&lines, &object, &count, text(plain),
			 text(compose), &why),
	    ERR_OK, "%s: %s", plain, why.detail);
	cr_assert_str_eq((const char *)lines.p, want);
	cr_assert_eq(count.dropped, dropped);
}

#define ITEM(k, v) "{\"key\":\"" k "\",\"value\":\"" v "\"}"
#define ENV(items) "{\"env\":[" items "]}"

/* What is no environment is none. */
Test(agent_env, malformed)
{
	is_not(ERR_MALFORMED, "", COMPOSE);
	is_not(ERR_MALFORMED, "[]", COMPOSE);
	is_not(ERR_MALFORMED, "{}", COMPOSE);
	is_not(ERR_MALFORMED, "{\"env\":{}}", COMPOSE);
	is_not(ERR_MALFORMED, ENV("1"), COMPOSE);
	is_not(ERR_MALFORMED, ENV("{\"key\":\"A\"}"), COMPOSE);
	is_not(ERR_MALFORMED, ENV("{\"key\":\"A\",\"value\":1}"), COMPOSE);
	is_not(ERR_MALFORMED, ENV("{\"key\":null,\"value\":\"\"}"), COMPOSE);
	is_not(ERR_MALFORMED, ENV(ITEM("A", "x\\u0000y")), COMPOSE);
	is_not(ERR_MALFORMED, ENV(ITEM("A", "1")) "x", COMPOSE);
	/* To a compose file's reader a quote behind a backslash is no end,
	 * not even of single quotes: the next line would be in the value, and
	 * what is in the next value a line. */
	is_not(ERR_MALFORMED,
	    ENV(ITEM("A", "x\\\\") "," ITEM("_z9", "\\nLD_PRELOAD=/evil.so ")),
	    COMPOSE);
	is_not(ERR_MALFORMED, ENV(ITEM("A", "it's\\\\")), COMPOSE);
	is_not(ERR_MALFORMED, ENV(ITEM("A", "\xff")), COMPOSE);
	is_not(ERR_CONFIG, ENV(""), "{\"allowed_envs\":\"A\"}");
	is_not(ERR_CONFIG, ENV(""), "{\"allowed_envs\":[1]}");
	is_not(ERR_CONFIG, ENV(""), "{\"allowed_envs\":[\"A\",null]}");
}

/* Only what is listed, and only what is a name. */
Test(agent_env, allowed)
{
	is(ENV(ITEM("A", "1") "," ITEM("B", "2")), COMPOSE, "A=1\n", 1);
	is(ENV(ITEM("9X", "1") "," ITEM("a b", "2") "," ITEM("_z9", "3")),
	    COMPOSE, "_z9=3\n", 2);
	is(ENV(ITEM("A", "1")), "{}", "", 1);
	is(ENV(ITEM("A", "1")), "{\"allowed_envs\":null}", "", 1);
	is(ENV(ITEM("A", "1")), "{\"allowed_envs\":[]}", "", 1);
	is(ENV(ITEM("a", "1")), COMPOSE, "", 1);
	is(ENV(ITEM("A", "1") "," ITEM("A", "2")), COMPOSE, "A=2\n", 0);
	cr_assert_str_eq((const char *)object.p, "{\"A\":\"2\"}");
	is(ENV(""), COMPOSE, "", 0);
	cr_assert_str_eq((const char *)object.p, "{}");
	cr_assert_not(appenv_name_ok(""));
	cr_assert_not(appenv_name_ok("1a"));
	cr_assert_not(appenv_name_ok("a-b"));
	cr_assert_not(appenv_name_ok("\xc3\xa9"));
	cr_assert(appenv_name_ok("_"));
}

/* An environment of `n` items, each with a name and a value so long. */
static char *
big(size_t n, size_t name_len, size_t value_len)
{
	struct buf b = { 0 };
	char *name = calloc(name_len + 1, 1), *value = calloc(value_len + 1, 1);

	memset(name, 'A', name_len);
	memset(value, 'x', value_len);
	cr_assert_eq(buf_printf(&b, "{\"env\":["), ERR_OK);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(
		    buf_printf(&b, "%s{\"key\":\"%s\",\"value\":\"%s\"}",
			i > 0 ? "," : "", name, value),
		    ERR_OK);
	cr_assert_eq(buf_printf(&b, "]}"), ERR_OK);
	free(name);
	free(value);
	return (char *)b.p;
}

static void
sized(enum err want, size_t n, size_t name_len, size_t value_len)
{
	char *s = big(n, name_len, value_len);
	enum err e = appenv_render(&lines, &object, &count, text(s),
	    text("{\"allowed_envs\":[\"A\"]}"), &why);

	cr_assert_eq(e, want, "%zu items of %zu, %zu: %s", n, name_len,
	    value_len, err_text(e));
	free(s);
}

/* dstack's limits, and one beyond each. */
Test(agent_env, limits)
{
	sized(ERR_OK, APPENV_ITEMS, 1, 1);
	sized(ERR_LIMIT, APPENV_ITEMS + 1, 1, 1);
	sized(ERR_OK, 1, APPENV_NAME, 1);
	sized(ERR_LIMIT, 1, APPENV_NAME + 1, 1);
	sized(ERR_OK, 1, 1, APPENV_VALUE);
	sized(ERR_LIMIT, 1, 1, APPENV_VALUE + 1);
	sized(ERR_OK, 8, 1, APPENV_TOTAL / 8 - 1);
	sized(ERR_LIMIT, 9, 1, APPENV_TOTAL / 8 - 1);
	sized(ERR_LIMIT, 17, 1, APPENV_VALUE);
}

/* What a shell makes of the lines is what was meant, whatever it looks like. */
Test(agent_env, quoting)
{
	static const char *const value[] = { "plain-1.0/x:y@z%+,=", "",
		"two words", "$HOME `id` \\n", "it's $HOME `id` \\ \"x\"",
		"line\nline", "it's\nline", "#not a comment", "t\xc3\xa9st",
		"'", "''\\''", "\\x", "a\\b\\\\c", "a\\\n" };

	for (size_t i = 0; i < sizeof value / sizeof value[0]; i++) {
		json_t *v = json_pack(
		    "{s:[{s:s, s:s}]}", "env", "key", "A", "value", value[i]);
		struct buf plain = { 0 };
		char cmd[900], got[256];
		size_t n;
		FILE *f;

		cr_assert_eq(json_write(&plain, v), ERR_OK);
		cr_assert_eq(appenv_render(&lines, &object, &count,
				 buf_view(&plain), text(COMPOSE), &why),
		    ERR_OK);
		cr_assert_eq(
		    file_write(file, lines.p, lines.len, 0600), ERR_OK);
		(void)snprintf(cmd, sizeof cmd,
		    "A=wrong; . '%s' && printf %%s \"$A\"", file);
		cr_assert_not_null(f = popen(cmd, "r"));
		n = fread(got, 1, sizeof got - 1, f);
		got[n] = '\0';
		cr_assert_eq(pclose(f), 0, "%s", (char *)lines.p);
		cr_assert_str_eq(got, value[i], "%s", (char *)lines.p);
		json_decref(v);
		buf_fini(&plain);
	}
}

/* ---- from file to files ---- */

#define EPOCHS 12

static struct fake {
	uint8_t key[EPOCHS][32];
	enum err answer[EPOCHS]; /* to who asks for that epoch */
	unsigned asked;
} kms;

static enum err
fetch(void *cookie, struct app_release *out, const uint64_t *epoch,
    struct refusal *r)
{
	struct fake *f = cookie;

	f->asked++;
	if (f->answer[*epoch] == ERR_OK) {
		out->epoch = *epoch;
		memcpy(out->env_crypt_key, f->key[*epoch], 32);
		return ERR_OK;
	}
	(void)refuse(r, REASON_EPOCH_CLOSED, "closed");
	return f->answer[*epoch];
}

static void
box(const uint8_t key[static 32], const char *plain)
{
	uint8_t pub[32];
	struct buf b = { 0 };

	(void)crypto_scalarmult_base(pub, key);
	cr_assert_eq(envbox_seal(&b, pub, text(plain)), ERR_OK);
	cr_assert_eq(file_write(file, b.p, b.len, 0600), ERR_OK);
	buf_fini(&b);
}

static struct appenv_options
options(void)
{
	return (struct appenv_options){ .file = file,
		.dir = out_dir,
		.compose = text(COMPOSE),
		.cookie = &kms,
		.fetch = fetch };
}

static enum err
install(uint64_t epoch)
{
	struct appenv_options o = options();
	struct app_release own = { .epoch = epoch };

	memcpy(own.env_crypt_key, kms.key[epoch], 32);
	kms.asked = 0;
	return appenv_install(&o, &own, &why);
}

static bool
there(const char *name, const char *want)
{
	char path[900];
	struct buf b = { 0 };
	struct stat st;
	bool is_there;

	cr_assert_eq(file_join(path, sizeof path, out_dir, name), ERR_OK);
	is_there = stat(path, &st) == 0;
	if (is_there) {
		cr_assert_eq(st.st_mode & 07777, 0600);
		cr_assert_eq(file_read(&b, path, 1 << 20), ERR_OK);
		if (want != NULL)
			cr_assert_str_eq((const char *)b.p, want);
		buf_fini(&b);
	}
	return is_there;
}

static void
keys(void)
{
	for (unsigned i = 0; i < EPOCHS; i++)
		secret_random(kms.key[i], 32);
}

/* The app's own key; else those before it that there still are; and no more
 * of them than the bound says. */
Test(agent_env, epochs)
{
	keys();
	box(kms.key[3], ENV(ITEM("A", "1")));
	cr_assert_eq(install(3), ERR_OK, "%s", why.detail);
	cr_assert_eq(kms.asked, 0);
	cr_assert(there(APPENV_DOTENV, "A=1\n"));
	cr_assert(there(APPENV_JSON, "{\"A\":\"1\"}"));
	/* The pin has moved; one between is destroyed. */
	kms.answer[4] = ERR_DENIED;
	cr_assert_eq(install(5), ERR_OK, "%s", why.detail);
	cr_assert_eq(kms.asked, 2);
	cr_assert(there(APPENV_DOTENV, "A=1\n"));
	/* Its own epoch is: nobody opens it, and nothing is left over. */
	kms.answer[3] = ERR_DENIED;
	cr_assert_eq(install(5), ERR_DENIED);
	cr_assert_not_null(strstr(why.detail, "no env key"));
	cr_assert(!there(APPENV_DOTENV, NULL) && !there(APPENV_JSON, NULL));
	/* Who cannot be asked now may be asked again. */
	kms.answer[3] = ERR_TIMEOUT;
	cr_assert_eq(install(5), ERR_TIMEOUT);
	kms.answer[3] = ERR_OK;
	cr_assert_eq(install(3 + APPENV_EPOCHS), ERR_OK);
	box(kms.key[2], ENV(ITEM("A", "1")));
	cr_assert_eq(install(3 + APPENV_EPOCHS), ERR_DENIED);
	cr_assert_eq(kms.asked, APPENV_EPOCHS);
	/* A newer epoch's is not asked for. */
	cr_assert_eq(install(1), ERR_DENIED);
	cr_assert_eq(kms.asked, 1);
}

/* No file is no environment, unless the configuration names one; what is in it
 * must be one, and what was there before is gone. */
Test(agent_env, files)
{
	struct appenv_options o = options();
	struct app_release own = { .epoch = 0 };
	char path[900];

	keys();
	memcpy(own.env_crypt_key, kms.key[0], 32);
	cr_assert_eq(install(0), ERR_OK);
	cr_assert(!there(APPENV_DOTENV, NULL));
	o.must_exist = true;
	cr_assert_eq(appenv_install(&o, &own, &why), ERR_CONFIG);
	box(kms.key[0], ENV(ITEM("A", "1")));
	cr_assert_eq(install(0), ERR_OK);
	cr_assert(there(APPENV_DOTENV, "A=1\n"));
	cr_assert_eq(unlink(file), 0);
	cr_assert_eq(install(0), ERR_OK);
	cr_assert(!there(APPENV_DOTENV, NULL) && !there(APPENV_JSON, NULL));
	cr_assert_eq(file_write(file, "short", 5, 0600), ERR_OK);
	cr_assert_eq(install(0), ERR_MALFORMED);
	box(kms.key[0], "{}");
	cr_assert_eq(install(0), ERR_MALFORMED);
	cr_assert(!there(APPENV_DOTENV, NULL));
	box(kms.key[0], ENV(ITEM("A", "1")));
	o.dir = path;
	cr_assert_eq(file_join(path, sizeof path, dir, "none/such"), ERR_OK);
	cr_assert_neq(appenv_install(&o, &own, &why), ERR_OK);
}
