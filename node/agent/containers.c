#include <sys/stat.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/json.h"

#include "node/agent/containers.h"

#define CONFIG_FILE "config.v2.json"
#define CONFIG_MAX (1u << 20)
#define COMPOSE_LABEL "com.docker.compose.project"
#define SHORT_ID 12

static bool
is_id(const char *s)
{
	return strlen(s) == CONTAINER_ID_LEN &&
	    strspn(s, "0123456789abcdef") == CONTAINER_ID_LEN;
}

/* Opens dir/id/name as a regular file; -1. */
static int
open_file(const char *dir, const char *id, const char *name)
{
	int d = -1, sub = -1, fd = -1;
	struct stat st;

	d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d >= 0)
		sub = openat(
		    d, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub >= 0)
		fd = openat(
		    sub, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		(void)close(fd);
		fd = -1;
	}
	if (sub >= 0)
		(void)close(sub);
	if (d >= 0)
		(void)close(d);
	return fd;
}

static json_t *
read_config(const char *dir, const char *id)
{
	int fd = open_file(dir, id, CONFIG_FILE);
	struct buf b = { 0 };
	json_t *v = NULL;
	uint8_t chunk[8192];
	ssize_t n;

	if (fd < 0)
		return NULL;
	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		if (buf_append(&b, chunk, (size_t)n, CONFIG_MAX) != ERR_OK)
			goto done;
	if (n == 0 && json_parse(&v, b.p, b.len, CONFIG_MAX, NULL, 0) != ERR_OK)
		v = NULL;
done:
	buf_fini(&b);
	(void)close(fd);
	return v;
}

/* Copies a member's text, cut to what there is room for. */
static void
copy_text(char *out, size_t cap, const json_t *o, const char *key)
{
	const char *s = "";

	if (json_get_str(&s, o, key) != ERR_OK)
		s = "";
	if (s[0] == '/')
		s++;
	(void)snprintf(out, cap, "%s", s);
}

static bool
flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static const char *
state_word(const json_t *state)
{
	if (flag(state, "Restarting"))
		return "restarting";
	if (flag(state, "Paused"))
		return "paused";
	if (flag(state, "Running"))
		return "running";
	return flag(state, "Dead") ? "dead" : "exited";
}

static bool
describe(struct container *k, const char *dir, const char *id)
{
	json_t *all = read_config(dir, id);
	const json_t *config = json_object_get(all, "Config");
	const json_t *state = json_object_get(all, "State");
	const json_t *labels = json_object_get(config, "Labels");

	memset(k, 0, sizeof *k);
	if (!json_is_object(all) || !json_is_object(state)) {
		json_decref(all);
		return false;
	}
	memcpy(k->id, id, CONTAINER_ID_LEN);
	copy_text(k->name, sizeof k->name, all, "Name");
	if (k->name[0] == '\0')
		(void)snprintf(k->name, sizeof k->name, "%s", id);
	copy_text(k->image, sizeof k->image, config, "Image");
	copy_text(k->health, sizeof k->health, json_object_get(state, "Health"),
	    "Status");
	(void)snprintf(k->state, sizeof k->state, "%s", state_word(state));
	k->compose = json_object_get(labels, COMPOSE_LABEL) != NULL;
	json_decref(all);
	return true;
}

static int
by_name(const void *a, const void *b)
{
	const struct container *x = a, *y = b;
	int d = strcmp(x->name, y->name);

	return d != 0 ? d : strcmp(x->id, y->id);
}

enum err
containers_list(struct container_list **out, const char *dir)
{
	struct container_list *l;
	struct dirent *ent;
	DIR *d = opendir(dir);

	if (d == NULL)
		return ERR_IO;
	if ((l = calloc(1, sizeof *l)) == NULL) {
		(void)closedir(d);
		return ERR_NOMEM;
	}
	while (l->n < CONTAINERS_MAX && (ent = readdir(d)) != NULL)
		if (is_id(ent->d_name) &&
		    describe(&l->item[l->n], dir, ent->d_name))
			l->n++;
	(void)closedir(d);
	qsort(l->item, l->n, sizeof l->item[0], by_name);
	*out = l;
	return ERR_OK;
}

void
containers_free(struct container_list *l)
{
	free(l);
}

const struct container *
containers_find(const struct container_list *l, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->item[i].name, name) == 0)
			return &l->item[i];
	for (size_t i = 0; i < l->n && len >= SHORT_ID; i++)
		if (strncmp(l->item[i].id, name, len) == 0)
			return &l->item[i];
	return NULL;
}

enum err
containers_open_log(FILE **out, const char *dir, const struct container *k)
{
	char name[CONTAINER_ID_LEN + sizeof "-json.log"];
	FILE *f;
	int fd;

	(void)snprintf(name, sizeof name, "%s-json.log", k->id);
	if ((fd = open_file(dir, k->id, name)) < 0)
		return ERR_NOTFOUND;
	if ((f = fdopen(fd, "r")) == NULL) {
		(void)close(fd);
		return ERR_NOMEM;
	}
	*out = f;
	return ERR_OK;
}
