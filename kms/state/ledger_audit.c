/* ledger_audit: the hash chain of what auditors need.
 *
 * A ring of fixed slots: appending never fails, and the head before the
 * first kept entry moves along, so the kept part can always be checked. */
#include <assert.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "kms/state/ledger_int.h"

bool
ledger_audit_is(enum command_kind k)
{
	switch (k) {
	case COMMAND_EPOCH:
	case COMMAND_MEMBER:
	case COMMAND_LEFT:
	case COMMAND_HANDOVER:
	case COMMAND_GENERATION:
	case COMMAND_ANCHORED:
	case COMMAND_EPOCH_STATE:
		return true;
	case COMMAND_FLOOR:
	case COMMAND_TCB_FLOOR:
	case COMMAND_INCREMENT:
	case COMMAND_HELD:
		return false;
	}
	return false;
}

/* head' = SHA-256(head || index u64be || length u32be || command) */
static void
extend(uint8_t head[static 32], const struct audit_entry *e)
{
	uint8_t fixed[12];
	struct wr w = { .p = fixed, .cap = sizeof fixed };

	wr_be64(&w, e->index);
	wr_be32(&w, e->len);
	sha256_v(head,
	    (const struct bytes[]){
		{ head, 32 }, BYTES_OF(fixed), { e->command, e->len } },
	    3);
}

static struct audit_entry *
place(const struct audit *a, uint64_t number)
{
	return &a->ring[(number - 1) % LEDGER_AUDIT_MAX];
}

void
ledger_audit_add(struct audit *a, uint64_t index, struct bytes command)
{
	if (a->count >= LEDGER_AUDIT_MAX)
		extend(a->before, place(a, a->count + 1)); /* the oldest */
	ledger_audit_put(a, index, command);
}

void
ledger_audit_put(struct audit *a, uint64_t index, struct bytes command)
{
	struct audit_entry *e = place(a, a->count + 1);

	assert(command.len <= sizeof e->command);
	*e = (struct audit_entry){ .index = index,
		.len = (uint16_t)command.len };
	memcpy(e->command, command.p, command.len);
	extend(a->head, e);
	a->count++;
}

size_t
ledger_audit_kept(const struct audit *a)
{
	return a->count < LEDGER_AUDIT_MAX ? (size_t)a->count
					   : LEDGER_AUDIT_MAX;
}

uint64_t
ledger_audit_count(const struct ledger *l)
{
	return l->audit.count;
}

uint64_t
ledger_audit_first(const struct ledger *l)
{
	return l->audit.count - ledger_audit_kept(&l->audit) + 1;
}

bool
ledger_audit_get(
    const struct ledger *l, uint64_t number, struct ledger_audit *out)
{
	const struct audit_entry *e;

	if (number < ledger_audit_first(l) || number > l->audit.count)
		return false;
	e = place(&l->audit, number);
	*out = (struct ledger_audit){ .number = number,
		.index = e->index,
		.command = { e->command, e->len } };
	return true;
}

void
ledger_audit_before(const struct ledger *l, uint8_t out[static 32])
{
	memcpy(out, l->audit.before, 32);
}

void
ledger_audit_head(const struct ledger *l, uint8_t out[static 32])
{
	memcpy(out, l->audit.head, 32);
}

uint64_t
ledger_n_handovers(const struct ledger *l)
{
	return l->n_handovers;
}

bool
ledger_handover_get(const struct ledger *l, uint64_t i,
    struct ledger_audit *out, struct command *cmd)
{
	uint64_t left = l->n_handovers;

	/* From the newest backwards: how many came before is known. */
	for (uint64_t n = l->audit.count; left > i && n > 0; n--) {
		struct ledger_audit a;
		struct command c;

		if (!ledger_audit_get(l, n, &a))
			return false;
		/* Its kind is told by one byte (command.h). */
		if (a.command.p[3] != COMMAND_HANDOVER || --left > i)
			continue;
		if (command_parse(&c, a.command) != ERR_OK)
			return false;
		*out = a;
		*cmd = c;
		return true;
	}
	return false;
}
