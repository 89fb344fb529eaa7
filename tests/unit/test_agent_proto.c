/* The methods in protobuf: what JSON callers get, others get. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/wire/guest_v0.pb-c.h"
#include "common/wire/pbjson.h"

#include "node/agent/rpc_proto.h"
#include "node/agent/server.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rawhttp.h"

static struct fake_agent fake;
static struct agent_backend backend;
static struct server *server;
static char dir[] = "/tmp/agent-proto-XXXXXX", path[64];

static const struct rpc_service *const services[] = { &rpc_guest, &rpc_guest_v1,
	&rpc_tappd, &rpc_worker, &rpc_worker_v1 };

static void
setup(void)
{
	const struct server_options o = { .surface = SURFACE_GUEST,
		.unix_path = path };

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	fake_agent_init(&fake, &backend);
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/s.sock", dir);
	cr_assert_eq(server_start(&server, &backend, &o), ERR_OK);
}

static void
teardown(void)
{
	server_stop(server);
	(void)rmdir(dir);
	fake_agent_fini(&fake);
}

TestSuite(agent_proto, .init = setup, .fini = teardown, .timeout = 60);

/* Every method has messages. */
Test(agent_proto, every_method_has_messages)
{
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		for (size_t k = 0; k < services[i]->n_methods; k++) {
			const char *name = services[i]->methods[k].name;
			struct buf none = { 0 };
			json_t *fields = NULL;

			cr_assert_eq(rpc_proto_read(&fields, services[i], name,
					 buf_view(&none)),
			    ERR_OK, "%s.%s has no row in rpc_proto.c",
			    services[i]->name, name);
			json_decref(fields);
		}
}

/* Some call of each method that has a reply to look at. */
static json_t *
fields_for(const char *name)
{
	static const struct {
		const char *name, *json;
	} all[] = {
		{ "GetKey",
		    "{\"path\":\"a\",\"domain\":\"a\",\"epoch\":3,"
		    "\"algorithm\":\"ed25519\"}" },
		{ "DeriveK256Key", "{\"path\":\"a\"}" },
		{ "GetTlsKey", "{\"epoch\":3}" },
		{ "Sign", "{\"algorithm\":\"ed25519\",\"epoch\":3}" },
		{ "EmitEvent", "{\"event\":\"a\"}" },
		{ "GetReplicaKey", "{\"path\":\"a\",\"epoch\":3}" },
		{ "CounterGet", "{\"name\":\"a\"}" },
		{ "CounterIncrement", "{\"name\":\"a\",\"expected\":0}" },
		{ "TdxQuote", "{\"report_data\":\"00\"}" },
		{ "GetAttestationForAppKey", "{\"algorithm\":\"ed25519\"}" },
	};
	const char *json = "{\"report_data\":\"00\"}";

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (strcmp(all[i].name, name) == 0)
			json = all[i].json;
	return json_loads(json, 0, NULL);
}

/* Nothing that JSON tells is missing in the messages. */
Test(agent_proto, every_member_has_a_field)
{
	unsigned answered = 0;

	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		for (size_t k = 0; k < services[i]->n_methods; k++) {
			const char *name = services[i]->methods[k].name;
			struct rpc_reply out = { .write = NULL };
			json_t *fields = fields_for(name), *reply = NULL;
			const char *missing = "";

			rpc_call(
			    &backend, &out, services[i], name, fields, false);
			json_decref(fields);
			answered += out.status == 200;
			cr_assert_not_null(out.body.p);
			reply = json_loads(
			    (char *)out.body.p, JSON_DECODE_ANY, NULL);
			cr_assert(rpc_proto_known(services[i],
				      out.status == 200 ? name : NULL, reply,
				      &missing),
			    "%s.%s: '%s' has no field in guest_*.proto",
			    services[i]->name, name, missing);
			json_decref(reply);
			buf_fini(&out.body);
		}
	cr_assert_geq(answered, 10);
}

/* Asks with a message; gives the reply's status and message. */
static unsigned
ask(struct buf *out, struct bytes *message, const char *target,
    const char *type, struct bytes body)
{
	struct buf text = { 0 };
	unsigned status = 0;
	const char *wrong;

	cr_assert_eq(
	    buf_printf(&text,
		"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
		target, type, body.len),
	    ERR_OK);
	if (body.len > 0)
		cr_assert_eq(
		    buf_append(&text, body.p, body.len, SIZE_MAX), ERR_OK);
	rawhttp_talk(out, path, buf_view(&text), 4096);
	buf_fini(&text);
	wrong = rawhttp_check(out, &status, message);
	cr_assert_null(wrong, "%s: %s", wrong, (char *)out->p);
	cr_assert(rawhttp_header(
	    out, "\r\nContent-Type: ", "application/octet-stream\r\n"));
	return status;
}

