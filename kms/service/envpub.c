#include "kms/service/envpub.h"
#include "kms/service/decision.h"

enum err
envpub_make(struct envpub *out, struct job *j, const uint8_t app_id[static 20])
{
	struct envpub v = { .timestamp = (uint64_t)j->now };
	struct epoch_roots *r;
	enum err e = decision_env(j, app_id);

	if (e != ERR_OK)
		return e;
	v.epoch = j->epoch;
	if ((r = keyring_use(j->o->keyring, j->epoch)) == NULL)
		return refuse(&j->why, REASON_NOT_READY,
		    "the roots of epoch %llu are not here",
		    (unsigned long long)j->epoch);
	e = keys_env_pub(v.pub, &v.sig, &v.sig_v1, r, app_id, v.timestamp);
	keyring_done(j->o->keyring);
	if (e == ERR_OK)
		*out = v;
	return e;
}

enum err
job_env_pub(struct job *j)
{
	Devproof__Kms__V1__AppEnvPubKey k =
	    DEVPROOF__KMS__V1__APP_ENV_PUB_KEY__INIT;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	struct envpub v;
	enum err e =
	    envpub_make(&v, j, j->request->get_app_env_pub_key->app_id.data);

	if (e != ERR_OK)
		return e;
	k.epoch = v.epoch;
	k.public_key = msg_bytes(v.pub, sizeof v.pub);
	k.signature = msg_bytes(v.sig.b, sizeof v.sig.b);
	k.signature_v1 = msg_bytes(v.sig_v1.b, sizeof v.sig_v1.b);
	k.timestamp = v.timestamp;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_ENV_PUB_KEY;
	m.app_env_pub_key = &k;
	return msg_reply_pack(&j->reply, &m);
}
