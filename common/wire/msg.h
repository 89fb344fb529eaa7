/* msg: packing and parsing of the messages in kms.proto.
 *
 * Parsed messages live in memory that is wiped when freed, since replies
 * carry keys.  Parsing checks form and bounds; who may send what is asked
 * by kms/service before a body is looked at. */
#ifndef COMMON_WIRE_MSG_H
#define COMMON_WIRE_MSG_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/reason.h"
#include "common/wire/kms.pb-c.h"

typedef Devproof__Kms__V1__Request KmsRequest;
typedef Devproof__Kms__V1__Reply KmsReply;

/* The caller owns `*out` (msg_request_free, msg_reply_free).
 * ERR_LIMIT over LIMIT_MESSAGE, ERR_NOMEM, ERR_MALFORMED otherwise (also for a message
 * without a body, with fixed-size members of another size, or of so many parts
 * that parsing it would be work: pballoc.h). */
enum err msg_request_parse(KmsRequest **out, struct bytes in);
enum err msg_reply_parse(KmsReply **out, struct bytes in);
void msg_request_free(KmsRequest *m); /* NULL is fine */
void msg_reply_free(KmsReply *m);

/* Appends the packed message; buf_wipe what may hold keys. */
enum err msg_request_pack(struct buf *out, const KmsRequest *m);
enum err msg_reply_pack(struct buf *out, const KmsReply *m);

/* msg_error_pack appends a reply that refuses request `id`.  `text` may be
 * NULL (the reason's own sentence) or a contract's words. */
enum err msg_error_pack(
    struct buf *out, uint64_t id, enum reason code, const char *text);

/* msg_reply_refusal turns an error reply into a refusal: ERR_DENIED, or
 * ERR_AGAIN when another node may do better.  ERR_OK if it is no error. */
enum err msg_reply_refusal(const KmsReply *m, struct refusal *why);

/* A bytes member that borrows. */
static inline ProtobufCBinaryData
msg_bytes(const void *p, size_t len)
{
	return (
	    ProtobufCBinaryData){ .len = len, .data = (uint8_t *)(uintptr_t)p };
}

#endif