#define OCTETS "Content-Type: application/octet-stream\r\n"

static void
refused(const char *target, struct bytes body, unsigned want, const char *words)
{
	struct buf out = { 0 };
	struct bytes message;
	json_t *v = NULL;
	const char *error;

	cr_assert_eq(ask(&out, &message, target, OCTETS, body), want);
	cr_assert_eq(
	    pbjson_read(&v, &devproof__guest__v0__error__descriptor, message),
	    ERR_OK);
	error = json_string_value(json_object_get(v, "error"));
	cr_assert_not_null(error);
	cr_assert_not_null(strstr(error, words), "%s", error);
	json_decref(v);
	buf_fini(&out);
}

/* Refusals are messages, too: text in field 1. */
Test(agent_proto, refusals)
{
	struct buf long_data = { 0 };

	refused("/GetKey", BYTES_STR("\x0a\x05xx"), 400,
	    "Failed to decode request");
	refused("/GetKey", BYTES_STR("{}"), 400, "Failed to decode request");
	refused("/GetKey", BYTES_STR("\x0a\x01\xff"), 400, "Failed to decode");
	refused("/Nope", BYTES_STR(""), 400, "Service not found: Nope");
	refused("/v1/Nope", BYTES_STR(""), 404, "Service not found: Nope");
	refused(
	    "/GetKey", BYTES_STR("\x1a\x01x"), 400, "Unsupported algorithm");
	refused("/GetKey", BYTES_STR("\xc0\x3e\x07"), 400, "");
	refused("/EmitEvent", BYTES_STR(""), 400, "Event name cannot be empty");
	cr_assert_eq(buf_set(&long_data, "\x0a\x41", 2), ERR_OK);
	for (int i = 0; i < 65; i++)
		cr_assert_eq(buf_append(&long_data, "x", 1, 99), ERR_OK);
	refused(
	    "/GetQuote", buf_view(&long_data), 400, "Report data is too long");
	buf_fini(&long_data);
}

/* A refused increment tells the counter's value beside the text. */
Test(agent_proto, counter_mismatch)
{
	struct buf out = { 0 };
	struct bytes message;
	json_t *v = NULL;

	cr_assert_eq(ask(&out, &message, "/CounterIncrement", OCTETS,
			 BYTES_STR("\x0a\x01"
				   "a\x10\x63")),
	    400);
	cr_assert_eq(
	    pbjson_read(&v, &devproof__guest__v0__error__descriptor, message),
	    ERR_OK);
	cr_assert(json_is_integer(json_object_get(v, "value")));
	json_decref(v);
	buf_fini(&out);
}

/* The same key as in JSON, with any content type but JSON's, or none. */
Test(agent_proto, get_key)
{
	static const char *const types[] = { OCTETS, "",
		"Content-Type: application/x-protobuf\r\n" };
	static const char key[] =
	    "38309afef2058aef6aee6ef7baca26942986ee387836a0dbdb5791f4f5a8142c";

	for (size_t i = 0; i < 3; i++) {
		Devproof__Guest__V0__GetKeyReply *m;
		struct buf out = { 0 };
		struct bytes message;
		char hex[65];

		cr_assert_eq(ask(&out, &message, "/prpc/DstackGuest.GetKey",
				 types[i], BYTES_STR("\x1a\x09secp256k1")),
		    200);
		m = devproof__guest__v0__get_key_reply__unpack(
		    NULL, message.len, message.p);
		cr_assert_not_null(m);
		cr_assert_eq(m->key.len, 32);
		cr_assert_str_eq(hex_encode(hex, m->key.data, 32), key);
		cr_assert_eq(m->n_signature_chain, 2);
		cr_assert_eq(m->signature_chain[1].len, 65);
		cr_assert_eq(m->has_epoch_case,
		    DEVPROOF__GUEST__V0__GET_KEY_REPLY__HAS_EPOCH_EPOCH);
		cr_assert_eq(m->epoch, 3);
		devproof__guest__v0__get_key_reply__free_unpacked(m, NULL);
		buf_fini(&out);
	}
}

/* An empty message is no bytes at all. */
Test(agent_proto, empty_reply)
{
	struct buf out = { 0 };
	struct bytes message;

	cr_assert_eq(ask(&out, &message, "/EmitEvent", OCTETS,
			 BYTES_STR("\x0a\x01x\x12\x02\x00\xff")),
	    200);
	cr_assert_eq(message.len, 0);
	cr_assert_str_eq(fake.last_event, "x");
	cr_assert_eq(fake.last_payload_len, 2);
	buf_fini(&out);
}
