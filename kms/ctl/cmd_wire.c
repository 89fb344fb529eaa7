/* kmsctl wire dump: the attested channel's frames, out of a capture, a stream
 * or an input of a fuzz target. */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/pcap.h"
#include "kms/ctl/wiredump.h"

#define FILE_MAX (64u << 20)
#define KEYS_FILE_MAX (1u << 20)

/* Everything that one dump needs; all owned. */
struct dump {
	struct buf file, keys_text;
	struct wiredump_keys keys;
	struct pcap pcap;
	json_t *rows, *result;
};

/* A row of a capture and when it came. */
struct timed {
	json_t *row; /* borrows */
	uint64_t us;
	size_t order;
};

static int
by_time(const void *a, const void *b)
{
	const struct timed *x = a, *y = b;

	if (x->us != y->us)
		return x->us < y->us ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

/* What stands in front of a row of a capture. */
static enum err
place_row(json_t **out, const json_t *row, size_t conn,
    const struct pcap_flow *f, uint64_t us)
{
	json_t *o = json_pack("{s:I, s:f, s:s}", "conn", (json_int_t)conn, "ms",
	    (double)us / 1000, "from", f->from);

	if (o == NULL || json_object_update(o, (json_t *)(uintptr_t)row) != 0) {
		json_decref(o);
		return ERR_NOMEM;
	}
	*out = o;
	return ERR_OK;
}

/* One direction; `*broken` once it is not of this protocol. */
static enum err
dump_flow(struct dump *d, json_t *all, size_t conn, const struct pcap_flow *f)
{
	json_t *rows = json_array(), *row, *placed;
	size_t i;
	enum err e = rows == NULL
	    ? ERR_NOMEM
	    : wiredump_stream(rows, buf_view(&f->bytes), &d->keys);

	if (e == ERR_MALFORMED)
		e = ERR_OK; /* a row says so */
	if (e == ERR_OK && f->lost > 0) {
		row = json_pack("{s:I, s:s, s:I, s:s, s:b, s:b}", "at",
		    (json_int_t)f->bytes.len, "frame", "-", "length",
		    (json_int_t)f->lost, "what",
		    "!not captured; what follows cannot be read", "sealed", 0,
		    "bad", 1);
		if (row == NULL || json_array_append_new(rows, row) != 0)
			e = ERR_NOMEM;
	}
	if (e == ERR_OK)
		json_array_foreach(rows, i, row)
		{
			uint64_t at = 0, length = 0;

			(void)!json_get_u64(&at, row, "at");
			(void)!json_get_u64(&length, row, "length");
			e = place_row(&placed, row, conn, f,
			    pcap_time(f, (size_t)at + 8 + (size_t)length));
			if (e == ERR_OK &&
			    json_array_append_new(all, placed) != 0)
				e = ERR_NOMEM;
			if (e != ERR_OK)
				break;
		}
	json_decref(rows);
	return e;
}

/* Both directions in the order in which their frames were whole. */
static enum err
sort_rows(json_t *to, const json_t *rows)
{
	size_t n = json_array_size(rows), i;
	struct timed *t = calloc(n + 1, sizeof *t);
	enum err e = ERR_OK;
	json_t *row;

	if (t == NULL)
		return ERR_NOMEM;
	json_array_foreach(rows, i, row) t[i] = (struct timed){ row,
		(uint64_t)(json_real_value(json_object_get(row, "ms")) * 1000 +
		    0.5),
		i };
	qsort(t, n, sizeof *t, by_time);
	for (i = 0; e == ERR_OK && i < n; i++)
		if (json_array_append(to, t[i].row) != 0)
			e = ERR_NOMEM;
	free(t);
	return e;
}

static bool
is_channel(const struct pcap_flow *f)
{
	return f->bytes.len >= 2 && memcmp(f->bytes.p, "DK", 2) == 0;
}

/* Connections of which one side at least speaks the protocol. */
static enum err
dump_pcap(struct dump *d, uint64_t port)
{
	size_t conn = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < d->pcap.n_flows; i++) {
		const struct pcap_flow *f = &d->pcap.flow[i], *back = NULL;
		json_t *both;

		if (f->other != PCAP_NONE && f->other < i)
			continue; /* was told with the other */
		if (f->other != PCAP_NONE)
			back = &d->pcap.flow[f->other];
		if (port != 0
			? f->port[0] != port && f->port[1] != port
			: !is_channel(f) && (back == NULL || !is_channel(back)))
			continue;
		conn++;
		if ((both = json_array()) == NULL)
			return ERR_NOMEM;
		e = dump_flow(d, both, conn, f);
		if (e == ERR_OK && back != NULL)
			e = dump_flow(d, both, conn, back);
		if (e == ERR_OK)
			e = sort_rows(d->rows, both);
		json_decref(both);
	}
	return e;
}

