/* fuzz_command: command_parse, command_write, name_ok.
 *
 * What is read is written to the same bytes, and no other length of them is
 * a command.  A name from outside is written exactly when it is a good
 * one. */
#include <string.h>

#include "common/base/name.h"
#include "fuzz/must.h"
#include "kms/state/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_write(const struct command *c, struct bytes want)
{
	struct buf b = { 0 };

	must(command_write(&b, c) == ERR_OK);
	must(b.len == want.len && memcmp(b.p, want.p, want.len) == 0);
	buf_fini(&b);
}

/* The first bytes as a name that need not end within its array. */
static void
check_name(const uint8_t *data, size_t size)
{
	struct command c = { .kind = COMMAND_MEMBER }, back;
	struct buf b = { 0 };
	size_t n = size < SLOT_MAX ? size : SLOT_MAX;

	if (n > 0)
		memcpy(c.u.member.slot, data, n);
	if (command_write(&b, &c) == ERR_OK) {
		must(name_ok(c.u.member.slot, SLOT_MAX));
		must(command_parse(&back, buf_view(&b)) == ERR_OK);
		must(strcmp(back.u.member.slot, c.u.member.slot) == 0);
	} else {
		must(!name_ok(c.u.member.slot, SLOT_MAX));
		must(b.len == 0);
	}
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct command c, other;

	check_name(data, size);
	if (command_parse(&c, in) != ERR_OK)
		return 0;
	must(size <= COMMAND_MAX);
	must(strcmp(command_kind_text(c.kind), "unknown") != 0);
	check_write(&c, in);
	for (size_t n = 0; n < size; n++)
		must(command_parse(&other, (struct bytes){ data, n }) ==
		    ERR_MALFORMED);
	return 0;
}
