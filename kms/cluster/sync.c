/* sync: the answer to a peer that asks for the records it lacks. */
#include <stdlib.h>
#include <string.h>

#include "kms/cluster/cluster_int.h"

struct answer {
	const Devproof__Kms__V1__Sync *have;
	ProtobufCBinaryData item[PEERS_RECORDS_MAX];
	size_t n;
};

static uint64_t
skip_what_they_have(void *cookie, const uint8_t incarnation[static 32])
{
	const struct answer *a = cookie;

	for (size_t i = 0; a->have != NULL && i < a->have->n_have; i++)
		if (memcmp(a->have->have[i]->incarnation.data, incarnation,
			INCARNATION_LEN) == 0)
			return a->have->have[i]->seq;
	return 0;
}

static bool
collect(void *cookie, struct bytes record)
{
	struct answer *a = cookie;

	a->item[a->n++] = msg_bytes(record.p, record.len);
	return a->n < PEERS_RECORDS_MAX;
}

enum err
cluster_records(const struct cluster *c, struct buf *reply, uint64_t id,
    const Devproof__Kms__V1__Sync *have)
{
	Devproof__Kms__V1__Records records;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	struct answer *a = calloc(1, sizeof *a);
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	a->have = have;
	state_each(c->state, skip_what_they_have, collect, a);
	devproof__kms__v1__records__init(&records);
	records.record = a->item;
	records.n_record = a->n;
	m.id = id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_RECORDS;
	m.records = &records;
	e = msg_reply_pack(reply, &m);
	free(a);
	return e;
}
