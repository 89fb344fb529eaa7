/* Target: corewire_read, and corewire_write of what it took.
 *
 * A message from a peer's core.  What is taken keeps inside its bounds and
 * points into the input only; written again and read again it is the same
 * message, and of all bytes only the label of an unknown reason may differ
 * (it becomes "internal": nodes of two versions can talk). */
#include <string.h>

#include "fuzz/must.h"
#include "kms/cluster/core_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
has_label(const struct corewire *m)
{
	return m->type == WIRE_REFUSED || m->type == WIRE_FORWARDED;
}

static void
check(const struct corewire *m, struct bytes in)
{
	must(m->type >= WIRE_RAFT && m->type <= WIRE_LEAVE);
	must(m->n_points <= CORE_CHECKPOINTS);
	must(m->kind <= CORE_UNKNOWN && m->err <= ERR_NOMEM);
	must(m->reason < REASON_COUNT);
	if (m->type != WIRE_RAFT && m->type != WIRE_FORWARD)
		must(m->body.len == 0);
	else
		must(m->body.p + m->body.len == in.p + in.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct bytes in = { data, size };
	struct corewire m, again;
	struct buf one = { 0 }, two = { 0 };

	memset(&m, 0x5a, sizeof m);
	again = m;
	if (corewire_read(&m, in) != ERR_OK) {
		/* Untouched: a caller that goes on has nothing to go on with. */
		must(memcmp(&m, &again, sizeof m) == 0);
		return 0;
	}
	check(&m, in);
	must(corewire_write(&one, &m) == ERR_OK);
	must(corewire_read(&again, buf_view(&one)) == ERR_OK);
	must(corewire_write(&two, &again) == ERR_OK);
	must(one.len == two.len && memcmp(one.p, two.p, one.len) == 0);
	if (!has_label(&m) || m.reason != REASON_INTERNAL)
		must(one.len == size && memcmp(one.p, data, size) == 0);
	buf_fini(&one);
	buf_fini(&two);
	return 0;
}
