#include <pthread.h>
#include <stdlib.h>

#include "common/base/secret.h"

#include "node/agent/heldkeys.h"

struct heldkeys {
	pthread_mutex_t lock; /* guards all below */
	struct app_release *slot; /* owns: HELDKEYS_MAX, no access while idle */
	size_t n; /* slot 0 is the app's own */
	size_t next; /* to be replaced next */
};

enum err
heldkeys_new(struct heldkeys **out, const struct app_release *own)
{
	struct heldkeys *k = calloc(1, sizeof *k);

	if (k == NULL)
		return ERR_NOMEM;
	k->slot = secret_new(HELDKEYS_MAX * sizeof *k->slot);
	if (k->slot == NULL || pthread_mutex_init(&k->lock, NULL) != 0) {
		secret_free(k->slot);
		free(k);
		return ERR_NOMEM;
	}
	k->slot[0] = *own;
	k->n = 1;
	k->next = 1;
	secret_lock(k->slot);
	*out = k;
	return ERR_OK;
}

void
heldkeys_free(struct heldkeys *k)
{
	if (k == NULL)
		return;
	secret_free(k->slot);
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

enum err
heldkeys_get(struct heldkeys *k, struct app_release *out, const uint64_t *epoch)
{
	enum err e = ERR_NOTFOUND;

	(void)pthread_mutex_lock(&k->lock);
	secret_open_ro(k->slot);
	for (size_t i = 0; i < k->n; i++)
		if (epoch == NULL || k->slot[i].epoch == *epoch) {
			*out = k->slot[i];
			e = ERR_OK;
			break;
		}
	secret_lock(k->slot);
	(void)pthread_mutex_unlock(&k->lock);
	return e;
}

void
heldkeys_add(struct heldkeys *k, const struct app_release *r)
{
	bool held = false;

	(void)pthread_mutex_lock(&k->lock);
	secret_open_rw(k->slot);
	for (size_t i = 0; i < k->n; i++)
		held = held || k->slot[i].epoch == r->epoch;
	if (!held) {
		k->slot[k->next] = *r;
		if (k->n < HELDKEYS_MAX)
			k->n++;
		k->next = k->next + 1 < HELDKEYS_MAX ? k->next + 1 : 1;
	}
	secret_lock(k->slot);
	(void)pthread_mutex_unlock(&k->lock);
}
