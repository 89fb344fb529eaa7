#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/evalfloor.h"

struct evalfloor {
	pthread_mutex_t lock; /* guards all below */
	struct eval_floor floor[EVALFLOOR_MAX];
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

/* ---- all with the lock held ---- */

static struct eval_floor *
find(struct evalfloor *f, const struct eval_floor *e)
{
	for (size_t i = 0; i < f->n; i++) {
		struct eval_floor *x = &f->floor[i];

		if (x->tee == e->tee && x->qe == e->qe &&
		    (e->qe || memcmp(x->fmspc, e->fmspc, 6) == 0))
			return x;
	}
	return NULL;
}

static enum err
raise_to(struct evalfloor *f, const struct eval_floor *e)
{
	struct eval_floor *x = find(f, e);

	if (x == NULL) {
		if (f->n == EVALFLOOR_MAX)
			return ERR_LIMIT;
		x = &f->floor[f->n++];
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
	static const uint8_t zero[6];
	enum err rc;

	if ((e->tee != TEE_TDX && e->tee != TEE_SGX) ||
	    (e->qe && memcmp(e->fmspc, zero, sizeof zero) != 0))
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
