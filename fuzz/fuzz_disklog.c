/* fuzz_disklog: diskform_meta_read, diskform_entry_read, diskform_head_read,
 * diskform_clear_read, seal_open.
 *
 * The first byte chooses.  What is read is written back as the same bytes;
 * no sealed record opens that the key's holder did not make. */
#include <string.h>

#include "common/base/secret.h"
#include "common/base/wr.h"
#include "fuzz/must.h"
#include "kms/cluster/diskform.h"
#include "node/store/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_meta(struct bytes in)
{
	uint8_t out[DISKFORM_META_LEN];
	struct wr w = { .p = out, .cap = sizeof out };
	struct diskform_meta m;

	if (diskform_meta_read(&m, in) != ERR_OK)
		return;
	must(m.first - 1 <= m.last && m.snapshot <= m.last);
	diskform_meta_write(&w, &m);
	must(wr_ok(&w) && w.len == in.len && memcmp(out, in.p, w.len) == 0);
}

static void
try_entry(struct bytes in)
{
	uint8_t clear[DISKFORM_CLEAR_LEN], value[DISKFORM_ENTRY_MAX];
	struct wr c = { .p = clear, .cap = sizeof clear };
	struct wr v = { .p = value, .cap = sizeof value };
	size_t n = in.len < 40 ? in.len : 40;
	struct engine_entry e;

	if (diskform_entry_read(&e, 7, (struct bytes){ in.p, n },
		(struct bytes){ in.p + n, in.len - n }) != ERR_OK)
		return;
	must(e.index == 7 && e.data.len <= ENGINE_ENTRY_MAX);
	diskform_entry_write(&c, &v, &e, in.p + 8);
	must(wr_ok(&c) && c.len == n && memcmp(clear, in.p, n) == 0);
	must(wr_ok(&v) && v.len == in.len - n &&
	    memcmp(value, in.p + n, v.len) == 0);
}

static void
try_head(struct bytes in)
{
	struct diskform_head h;

	if (diskform_head_read(&h, in) == ERR_OK)
		must(h.snapshot.index != 0 && h.snapshot.config.n != 0 &&
		    h.len <= DISKFORM_SNAPSHOT_MAX);
}

static void
try_clear(struct bytes in)
{
	uint8_t out[DISKFORM_CLEAR_LEN];
	struct wr w = { .p = out, .cap = sizeof out };
	struct engine_snapshot s = { .index = 1, .term = 1 };

	if (diskform_clear_read(&s, in) != ERR_OK)
		return;
	diskform_clear_write(&w, &s, in.p + 16);
	must(wr_ok(&w) && w.len == in.len && memcmp(out, in.p, w.len) == 0);
}

static void
try_sealed(struct bytes in)
{
	static const uint8_t key[32] = { 1 }, cluster[32] = { 2 };
	static struct seal s;
	struct bytes clear = { 0 };
	struct buf out = { 0 };

	if (s.key == NULL)
		must(secret_process_init() == ERR_OK &&
		    seal_init(&s, key, cluster, "kms0") == ERR_OK);
	must(seal_open(&s, &out, &clear, BYTES_STR("\x04index"), in) ==
	    ERR_CORRUPT);
	must(clear.p == NULL);
	buf_wipe(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data + 1, size - 1 };

	if (size == 0)
		return 0;
	switch (data[0] % 5) {
	case 0:
		try_meta(in);
		break;
	case 1:
		try_entry(in);
		break;
	case 2:
		try_head(in);
		break;
	case 3:
		try_clear(in);
		break;
	case 4:
		try_sealed(in);
		break;
	}
	return 0;
}
