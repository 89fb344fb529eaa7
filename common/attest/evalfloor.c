#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/evalfloor.h"
#include "common/base/rd.h"
#include "common/base/wr.h"

#define FORM 1 /* of the list that evalfloor_write makes */
#define HEAD_LEN (1 + 2)
#define ENTRY_LEN (1 + 1 + 6 + 4)

static_assert(HEAD_LEN + EVALFLOOR_MAX * ENTRY_LEN == EVALFLOOR_LIST_MAX,
    "the list of evalfloor.h");

struct evalfloor {
	pthread_mutex_t lock; /* guards all below */
	struct eval_floor floor[EVALFLOOR_MAX]; /* in order: see order() */
	size_t n;
	uint64_t changes;
};

enum err
evalfloor_new(struct evalfloor **out)
{
	struct evalfloor *f = calloc(1, sizeof *f);

	if (f == NULL)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&f->lock, NULL);
	*out = f;
	return ERR_OK;
}

void
evalfloor_free(struct evalfloor *f)
{
	if (f == NULL)
		return;
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool
is_floor(const struct eval_floor *e)
{
	static const uint8_t zero[6];

	return (e->tee == TEE_TDX || e->tee == TEE_SGX) &&
	    (!e->qe || memcmp(e->fmspc, zero, sizeof zero) == 0);
}

/* By kind of TEE, TCB info before QE identity, then FMSPC. */
static int
order(const struct eval_floor *a, const struct eval_floor *b)
{
	if (a->tee != b->tee)
		return a->tee < b->tee ? -1 : 1;
	if (a->qe != b->qe)
		return b->qe ? -1 : 1;
	return memcmp(a->fmspc, b->fmspc, sizeof a->fmspc);
}

/* ---- all with the lock held ---- */

/* Where `e` is, or would be. */
static size_t
place(const struct evalfloor *f, const struct eval_floor *e)
{
	size_t i = 0;

	while (i < f->n && order(&f->floor[i], e) < 0)
		i++;
	return i;
}

static const struct eval_floor *
find(const struct evalfloor *f, const struct eval_floor *e)
{
	size_t i = place(f, e);

	return i < f->n && order(&f->floor[i], e) == 0 ? &f->floor[i] : NULL;
}

static enum err
raise_to(struct evalfloor *f, const struct eval_floor *e)
{
	size_t i = place(f, e);
	struct eval_floor *x = &f->floor[i];

	if (i == f->n || order(x, e) != 0) {
		if (f->n == EVALFLOOR_MAX)
			return ERR_LIMIT;
		memmove(x + 1, x, (f->n - i) * sizeof *x);
		f->n++;
		*x = *e;
	} else if (x->number >= e->number) {
		return ERR_OK;
	}
	x->number = e->number;
	f->changes++;
	return ERR_OK;
}

static enum err
check(struct evalfloor *f, const struct verdict *v, struct refusal *why)
{
	struct eval_floor e[2] = {
		{ .tee = v->tee, .number = v->tcb_eval_number },
		{ .tee = v->tee, .qe = true, .number = v->qe_eval_number },
	};

	memcpy(e[0].fmspc, v->fmspc, sizeof e[0].fmspc);
	/* Both are looked at before either is raised. */
	for (int i = 0; i < 2; i++) {
		const struct eval_floor *x = find(f, &e[i]);

		if (x != NULL && e[i].number < x->number)
			return refuse(why, REASON_COLLATERAL_INVALID,
			    "EVAL_NUMBER: %s %u, after %u",
			    e[i].qe ? "QE identity" : "TCB info", e[i].number,
			    x->number);
	}
	for (int i = 0; i < 2; i++)
		if (raise_to(f, &e[i]) != ERR_OK)
			return refuse(why, REASON_COLLATERAL_INVALID,
			    "EVAL_NUMBER: %u platform types are known",
			    EVALFLOOR_MAX);
	return ERR_OK;
}

/* ---- public ---- */

enum err
evalfloor_check(
    struct evalfloor *f, const struct verdict *v, struct refusal *why)
{
	enum err e;

	(void)pthread_mutex_lock(&f->lock);
	e = check(f, v, why);
	(void)pthread_mutex_unlock(&f->lock);
	return e;
}

enum err
evalfloor_raise(struct evalfloor *f, const struct eval_floor *e)
{
	enum err rc;

	if (!is_floor(e))
		return ERR_MALFORMED;
	(void)pthread_mutex_lock(&f->lock);
	rc = raise_to(f, e);
	(void)pthread_mutex_unlock(&f->lock);
	return rc;
}

size_t
evalfloor_list(struct eval_floor *out, size_t cap, struct evalfloor *f)
{
	size_t n;

	(void)pthread_mutex_lock(&f->lock);
	n = f->n;
	memcpy(out, f->floor, (n < cap ? n : cap) * sizeof *out);
	(void)pthread_mutex_unlock(&f->lock);
	return n;
}

uint64_t
evalfloor_changes(struct evalfloor *f)
{
	uint64_t n;

	(void)pthread_mutex_lock(&f->lock);
	n = f->changes;
	(void)pthread_mutex_unlock(&f->lock);
	return n;
}

/* ---- the list as bytes: evalfloor.h has the table ---- */

enum err
evalfloor_write(struct buf *out, struct evalfloor *f)
{
	uint8_t bytes[EVALFLOOR_LIST_MAX];
	struct wr w = { .p = bytes, .cap = sizeof bytes };

	(void)pthread_mutex_lock(&f->lock);
	wr_u8(&w, FORM);
	wr_be16(&w, (uint16_t)f->n);
	for (size_t i = 0; i < f->n; i++) {
		const struct eval_floor *e = &f->floor[i];

		wr_u8(&w, (uint8_t)e->tee);
		wr_u8(&w, e->qe);
		wr_bytes(&w, e->fmspc, sizeof e->fmspc);
		wr_be32(&w, e->number);
	}
	(void)pthread_mutex_unlock(&f->lock);
	assert(wr_ok(&w));
	return buf_set(out, bytes, w.len);
}

static enum err
read_list(
    struct eval_floor out[static EVALFLOOR_MAX], size_t *n, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	uint8_t form = rd_u8(&r);
	size_t count = rd_be16(&r);

	if (form != FORM || count > EVALFLOOR_MAX ||
	    r.left != count * ENTRY_LEN)
		return ERR_MALFORMED;
	for (size_t i = 0; i < count; i++) {
		struct eval_floor *e = &out[i];
		uint8_t tee = rd_u8(&r), qe = rd_u8(&r);
		const uint8_t *fmspc = rd_bytes(&r, sizeof e->fmspc);

		*e = (struct eval_floor){ .tee = (enum tee_kind)tee,
			.qe = qe != 0,
			.number = rd_be32(&r) };
		if (fmspc == NULL || qe > 1)
			return ERR_MALFORMED;
		memcpy(e->fmspc, fmspc, sizeof e->fmspc);
		/* One form: in order, and none twice. */
		if (!is_floor(e) || (i > 0 && order(e - 1, e) >= 0))
			return ERR_MALFORMED;
	}
	if (!rd_done(&r))
		return ERR_MALFORMED;
	*n = count;
	return ERR_OK;
}

enum err
evalfloor_merge(struct evalfloor *f, struct bytes in)
{
	struct eval_floor list[EVALFLOOR_MAX];
	size_t n, more = 0;
	enum err e = read_list(list, &n, in);

	if (e != ERR_OK)
		return e;
	(void)pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < n; i++)
		more += find(f, &list[i]) == NULL;
	if (more > EVALFLOOR_MAX - f->n)
		e = ERR_LIMIT;
	for (size_t i = 0; i < n && e == ERR_OK; i++)
		e = raise_to(f, &list[i]);
	(void)pthread_mutex_unlock(&f->lock);
	return e;
}
