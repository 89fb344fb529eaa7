/* What nodes and endpoints answer, as audit.h has it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "common/eth/abird.h"
#include "common/eth/rpc.h"
#include "kms/ctl/audit.h"

#define COMMAND_BYTES 1024

/* cast keccak 'HandoverRecorded(...)' etc. */
#define TOPIC_HANDOVER \
	"0x522ab302f6dac841a82f8c75cca38067fa6fd86b26ab678ce7ec42ffd748e5d8"
#define TOPIC_ACTIVATED \
	"0x3ee3aa47ec8d7c55014ac297e4245e6247e8990036550d9e4f608b18a82fe9ec"
#define TOPIC_TAINTED \
	"0x165640afa4677f35d7aaa8af114e7347b359b4abc857789c101b93e695ec4b89"
#define TOPIC_DESTROYED \
	"0xaade0392a72ab6d4b8a1b01a6b613448e446dda588c9165fab34096a0c9c46d8"

const char audit_topics[] =
    "[[\"" TOPIC_HANDOVER "\",\"" TOPIC_ACTIVATED "\",\"" TOPIC_TAINTED
    "\",\"" TOPIC_DESTROYED "\"]]";

/* Room for one more of `size` bytes: arrays grow by doubling. */
static void *
grow(void *p, size_t n, size_t size)
{
	if (n != 0 && (n & (n - 1)) != 0)
		return p;
	return reallocarray(p, n == 0 ? 1 : 2 * n, size);
}

/* ---- a node's log ---- */

static enum err
read_entry(struct audit_node *n, const json_t *v)
{
	struct audit_entry *list = grow(n->entry, n->n, sizeof *list), *e;
	struct buf cmd = { 0 }, text = { 0 };
	uint8_t word[12];
	struct wr w = { .p = word, .cap = sizeof word };
	uint64_t index;
	enum err err;

	if (list == NULL)
		return ERR_NOMEM;
	n->entry = list;
	e = &list[n->n];
	*e = (struct audit_entry){ .number = n->first + n->n };
	if ((err = json_get_u64(&index, v, "number")) != ERR_OK ||
	    (err = index == e->number ? ERR_OK : ERR_MALFORMED) != ERR_OK ||
	    (err = json_get_u64(&index, v, "index")) != ERR_OK ||
	    (err = json_get_hex_buf(&cmd, COMMAND_BYTES, v, "command")) !=
		ERR_OK)
		goto done;
	wr_be64(&w, index);
	wr_be32(&w, (uint32_t)cmd.len);
	if ((err = buf_append(&text, word, sizeof word, 8192)) != ERR_OK ||
	    (err = buf_append(&text, cmd.p, cmd.len, 8192)) != ERR_OK)
		goto done;
	sha256(e->hash, text.p, text.len);
	/* head' = SHA-256(head || index || length || command) */
	text.len = 0;
	if ((err = buf_append(&text, n->computed, 32, 8192)) != ERR_OK ||
	    (err = buf_append(&text, word, sizeof word, 8192)) != ERR_OK ||
	    (err = buf_append(&text, cmd.p, cmd.len, 8192)) != ERR_OK)
		goto done;
	sha256(n->computed, text.p, text.len);
	e->known = command_parse(&e->cmd, buf_view(&cmd)) == ERR_OK;
	n->n++;
done:
	buf_fini(&cmd);
	buf_fini(&text);
	return err == ERR_NOMEM ? err : err == ERR_OK ? ERR_OK : ERR_MALFORMED;
}

enum err
audit_node_page(struct audit_node *n, const json_t *page, bool *more)
{
	const json_t *list = json_object_get(page, "entries"), *v;
	uint64_t count, first, from;
	uint8_t before[32], head[32];
	size_t i;
	enum err e;

	if (json_get_u64(&count, page, "count") != ERR_OK ||
	    json_get_u64(&first, page, "first_kept") != ERR_OK ||
	    json_get_u64(&from, page, "from") != ERR_OK ||
	    json_get_hex(before, 32, page, "before") != ERR_OK ||
	    json_get_hex(head, 32, page, "head") != ERR_OK ||
	    !json_is_array(list))
		return ERR_MALFORMED;
	if (n->n == 0) {
		n->first = first;
		memcpy(n->computed, before, 32);
		/* It may grow meanwhile; what was there first is compared. */
		n->count = count;
		memcpy(n->head, head, 32);
	}
	if (from != n->first + n->n || n->first == 0)
		return ERR_MALFORMED;
	json_array_foreach(list, i, v)
	{
		if (n->first + n->n > n->count)
			break;
		if ((e = read_entry(n, v)) != ERR_OK)
			return e;
	}
	*more = n->first + n->n <= n->count;
	return *more && json_array_size(list) == 0 ? ERR_MALFORMED : ERR_OK;
}

/* ---- the chain's events ---- */

static bool
topic(uint8_t out[static 32], const json_t *topics, size_t i)
{
	return rpc_fixed(out, 32, json_array_get(topics, i)) == ERR_OK;
}

static bool
topic_u64(uint64_t *out, const json_t *topics, size_t i)
{
	uint8_t w[32];

	return topic(w, topics, i) &&
	    abi_get_u64(out, (struct bytes){ w, 32 }) == ERR_OK;
}

/* (number, slot, incarnation) and the data (audit, epoch, device, mr) */
static enum err
read_handover(
    struct audit_chain *c, const json_t *topics, const struct buf *data)
{
	struct audit_handover *list =
	    grow(c->handover, c->n_handovers, sizeof *list);
	struct rd r = { .p = data->p, .left = data->len };
	struct audit_handover h = { .number = 0 };

	if (list == NULL)
		return ERR_NOMEM;
	c->handover = list;
	if (!topic_u64(&h.number, topics, 1) || !topic(h.h.slot, topics, 2) ||
	    !topic(h.h.incarnation, topics, 3))
		return ERR_MALFORMED;
	h.h.audit = abird_u64(&r);
	h.h.epoch = abird_u64(&r);
	abird_hash(&r, h.h.device_id);
	abird_hash(&r, h.h.mr_aggregated);
	if (!rd_done(&r))
		return ERR_MALFORMED;
	list[c->n_handovers++] = h;
	return ERR_OK;
}

static enum err
read_change(struct audit_chain *c, const json_t *topics, enum audit_what what)
{
	struct audit_change *list = grow(c->change, c->n_changes, sizeof *list);
	struct audit_change x = { .what = what };

	if (list == NULL)
		return ERR_NOMEM;
	c->change = list;
	if (!topic_u64(&x.epoch, topics, 1) ||
	    (what != AUDIT_TAINTED && !topic(x.root_hash, topics, 2)))
		return ERR_MALFORMED;
	list[c->n_changes++] = x;
	return ERR_OK;
}

enum err
audit_chain_log(struct audit_chain *c, const json_t *log)
{
	static const char *const changes[] = { TOPIC_ACTIVATED, TOPIC_TAINTED,
		TOPIC_DESTROYED };
	const json_t *topics = json_object_get(log, "topics");
	const char *name = json_string_value(json_array_get(topics, 0));
	struct buf data = { 0 };
	enum err e = ERR_MALFORMED;

	if (name == NULL ||
	    rpc_data(&data, 4096, json_object_get(log, "data")) != ERR_OK)
		goto done;
	if (strcmp(name, TOPIC_HANDOVER) == 0)
		e = read_handover(c, topics, &data);
	for (size_t i = 0; i < 3; i++)
		if (strcmp(name, changes[i]) == 0)
			e = read_change(c, topics, (enum audit_what)i);
done:
	buf_fini(&data);
	return e;
}
