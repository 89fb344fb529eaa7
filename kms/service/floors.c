#include <stdlib.h>

#include "common/base/hex.h"
#include "common/base/log.h"
#include "kms/service/floors.h"

#define KEY BYTES_STR("eval_floors")
#define LOOK_MS 1000

struct floors {
	struct store *store; /* borrows; NULL: nothing is kept */
	struct evalfloor *f; /* borrows */
	uv_timer_t timer;
	uint64_t saved; /* evalfloor_changes at the last write */
	bool failing; /* told once, not every second */
};

static enum err
load(struct store *store, struct evalfloor *f)
{
	struct buf b = { 0 };
	enum err e = store_get(store, &b, STORE_META, KEY);

	if (e == ERR_OK) {
		e = evalfloor_merge(f, buf_view(&b));
		/* Sealed by us: it can only be damage, or another version. */
		if (e == ERR_MALFORMED)
			e = ERR_CORRUPT;
	}
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
write_list(struct store *store, struct bytes list)
{
	enum err e = store_begin(store);

	if (e != ERR_OK)
		return e;
	if ((e = store_put(store, STORE_META, KEY, list)) != ERR_OK) {
		store_abort(store);
		return e;
	}
	return store_commit(store);
}

enum err
floors_save(struct floors *fs)
{
	/* Before the list is read: a change in between is written twice. */
	uint64_t changes = evalfloor_changes(fs->f);
	struct buf b = { 0 };
	enum err e;

	if (fs->store == NULL || changes == fs->saved)
		return ERR_OK;
	if ((e = evalfloor_write(&b, fs->f)) == ERR_OK)
		e = write_list(fs->store, buf_view(&b));
	if (e == ERR_OK)
		fs->saved = changes;
	buf_fini(&b);
	return e;
}

static void
look(struct floors *fs)
{
	enum err e = floors_save(fs);

	if (e != ERR_OK && !fs->failing)
		log_event(LOG_WARN, "eval_floors_not_kept",
		    log_str("cause", err_text(e)));
	fs->failing = e != ERR_OK;
}

static void
on_timer(uv_timer_t *t)
{
	look(t->data);
}

enum err
floors_open(struct floors **out, uv_loop_t *loop, struct store *store,
    struct evalfloor *f)
{
	struct floors *fs = NULL;
	enum err e;

	if (store != NULL && (e = load(store, f)) != ERR_OK)
		return e;
	if ((fs = calloc(1, sizeof *fs)) == NULL)
		return ERR_NOMEM;
	fs->store = store;
	fs->f = f;
	fs->saved = 0; /* so what was seen before is written, too */
	fs->timer.data = fs;
	if (uv_timer_init(loop, &fs->timer) != 0 ||
	    uv_timer_start(&fs->timer, on_timer, LOOK_MS, LOOK_MS) != 0) {
		free(fs);
		return ERR_IO;
	}
	*out = fs;
	return ERR_OK;
}

void
floors_stop(struct floors *fs)
{
	look(fs);
	uv_close((uv_handle_t *)&fs->timer, NULL);
}

void
floors_free(struct floors *fs)
{
	free(fs);
}

json_t *
floors_json(struct evalfloor *f)
{
	struct eval_floor floor[EVALFLOOR_MAX];
	size_t n = evalfloor_list(floor, EVALFLOOR_MAX, f);
	json_t *list = json_array();
	char hex[13];

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		(void)!json_set_str(o, "tee", tee_text(floor[i].tee));
		(void)!json_set_str(
		    o, "document", floor[i].qe ? "qe_identity" : "tcb_info");
		(void)!json_set_new(o, "fmspc",
		    floor[i].qe
			? json_null()
			: json_string(hex_encode(hex, floor[i].fmspc, 6)));
		(void)!json_set_u64(o, "number", floor[i].number);
		(void)json_array_append_new(list, o);
	}
	return list;
}