static enum ctl_exit
dump_file(struct ctl *c, struct dump *d, const char *path, const struct args *a)
{
	const char *target = args_get(a, "fuzz"), *port = args_get(a, "port");
	struct refusal why = { .code = REASON_NONE };
	struct bytes in = buf_view(&d->file);
	const char *form = "stream";
	uint64_t number = 0;
	enum err e;

	if (port != NULL && args_u64(&number, port, 65535) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--port: a number up to 65535");
	if (target != NULL) {
		form = "fuzz";
		e = wiredump_fuzz(d->rows, target, in);
		if (e == ERR_NOTFOUND)
			return ctl_fail(c, CTL_USAGE,
			    "--fuzz: channel_server, channel_shake, "
			    "channel_transport or msg");
	} else if (pcap_is(in)) {
		form = "pcap";
		e = pcap_read(&d->pcap, in, &why);
		if (e != ERR_OK && e != ERR_NOMEM)
			return ctl_fail(
			    c, CTL_USAGE, "%.200s: %s", path, why.detail);
		if (e == ERR_OK)
			e = dump_pcap(d, number);
	} else {
		e = wiredump_stream(d->rows, in, &d->keys);
	}
	if (e == ERR_MALFORMED)
		e = ERR_OK; /* the last row says so */
	if (e == ERR_OK)
		e = json_set_str(d->result, "form", form);
	if (e == ERR_OK && strcmp(form, "pcap") == 0) {
		e = json_set_u64(d->result, "packets", d->pcap.packets);
		if (e == ERR_OK)
			e = json_set_u64(d->result, "skipped", d->pcap.skipped);
	}
	return e == ERR_OK ? CTL_OK
			   : ctl_fail(c, CTL_FAILED, "%s", err_text(e));
}

static enum ctl_exit
read_files(struct ctl *c, struct dump *d, const char *path, const char *keys)
{
	enum err e = file_read(&d->file, path, FILE_MAX);

	if (e != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%.200s: %s", path, err_text(e));
	if (keys == NULL)
		return CTL_OK;
	e = file_read(&d->keys_text, keys, KEYS_FILE_MAX);
	if (e == ERR_OK)
		e = wiredump_keys_read(&d->keys, buf_view(&d->keys_text));
	if (e != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%.200s: %s", keys, err_text(e));
	return CTL_OK;
}

/* One line a frame, what it says at its end. */
static void
print_rows(FILE *out, const json_t *result, const json_t *rows)
{
	const json_t *row;
	size_t i;

	if (json_object_get(result, "packets") != NULL)
		(void)fprintf(out, "%lld packets, %lld skipped\n",
		    (long long)json_integer_value(
			json_object_get(result, "packets")),
		    (long long)json_integer_value(
			json_object_get(result, "skipped")));
	json_array_foreach(rows, i, row)
	{
		const json_t *conn = json_object_get(row, "conn");

		if (conn != NULL)
			(void)fprintf(out, "#%lld %10.3f ms  %-21s ",
			    (long long)json_integer_value(conn),
			    json_real_value(json_object_get(row, "ms")),
			    json_string_value(json_object_get(row, "from")));
		(void)fprintf(out, "@%-7lld %-7s %7lld  %s\n",
		    (long long)json_integer_value(json_object_get(row, "at")),
		    json_string_value(json_object_get(row, "frame")),
		    (long long)json_integer_value(
			json_object_get(row, "length")),
		    json_string_value(json_object_get(row, "what")));
	}
}

static enum ctl_exit
run_dump(struct ctl *c, const struct args *a)
{
	struct dump d = { .rows = json_array(), .result = json_object() };
	enum ctl_exit rc = CTL_FAILED;
	const json_t *row;
	size_t i;

	if (d.rows == NULL || d.result == NULL)
		rc = ctl_fail(c, CTL_FAILED, "out of memory");
	else
		rc = read_files(c, &d, a->pos[0], args_get(a, "keys"));
	if (rc == CTL_OK)
		rc = dump_file(c, &d, a->pos[0], a);
	if (rc == CTL_OK) {
		json_array_foreach(d.rows, i,
		    row) if (json_is_true(json_object_get(row, "bad"))) rc =
		    CTL_FAILED;
		if (!c->json) {
			print_rows(c->out, d.result, d.rows);
		} else {
			/* Both are taken. */
			if (json_set_new(d.result, "frames", d.rows) != ERR_OK)
				rc = CTL_FAILED;
			rc = ctl_result(c, d.result, rc);
			d.rows = d.result = NULL;
		}
	}
	json_decref(d.rows);
	json_decref(d.result);
	pcap_fini(&d.pcap);
	wiredump_keys_fini(&d.keys);
	buf_wipe(&d.keys_text);
	buf_wipe(&d.file);
	return rc;
}

static const struct args_option options[] = {
	{ "keys", "FILE", "lines \"channel_key HEX\", as kmsd-disclose has" },
	{ "fuzz", "TARGET", "the file is an input of this fuzz target" },
	{ "port", "N", "of a capture: whatever is said on this port" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_wire[] = {
	{ "wire dump", "FILE",
	    "a capture of the attested channel, frame by frame", options, 1, 1,
	    run_dump },
	{ .name = NULL },
};
