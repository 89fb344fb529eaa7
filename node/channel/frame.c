#include "node/channel/frame.h"
#include "common/base/rd.h"
#include "common/base/wr.h"

#define FRAME_MAGIC 0x444b /* "DK" */
#define FRAME_VERSION 1

enum err
frame_parse(struct frame_head *out, const uint8_t in[static FRAME_HEAD_LEN])
{
	struct rd r = { .p = in, .left = FRAME_HEAD_LEN };
	uint16_t magic = rd_be16(&r);
	uint8_t version = rd_u8(&r), type = rd_u8(&r);
	uint32_t len = rd_be32(&r);

	if (magic != FRAME_MAGIC || version != FRAME_VERSION ||
	    type < FRAME_HELLO || type > FRAME_DATA)
		return ERR_MALFORMED;
	*out = (struct frame_head){ .type = (enum frame_type)type, .len = len };
	return ERR_OK;
}

void
frame_write(
    uint8_t out[static FRAME_HEAD_LEN], enum frame_type type, uint32_t len)
{
	struct wr w = { .p = out, .cap = FRAME_HEAD_LEN };

	wr_be16(&w, FRAME_MAGIC);
	wr_u8(&w, FRAME_VERSION);
	wr_u8(&w, (uint8_t)type);
	wr_be32(&w, len);
}
