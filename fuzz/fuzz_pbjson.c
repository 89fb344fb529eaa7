/* fuzz_pbjson: messages of the guest API as JSON, and back.
 *
 * Targets: pbjson_read, pbjson_write.  The first byte chooses the message.
 *
 * Asserted: what is read is written to a message that reads as the same
 * object, and that protobuf-c reads as well; written again it is the same
 * bytes; and what protobuf-c itself packs reads as the same object, too. */
#include <string.h>

#include "common/wire/guest_v0.pb-c.h"
#include "common/wire/guest_v1.pb-c.h"
#include "common/wire/pbjson.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const forms[] = {
	&devproof__guest__v0__get_tls_key_request__descriptor,
	&devproof__guest__v0__get_key_request__descriptor,
	&devproof__guest__v0__get_key_reply__descriptor,
	&devproof__guest__v0__info_reply__descriptor,
	&devproof__guest__v0__counter_increment_request__descriptor,
	&devproof__guest__v0__error__descriptor,
	&devproof__guest__v1__get_key_request__descriptor,
	&devproof__guest__v1__attest_reply__descriptor,
	&devproof__guest__v1__health_reply__descriptor,
};

/* Text that is cut at a NUL by protobuf-c is not compared. */
static bool
has_nul(const json_t *v)
{
	const char *key;
	json_t *x;
	size_t i;

	if (json_is_string(v))
		return strlen(json_string_value(v)) != json_string_length(v);
	json_array_foreach(v, i, x) if (has_nul(x)) return true;
	json_object_foreach(
	    (json_t *)(uintptr_t)v, key, x) if (has_nul(x)) return true;
	return false;
}

/* protobuf-c's packing of what we wrote. */
static void
against_protobuf_c(
    const ProtobufCMessageDescriptor *d, const struct buf *ours, bool nul)
{
	ProtobufCMessage *m =
	    protobuf_c_message_unpack(d, NULL, ours->len, ours->p);
	struct buf theirs = { 0 };

	must(m != NULL);
	must(buf_reserve(&theirs, protobuf_c_message_get_packed_size(m) + 1) ==
	    ERR_OK);
	theirs.len = protobuf_c_message_pack(m, theirs.p);
	if (!nul)
		must(theirs.len == ours->len &&
		    memcmp(theirs.p, ours->p, ours->len) == 0);
	protobuf_c_message_free_unpacked(m, NULL);
	buf_fini(&theirs);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *d;
	struct buf once = { 0 }, again = { 0 };
	json_t *v = NULL, *back = NULL;

	if (size == 0)
		return 0;
	d = forms[data[0] % (sizeof forms / sizeof forms[0])];
	if (pbjson_read(&v, d, (struct bytes){ data + 1, size - 1 }) != ERR_OK)
		return 0;
	must(pbjson_write(&once, d, v) == ERR_OK);
	must(pbjson_read(&back, d, buf_view(&once)) == ERR_OK);
	must(pbjson_write(&again, d, back) == ERR_OK);
	must(once.len == again.len && memcmp(once.p, again.p, once.len) == 0);
	against_protobuf_c(d, &once, has_nul(v));
	json_decref(v);
	json_decref(back);
	buf_fini(&once);
	buf_fini(&again);
	return 0;
}
