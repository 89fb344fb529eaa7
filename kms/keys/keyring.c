#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kms/keys/certs.h"
#include "kms/keys/keyring.h"

struct entry {
	struct entry *next; /* owns */
	uint64_t number;
	struct epoch_roots *roots; /* owns */
	struct buf ca_cert; /* owns; empty until it is asked for */
};

static void
entry_free(struct entry *e)
{
	epoch_roots_free(e->roots);
	buf_fini(&e->ca_cert);
	free(e);
}

struct keyring {
	pthread_mutex_t lock;
	struct entry *first; /* owns */
};

enum err
keyring_new(struct keyring **out)
{
	struct keyring *k = calloc(1, sizeof *k);

	if (k == NULL)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&k->lock, NULL);
	*out = k;
	return ERR_OK;
}

void
keyring_free(struct keyring *k)
{
	struct entry *e, *next;

	if (k == NULL)
		return;
	for (e = k->first; e != NULL; e = next) {
		next = e->next;
		entry_free(e);
	}
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

static struct entry *
find(struct keyring *k, uint64_t number)
{
	for (struct entry *e = k->first; e != NULL; e = e->next)
		if (e->number == number)
			return e;
	return NULL;
}

enum err
keyring_add(struct keyring *k, struct epoch_roots *r)
{
	struct epoch_public pub, have;
	struct entry *e;
	enum err err = ERR_OK;

	epoch_roots_public(r, &pub);
	(void)pthread_mutex_lock(&k->lock);
	if ((e = find(k, pub.number)) != NULL) {
		epoch_roots_public(e->roots, &have);
		if (memcmp(&have.k256, &pub.k256, sizeof pub.k256) != 0 ||
		    memcmp(&have.ca, &pub.ca, sizeof pub.ca) != 0)
			err = ERR_EXISTS;
		else
			epoch_roots_free(r);
	} else if ((e = calloc(1, sizeof *e)) == NULL) {
		err = ERR_NOMEM;
	} else {
		e->number = pub.number;
		e->roots = r;
		e->next = k->first;
		k->first = e;
	}
	(void)pthread_mutex_unlock(&k->lock);
	return err;
}

void
keyring_drop(struct keyring *k, uint64_t number)
{
	(void)pthread_mutex_lock(&k->lock);
	for (struct entry **at = &k->first; *at != NULL; at = &(*at)->next)
		if ((*at)->number == number) {
			struct entry *e = *at;

			*at = e->next;
			entry_free(e);
			break;
		}
	(void)pthread_mutex_unlock(&k->lock);
}

void
keyring_clear(struct keyring *k)
{
	struct entry *e, *next;

	(void)pthread_mutex_lock(&k->lock);
	for (e = k->first; e != NULL; e = next) {
		next = e->next;
		entry_free(e);
	}
	k->first = NULL;
	(void)pthread_mutex_unlock(&k->lock);
}

bool
keyring_has(struct keyring *k, uint64_t number)
{
	bool has;

	(void)pthread_mutex_lock(&k->lock);
	has = find(k, number) != NULL;
	(void)pthread_mutex_unlock(&k->lock);
	return has;
}

enum err
keyring_ca_cert(struct keyring *k, struct buf *der, uint64_t number)
{
	struct entry *e;
	enum err err = ERR_NOTFOUND;

	(void)pthread_mutex_lock(&k->lock);
	if ((e = find(k, number)) != NULL) {
		err = e->ca_cert.len > 0 ? ERR_OK
					 : certs_root(&e->ca_cert, e->roots);
		if (err == ERR_OK)
			err = buf_set(der, e->ca_cert.p, e->ca_cert.len);
	}
	(void)pthread_mutex_unlock(&k->lock);
	return err;
}

struct epoch_roots *
keyring_use(struct keyring *k, uint64_t number)
{
	struct entry *e;

	(void)pthread_mutex_lock(&k->lock);
	if ((e = find(k, number)) != NULL)
		return e->roots;
	(void)pthread_mutex_unlock(&k->lock);
	return NULL;
}

void
keyring_done(struct keyring *k)
{
	(void)pthread_mutex_unlock(&k->lock);
}
