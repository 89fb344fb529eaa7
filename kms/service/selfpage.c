#include "kms/service/selfpage.h"
#include "common/base/hex.h"

enum err
selfpage_measurements(json_t *o, const struct boot_info *b)
{
	json_t *advisories = json_array();
	enum err e;

	if ((e = json_set_str(o, "tee", tee_text(b->tee))) != ERR_OK ||
	    (e = json_set_hex(o, "app_id", b->app_id, 20)) != ERR_OK ||
	    (e = json_set_hex(o, "compose_hash", b->compose_hash, 32)) !=
		ERR_OK ||
	    (e = json_set_hex(o, "device_id", b->device_id, 32)) != ERR_OK ||
	    (e = json_set_hex(o, "mr_aggregated", b->mr_aggregated, 32)) !=
		ERR_OK ||
	    (e = json_set_hex(o, "mr_system", b->mr_system, 32)) != ERR_OK ||
	    (e = json_set_hex(o, "os_image_hash", b->os_image_hash, 32)) !=
		ERR_OK ||
	    (e = json_set_str(
		 o, "tcb_status", tcb_status_text(b->tcb_status))) != ERR_OK) {
		json_decref(advisories);
		return e;
	}
	for (unsigned i = 0; i < b->n_advisories; i++)
		(void)json_array_append_new(
		    advisories, json_string(b->advisory[i]));
	return json_set_new(o, "advisory_ids", advisories);
}

/* What this node tolerates in others, so that an auditor need not ask. */
json_t *
selfpage_policy(const struct attest_policy *p)
{
	json_t *o = json_object(), *list = json_array();
	json_t *advisories = json_array(), *ppids = NULL;
	char hex[33];

	for (unsigned i = 0; i < TCB_STATUS_COUNT; i++)
		if (p->status[i])
			(void)json_array_append_new(list,
			    json_string(tcb_status_text((enum tcb_status)i)));
	for (unsigned i = 0; i < p->n_advisories; i++)
		(void)json_array_append_new(
		    advisories, json_string(p->advisory[i]));
	for (unsigned i = 0; i < p->n_ppids; i++) {
		if (ppids == NULL)
			ppids = json_array();
		(void)json_array_append_new(
		    ppids, json_string(hex_encode(hex, p->ppid[i], 16)));
	}
	(void)!json_set_new(o, "allow_status", list);
	(void)!json_set_new(o, "allow_advisory", advisories);
	(void)!json_set_new(
	    o, "allow_ppid", ppids != NULL ? ppids : json_string("any"));
	(void)!json_set_new(o, "grace_s", json_integer(p->grace_s));
	(void)!json_set_u64(o, "min_tcb_eval", p->min_tcb_eval);
	(void)!json_set_u64(o, "min_qe_eval", p->min_qe_eval);
	(void)!json_set_bool(o, "allow_debug", p->allow_debug);
	(void)!json_set_bool(o, "allow_simulated", p->allow_simulated);
	return o;
}
