/* fuzz_pages: pages_check, and LMDB behind it.
 *
 * A file that passes can be walked, written to and emptied: LMDB may return
 * errors, but neither reads out of bounds nor ends the process. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "common/base/file.h"
#include "fuzz/must.h"
#include "fuzz/scratch.h"
#include "node/store/pages.h"

#define SIZE_LIMIT (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[SCRATCH_MAX], path[128];
static volatile uint8_t sink;

static void
clean_up(void)
{
	(void)remove(path);
	(void)remove(dir);
}

static void
set_up(void)
{
	scratch_dir(dir, "pages");
	must(file_join(path, sizeof path, dir, "data.mdb") == ERR_OK);
	(void)atexit(clean_up);
}

static int
walk(MDB_txn *txn, MDB_dbi dbi, bool del)
{
	MDB_cursor *c;
	MDB_val k = { 0 }, v = { 0 };
	uint8_t sum = 0;
	int rc = mdb_cursor_open(txn, dbi, &c);

	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		for (size_t i = 0; i < v.mv_size; i++)
			sum ^= ((const uint8_t *)v.mv_data)[i];
		if (del && (rc = mdb_cursor_del(c, 0)) != 0)
			break;
	}
	sink = sum;
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
put_some(MDB_txn *txn, MDB_dbi dbi)
{
	static uint8_t big[6000];
	int rc = 0;

	for (uint8_t i = 0; i < 40 && rc == 0; i++) {
		uint8_t name[2] = { (uint8_t)(i * 7), i };
		MDB_val k = { 2, name };
		MDB_val v = { i % 8 == 0 ? sizeof big : i * 20u, big };

		rc = mdb_put(txn, dbi, &k, &v, 0);
	}
	return rc;
}

static void
use(MDB_env *env)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	if (mdb_env_set_mapsize(env, SIZE_LIMIT) != 0 ||
	    mdb_env_open(env, dir, MDB_NOSYNC | MDB_NOLOCK, 0600) != 0)
		return;
	for (unsigned round = 0; round < 4; round++) {
		if (mdb_txn_begin(env, NULL, 0, &txn) != 0)
			return;
		if ((rc = mdb_dbi_open(txn, NULL, 0, &dbi)) == 0)
			rc = walk(txn, dbi, round == 2);
		if (rc == 0 && round != 2)
			rc = put_some(txn, dbi);
		if (rc == 0)
			(void)mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MDB_env *env;
	FILE *f;

	if (dir[0] == 0)
		set_up();
	must((f = fopen(path, "wb")) != NULL);
	must(fwrite(data, 1, size, f) == size && fclose(f) == 0);
	if (pages_check(path, SIZE_LIMIT) != ERR_OK)
		return 0;
	must(mdb_env_create(&env) == 0);
	use(env);
	mdb_env_close(env);
	return 0;
}
