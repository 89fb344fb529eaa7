/* fuzz_wiredump: wiredump_stream, wiredump_fuzz, wiredump_keys_read,
 * pcap_read, protodump: what `kmsctl wire dump` makes of any file.
 *
 * The first byte chooses: 0 a stream, 1 one that starts with a frame that is
 * sealed here over the rest, 2 a capture, 3 to 6 an input of a target, 7 keys,
 * 8 a message that carries keys.
 *
 * Every row is whole and has printable text alone, rows come in the order of
 * the file, what a capture holds is no more than the file, and 32 bytes of a
 * key are nowhere in the text. */
#include <string.h>

#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/wire/kms.pb-c.h"
#include "fuzz/must.h"
#include "kms/ctl/pcap.h"
#include "kms/ctl/protodump.h"
#include "kms/ctl/wiredump.h"
#include "node/channel/session_int.h"

#define SEALED_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[32] = { 3 };

static void
must_be_plain(const char *s, size_t len)
{
	must(strlen(s) == len);
	for (size_t i = 0; i < len; i++)
		must(s[i] >= 0x20 && s[i] < 0x7f);
}

static void
check_rows(const json_t *rows, size_t size)
{
	json_int_t last = -1;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const json_t *what = json_object_get(row, "what");
		json_int_t at = json_integer_value(json_object_get(row, "at"));

		must(json_is_string(json_object_get(row, "frame")));
		must(json_is_boolean(json_object_get(row, "bad")));
		must(json_is_boolean(json_object_get(row, "sealed")));
		must(at > last && (size_t)at <= size);
		last = at;
		must_be_plain(
		    json_string_value(what), json_string_length(what));
		must(json_string_length(what) < 2 * PROTODUMP_MAX);
		must((strchr(json_string_value(what), '!') != NULL) ||
		    !json_is_true(json_object_get(row, "bad")));
	}
}

/* A frame whose message is the input, and the input once more behind it. */
static void
sealed_stream(json_t *rows, struct bytes in)
{
	uint8_t k[1][32];
	const struct wiredump_keys keys = { .key = k, .n = 1 };
	size_t n = in.len < SEALED_MAX ? in.len : SEALED_MAX;
	struct noise_cipher c = { .n = 0 };
	struct buf b = { 0 };
	size_t len = DATA_MIN - 1 + n;

	memcpy(k[0], key, sizeof key);
	memcpy(c.k, key, sizeof key);
	must(buf_reserve(&b, FRAME_HEAD_LEN + len) == ERR_OK);
	memset(b.p, 0, FRAME_HEAD_LEN + len);
	frame_write(b.p, FRAME_DATA, (uint32_t)len);
	memcpy(b.p + FRAME_HEAD_LEN + COUNTER_LEN, in.p, n);
	must(
	    noise_seal(&c, b.p + FRAME_HEAD_LEN + COUNTER_LEN, n,
		(struct bytes){ b.p, FRAME_HEAD_LEN + COUNTER_LEN }) == ERR_OK);
	b.len = FRAME_HEAD_LEN + len;
	must(buf_append(&b, in.p, in.len, SIZE_MAX) == ERR_OK);
	must(wiredump_stream(rows, buf_view(&b), &keys) != ERR_NOMEM);
	must(json_array_size(rows) > 0);
	must(json_is_false(json_object_get(json_array_get(rows, 0), "sealed")));
	check_rows(rows, b.len);
	buf_fini(&b);
}

static void
capture(json_t *rows, struct bytes in)
{
	struct refusal why = { .code = REASON_NONE };
	struct pcap p = { 0 };
	size_t sum = 0;

	if (pcap_read(&p, in, &why) != ERR_OK) {
		must(p.flow == NULL && why.detail[0] != '\0');
		return;
	}
	must(pcap_is(in));
	must(p.n_flows <= PCAP_FLOWS_MAX && p.skipped <= p.packets);
	for (size_t i = 0; i < p.n_flows; i++) {
		const struct pcap_flow *f = &p.flow[i];

		sum += f->bytes.len;
		must(f->other == PCAP_NONE ||
		    (f->other < p.n_flows && f->other != i &&
			p.flow[f->other].other == i));
		must(f->n_marks == 0 ||
		    f->mark[f->n_marks - 1].end == f->bytes.len);
		(void)pcap_time(f, f->bytes.len);
		must(json_array_clear(rows) == 0);
		must(wiredump_stream(rows, buf_view(&f->bytes), NULL) !=
		    ERR_NOMEM);
		check_rows(rows, f->bytes.len);
	}
	must(sum <= in.len);
	pcap_fini(&p);
}

static void
read_keys(struct bytes in)
{
	struct wiredump_keys k = { 0 };

	if (wiredump_keys_read(&k, in) == ERR_OK)
		must(k.n <= WIREDUMP_KEYS_MAX && k.n * 64 <= in.len);
	else
		must(k.key == NULL);
	wiredump_keys_fini(&k);
}

/* The keys of an app are of one byte, which stands nowhere in the text; what
 * the input adds behind them may not bring them out. */
static void
secrets(struct bytes in)
{
	Devproof__Kms__V1__AppKeys k;
	uint8_t secret[32], packed[256];
	struct buf b = { 0 }, text = { 0 };
	size_t n;

	memset(secret, 0x5e, sizeof secret);
	devproof__kms__v1__app_keys__init(&k);
	k.k256_key.data = k.disk_crypt_key.data = k.env_crypt_key.data =
	    k.replica_key.data = secret;
	k.k256_key.len = k.disk_crypt_key.len = k.env_crypt_key.len =
	    k.replica_key.len = sizeof secret;
	n = devproof__kms__v1__app_keys__pack(&k, packed);
	must(buf_append(&b, packed, n, SIZE_MAX) == ERR_OK);
	for (size_t i = 0; i < in.len; i++)
		if (in.p[i] == 0x5e || in.p[i] == 0xe5)
			goto done;
	must(buf_append(&b, in.p, in.len, SIZE_MAX) == ERR_OK);
	must(protodump(&text, &devproof__kms__v1__app_keys__descriptor,
		 buf_view(&b)) != ERR_NOMEM);
	must(strstr((char *)text.p, "5e5e5e5e") == NULL);
	must(strstr((char *)text.p, "^^^^") == NULL);
	must_be_plain((char *)text.p, text.len);
done:
	buf_fini(&b);
	buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const target[] = { "channel_server", "channel_shake",
		"channel_transport", "msg" };
	static bool ready;
	struct bytes in = { data + 1, size - 1 };
	json_t *rows;

	if (size == 0)
		return 0;
	if (!ready)
		must(secret_process_init() == ERR_OK);
	ready = true;
	must((rows = json_array()) != NULL);
	switch (data[0] % 9) {
	case 0:
		must(wiredump_stream(rows, in, NULL) != ERR_NOMEM);
		check_rows(rows, in.len);
		break;
	case 1:
		if (in.len > 0)
			sealed_stream(rows, in);
		break;
	case 2:
		capture(rows, in);
		break;
	case 7:
		read_keys(in);
		break;
	case 8:
		secrets(in);
		break;
	default:
		must(wiredump_fuzz(rows, target[data[0] % 9 - 3], in) !=
		    ERR_NOMEM);
		check_rows(rows, in.len);
		break;
	}
	json_decref(rows);
	return 0;
}
