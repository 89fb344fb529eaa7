/* containers: the app's containers, as Docker's own folder describes them.
 *
 * DIR/<id>/config.v2.json has name, image and state, DIR/<id>/<id>-json.log
 * what it wrote: one JSON object a line, {"log", "stream", "time"}.  Read
 * only, bounded, symbolic links are not followed; whatever of the folder does
 * not read as this is skipped. */
#ifndef NODE_AGENT_CONTAINERS_H
#define NODE_AGENT_CONTAINERS_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/err.h"

#define CONTAINERS_MAX 128
#define CONTAINER_ID_LEN 64 /* hex digits */
#define CONTAINER_TEXT_MAX 256

struct container {
	char id[CONTAINER_ID_LEN + 1];
	char name[CONTAINER_TEXT_MAX]; /* without Docker's slash */
	char image[CONTAINER_TEXT_MAX];
	char state[16]; /* "running", "paused", "restarting", "exited", ... */
	char health[32]; /* "" if it declares no check */
	bool compose; /* made by a compose file */
};

struct container_list {
	struct container item[CONTAINERS_MAX]; /* by name */
	size_t n;
};

/* containers_list reads all of them (the first CONTAINERS_MAX that the folder
 * names); containers_free the result.  ERR_IO: the folder cannot be read. */
enum err containers_list(struct container_list **out, const char *dir);
void containers_free(struct container_list *l); /* NULL is fine */

/* containers_find looks for a name, an id, or the first 12 or more digits of
 * one; NULL: there is none. */
const struct container *containers_find(
    const struct container_list *l, const char *name);

/* containers_open_log opens its log, a regular file; the caller fclose()s it.
 * ERR_NOTFOUND. */
enum err containers_open_log(
    FILE **out, const char *dir, const struct container *k);

#endif
