#include <string.h>

#include "common/wire/guest_v0.pb-c.h"
#include "common/wire/guest_v1.pb-c.h"
#include "common/wire/pbjson.h"

#include "node/agent/rpc_proto.h"

#define V0(name) (&devproof__guest__v0__##name##__descriptor)
#define V1(name) (&devproof__guest__v1__##name##__descriptor)

static const struct form {
	const struct rpc_service *service;
	const char *method;
	const ProtobufCMessageDescriptor *request, *reply;
} forms[] = {
	{ &rpc_guest, "GetKey", V0(get_key_request), V0(get_key_reply) },
	{ &rpc_guest, "GetTlsKey", V0(get_tls_key_request),
	    V0(get_tls_key_reply) },
	{ &rpc_guest, "GetQuote", V0(report_data_request),
	    V0(get_quote_reply) },
	{ &rpc_guest, "Attest", V0(report_data_request), V0(attest_reply) },
	{ &rpc_guest, "EmitEvent", V0(emit_event_request), V0(empty) },
	{ &rpc_guest, "Info", V0(empty), V0(info_reply) },
	{ &rpc_guest, "Sign", V0(sign_request), V0(sign_reply) },
	{ &rpc_guest, "Verify", V0(verify_request), V0(verify_reply) },
	{ &rpc_guest, "Version", V0(empty), V0(version_reply) },
	{ &rpc_guest, "GpuInfo", V0(empty), V0(gpu_info_reply) },
	{ &rpc_guest, "GetReplicaKey", V0(get_replica_key_request),
	    V0(get_replica_key_reply) },
	{ &rpc_guest, "CounterGet", V0(counter_get_request),
	    V0(counter_reply) },
	{ &rpc_guest, "CounterIncrement", V0(counter_increment_request),
	    V0(counter_reply) },
	{ &rpc_tappd, "DeriveKey", V0(derive_key_request),
	    V0(get_tls_key_reply) },
	{ &rpc_tappd, "DeriveK256Key", V0(get_key_request),
	    V0(derive_k256_key_reply) },
	{ &rpc_tappd, "TdxQuote", V0(tdx_quote_request), V0(tdx_quote_reply) },
	{ &rpc_tappd, "RawQuote", V0(report_data_request),
	    V0(tdx_quote_reply) },
	{ &rpc_tappd, "Info", V0(empty), V0(info_reply) },
	{ &rpc_tappd, "Version", V0(empty), V0(version_reply) },
	{ &rpc_worker, "Info", V0(empty), V0(info_reply) },
	{ &rpc_worker, "Version", V0(empty), V0(version_reply) },
	{ &rpc_worker, "GetAttestationForAppKey",
	    V0(app_key_attestation_request), V0(get_quote_reply) },
	{ &rpc_guest_v1, "IssueCert", V1(issue_cert_request),
	    V1(issue_cert_reply) },
	{ &rpc_guest_v1, "GetKey", V1(get_key_request), V1(get_key_reply) },
	{ &rpc_guest_v1, "Attest", V1(attest_request), V1(attest_reply) },
	{ &rpc_guest_v1, "AttestGpu", V1(attest_gpu_request),
	    V1(attest_gpu_reply) },
	{ &rpc_guest_v1, "Info", V1(empty), V1(info_reply) },
	{ &rpc_guest_v1, "Version", V1(empty), V1(version_reply) },
	{ &rpc_worker_v1, "Info", V1(empty), V1(info_reply) },
	{ &rpc_worker_v1, "Version", V1(empty), V1(version_reply) },
	{ &rpc_worker_v1, "Health", V1(empty), V1(health_reply) },
};

static const struct form *
find(const struct rpc_service *service, const char *method)
{
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		if (forms[i].service == service &&
		    strcmp(forms[i].method, method) == 0)
			return &forms[i];
	return NULL;
}

/* NULL if there is none.  A refusal needs no method. */
static const ProtobufCMessageDescriptor *
reply_form(const struct rpc_service *service, const char *method)
{
	const struct form *f;

	if (method == NULL)
		return V0(error);
	f = find(service, method);
	return f != NULL ? f->reply : NULL;
}

enum err
rpc_proto_read(json_t **fields, const struct rpc_service *service,
    const char *method, struct bytes body)
{
	const struct form *f = find(service, method);

	if (f == NULL)
		return ERR_NOTFOUND;
	return pbjson_read(fields, f->request, body);
}

enum err
rpc_proto_write(struct buf *out, const struct rpc_service *service,
    const char *method, const json_t *reply)
{
	const ProtobufCMessageDescriptor *d = reply_form(service, method);

	return d != NULL ? pbjson_write(out, d, reply) : ERR_NOTFOUND;
}

bool
rpc_proto_known(const struct rpc_service *service, const char *method,
    json_t *reply, const char **missing)
{
	const ProtobufCMessageDescriptor *d = reply_form(service, method);

	for (void *it = json_object_iter(reply); it != NULL;
	     it = json_object_iter_next(reply, it)) {
		*missing = json_object_iter_key(it);
		if (d == NULL ||
		    protobuf_c_message_descriptor_get_field_by_name(
			d, *missing) == NULL)
			return false;
	}
	return true;
}
