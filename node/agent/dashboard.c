#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"

#include "node/agent/containers.h"
#include "node/agent/dashboard.h"
#include "node/agent/info.h"
#include "node/agent/rpc.h"
#include "node/agent/sysinfo.h"

/* Of a payload: characters that are shown. */
#define PAYLOAD_SHOWN 400

static const char style[] =
    ":root{--bg:#f5f6f8;--card:#fff;--ink:#1d2433;--soft:#5b6577;"
    "--line:#e2e6ec;--mark:#0b6e4f;--warn:#8a4b00;--warnbg:#fff3df}"
    "@media(prefers-color-scheme:dark){:root{--bg:#12151b;--card:#1b2029;"
    "--ink:#e6e9ef;--soft:#9aa5b8;--line:#2c3340;--mark:#4fc79b;"
    "--warn:#ffc773;--warnbg:#3a2b12}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}"
    "main{max-width:1000px;margin:0 auto;padding:32px 20px 60px}"
    "h1{font-size:26px;margin:0;overflow-wrap:anywhere}"
    "h2{font-size:16px;margin:0 0 10px}"
    "p{margin:6px 0}.soft{color:var(--soft)}"
    "header{margin-bottom:22px}"
    "section{background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;padding:18px 20px;margin:0 0 18px}"
    ".tag{display:inline-block;font-size:12px;border:1px solid var(--mark);"
    "color:var(--mark);border-radius:20px;padding:1px 10px;margin-right:6px}"
    ".warn{border-color:var(--warn);color:var(--warn);"
    "background:var(--warnbg)}"
    "table{width:100%;border-collapse:collapse}"
    "th,td{text-align:left;vertical-align:top;padding:5px 14px 5px 0;"
    "border-top:1px solid var(--line)}"
    "tr:first-child th,tr:first-child td{border-top:0}"
    "th{font-weight:500;color:var(--soft);width:150px}"
    "thead th{font-size:12px}thead th+th{width:auto}"
    "code,textarea{font:12.5px/1.5 ui-monospace,'SFMono-Regular',Menlo,"
    "Consolas,monospace;overflow-wrap:anywhere}"
    "textarea{width:100%;height:340px;border:1px solid var(--line);"
    "border-radius:6px;padding:10px;background:var(--bg);color:var(--ink);"
    "resize:vertical}"
    "a{color:var(--mark)}";

/* ---- Writing: appends until something fails, asked once at the end. ---- */

struct page {
	struct buf *b;
	enum err e;
};

static void
put(struct page *p, const char *html)
{
	if (p->e == ERR_OK)
		p->e = buf_append(p->b, html, strlen(html), SIZE_MAX);
}

/* Text from anywhere, as text. */
static void
text(struct page *p, const char *s)
{
	for (; *s != '\0' && p->e == ERR_OK; s++) {
		const char *as = NULL;

		switch (*s) {
		case '&':
			as = "&amp;";
			break;
		case '<':
			as = "&lt;";
			break;
		case '>':
			as = "&gt;";
			break;
		case '"':
			as = "&quot;";
			break;
		case '\'':
			as = "&#39;";
			break;
		}
		if (as != NULL)
			put(p, as);
		else
			p->e = buf_append(p->b, s, 1, SIZE_MAX);
	}
}

__attribute__((format(printf, 2, 3))) static void
textf(struct page *p, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	text(p, line);
}

static void
row(struct page *p, const char *name, const char *value)
{
	put(p, "<tr><th scope=\"row\">");
	text(p, name);
	put(p, "</th><td>");
	text(p, value);
	put(p, "</td></tr>\n");
}

static void
row_address(struct page *p, const char *name, const uint8_t v[static 20])
{
	char hex[41];

	put(p, "<tr><th scope=\"row\">");
	text(p, name);
	put(p, "</th><td><code>0x");
	text(p, hex_encode(hex, v, 20));
	put(p, "</code></td></tr>\n");
}

static void
row_hex(struct page *p, const char *name, const uint8_t *v, size_t len)
{
	char hex[2 * 64 + 1];

	put(p, "<tr><th scope=\"row\">");
	text(p, name);
	put(p, "</th><td><code>");
	text(p, len > 0 ? hex_encode(hex, v, len) : "none");
	put(p, "</code></td></tr>\n");
}

static void
open_section(struct page *p, const char *title)
{
	put(p, "<section>\n<h2>");
	text(p, title);
	put(p, "</h2>\n");
}

/* ---- Sections ---- */

static void
head(struct page *p, const struct agent_backend *b)
{
	const char *name = b->identity->name;

	put(p,
	    "<!doctype html>\n<html lang=\"en\">\n<head>\n"
	    "<meta charset=\"utf-8\">\n"
	    "<meta name=\"viewport\" content=\"width=device-width,"
	    "initial-scale=1\">\n"
	    "<link rel=\"icon\" href=\"data:,\">\n<title>");
	text(p, name[0] != '\0' ? name : "Confidential app");
	put(p, "</title>\n<style>");
	put(p, style);
	put(p, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>");
	text(p, name[0] != '\0' ? name : "Confidential app");
	put(p, "</h1>\n<p><span class=\"tag\">Intel TDX</span>");
	if (b->simulated)
		put(p,
		    "<span class=\"tag warn\">simulated: protects "
		    "nothing</span>");
	put(p,
	    "</p>\n<p class=\"soft\">This app runs in a confidential VM and "
	    "gets its keys from a key management service. The page is what "
	    "the VM says of itself; the proof is a quote, which the app gives "
	    "on request and anyone can verify.</p>\n</header>\n");
}

static void
app_section(struct page *p, const struct agent_backend *b, const struct info *i)
{
	const struct app_identity *id = b->identity;

	open_section(p, "App");
	put(p, "<table>\n");
	row(p, "Name", id->name);
	row_address(p, "App ID", id->app_id);
	row_hex(
	    p, "Instance ID", id->instance_id, id->has_instance_id ? 20 : 0);
	row_hex(p, "Compose hash", id->compose_hash, 32);
	row_hex(p, "OS image hash", b->os_image_hash, 32);
	row_hex(p, "Device ID", i->device_id, 32);
	if (i->cloud_vendor[0] != '\0' || i->cloud_product[0] != '\0') {
		put(p, "<tr><th scope=\"row\">Platform</th><td>");
		text(p, i->cloud_vendor);
		put(p, " ");
		text(p, i->cloud_product);
		put(p, "</td></tr>\n");
	}
	put(p, "</table>\n</section>\n");
}

static void
kms_section(struct page *p, const struct agent_backend *b)
{
	struct heldkeys_pin pin;
	char n[24];

	b->pin(b->cookie, &pin);
	open_section(p, "Key management");
	put(p, "<table>\n");
	(void)snprintf(n, sizeof n, "%" PRIu64, b->chain_id);
	row(p, "Chain ID", n);
	row_address(p, "KMS contract", b->kms_contract);
	(void)snprintf(n, sizeof n, "%" PRIu64, pin.epoch);
	row(p, "Key epoch", n);
	if (pin.has_registry)
		row_address(p, "Registry of roots", pin.registry);
	put(p, "</table>\n</section>\n");
}

static void
measured_section(struct page *p, const struct info *i)
{
	static const char *const name[] = { "RTMR0", "RTMR1", "RTMR2",
		"RTMR3" };

	open_section(p, "Measurements");
	put(p, "<table>\n");
	row_hex(p, "MRTD", i->m.mrtd, 48);
	for (size_t k = 0; k < 4; k++)
		row_hex(p, name[k], i->m.rtmr[k], 48);
	row_hex(p, "Aggregated", i->m.mr_aggregated, 32);
	put(p, "</table>\n</section>\n");
}

/* A payload in hex: as text if that is what it is, and cut. */
static void
payload(struct page *p, const char *hex)
{
	char shown[PAYLOAD_SHOWN + 1];
	size_t n = 0, len = strlen(hex) / 2;
	bool readable = len > 0;

	for (size_t i = 0; readable && i < len && n < PAYLOAD_SHOWN; i++) {
		uint8_t c = 0;
		size_t one;

		readable = hex_decode(&c, 1, &one, hex + 2 * i, 2) == ERR_OK &&
		    c >= 0x20 && c < 0x7f;
		shown[n++] = (char)c;
	}
	if (!readable)
		n = (size_t)snprintf(
		    shown, sizeof shown, "%.*s", PAYLOAD_SHOWN, hex);
	shown[n < PAYLOAD_SHOWN ? n : PAYLOAD_SHOWN] = '\0';
	text(p, shown);
	if ((readable ? len : 2 * len) > PAYLOAD_SHOWN)
		textf(p, "\xe2\x80\xa6 (%zu bytes)", len);
}

/* Runtime events: what the VM measured of the app, readable where it is. */
static void
events_section(struct page *p, const struct info *i)
{
	json_t *log = info_event_log(&i->m.event_log), *ev;
	size_t k;

	open_section(p, "Measured events (RTMR3)");
	put(p,
	    "<table>\n<thead><tr><th scope=\"col\">Event</th>"
	    "<th scope=\"col\">Payload</th></tr></thead>\n");
	json_array_foreach(log, k, ev)
	{
		const char *name = "", *value = "";
		uint64_t imr = 0;

		if (json_get_u64(&imr, ev, "imr") != ERR_OK || imr != 3 ||
		    json_get_str(&name, ev, "event") != ERR_OK ||
		    json_get_str(&value, ev, "event_payload") != ERR_OK)
			continue;
		put(p, "<tr><th scope=\"row\">");
		text(p, name);
		put(p, "</th><td><code>");
		payload(p, value);
		put(p, "</code></td></tr>\n");
	}
	json_decref(log);
	put(p, "</table>\n</section>\n");
}

static void
row_bytes(struct page *p, const char *name, uint64_t used, uint64_t total)
{
	const double gib = 1024.0 * 1024 * 1024;

	put(p, "<tr><th scope=\"row\">");
	text(p, name);
	put(p, "</th><td>");
	textf(p, "%.1f of %.1f GiB used", (double)used / gib,
	    (double)total / gib);
	put(p, "</td></tr>\n");
}

static void
system_section(struct page *p)
{
	struct sysinfo_facts f;
	char n[64];

	sysinfo_read(&f);
	open_section(p, "System");
	put(p, "<table>\n<tr><th scope=\"row\">OS</th><td>");
	textf(p, "%s %s, Linux %s", f.os_name, f.os_version, f.kernel);
	put(p, "</td></tr>\n<tr><th scope=\"row\">CPU</th><td>");
	textf(p, "%" PRIu64 " \xc3\x97 %s", f.n_cpus, f.cpu_model);
	put(p, "</td></tr>\n");
	row_bytes(p, "Memory", f.mem_total - f.mem_available, f.mem_total);
	if (f.swap_total > 0)
		row_bytes(p, "Swap", f.swap_total - f.swap_free, f.swap_total);
	for (size_t i = 0; i < f.n_disks; i++)
		row_bytes(p, f.disk[i].mount_point,
		    f.disk[i].total - f.disk[i].free, f.disk[i].total);
	(void)snprintf(
	    n, sizeof n, "%.2f, %.2f, %.2f", f.load[0], f.load[1], f.load[2]);
	row(p, "Load", n);
	(void)snprintf(n, sizeof n,
	    "%" PRIu64 " d %" PRIu64 " h %" PRIu64 " min", f.uptime_s / 86400,
	    f.uptime_s / 3600 % 24, f.uptime_s / 60 % 60);
	row(p, "Up", n);
	put(p,
	    "</table>\n<p class=\"soft\">For machines: "
	    "<a href=\"/metrics\">/metrics</a></p>\n</section>\n");
}

/* A name in an URL: what is no letter, digit or "-._" becomes %XX. */
static void
put_url(struct page *p, const char *s)
{
	char out[4];

	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || strchr("-._", c) != NULL;

		(void)snprintf(out, sizeof out, plain ? "%c" : "%%%02X", c);
		put(p, out);
	}
}

static void
containers_section(struct page *p, const char *dir)
{
	struct container_list *all = NULL;

	if (containers_list(&all, dir) != ERR_OK)
		return;
	open_section(p, "Containers");
	put(p,
	    "<table>\n<thead><tr><th scope=\"col\">Name</th>"
	    "<th scope=\"col\">State</th><th scope=\"col\">Image</th>"
	    "<th scope=\"col\">Log</th></tr></thead>\n");
	for (size_t i = 0; i < all->n; i++) {
		const struct container *k = &all->item[i];

		put(p, "<tr><th scope=\"row\">");
		text(p, k->name);
		put(p, "</th><td>");
		textf(p, "%s%s%s", k->state, k->health[0] != '\0' ? ", " : "",
		    k->health);
		put(p, "</td><td><code>");
		text(p, k->image);
		put(p, "</code></td><td><a href=\"/logs/");
		put_url(p, k->name);
		put(p,
		    "?text=true&amp;bare=true&amp;timestamps=true&amp;"
		    "tail=200\">read</a></td></tr>\n");
	}
	put(p, "</table>\n</section>\n");
	containers_free(all);
}

/* The tutorials' tools look for tcb_info in the page's only textarea. */
static enum err
tcb_section(struct page *p, const struct agent_backend *b, const struct info *i)
{
	struct buf tcb = { 0 };
	enum err e = ERR_OK;

	if (b->identity->public_tcbinfo)
		e = info_tcb(&tcb, b, i);
	if (e != ERR_OK)
		goto done;
	open_section(p, "tcb_info");
	put(p,
	    b->identity->public_tcbinfo
		? "<p class=\"soft\">Measurements, event log and app-compose "
		  "as "
		  "JSON. The compose hash above is the SHA-256 of the member "
		  "<code>app_compose</code>.</p>\n"
		: "<p class=\"soft\">This app does not publish it "
		  "(<code>public_tcbinfo</code> is false).</p>\n");
	put(p,
	    "<textarea readonly spellcheck=\"false\" aria-label=\"tcb_info\">");
	/* A line feed right after the tag would be dropped by a browser. */
	text(p, rpc_text(&tcb));
	put(p, "</textarea>\n</section>\n");
done:
	buf_fini(&tcb);
	return e;
}

/* The style's own hash stands in the policy: nothing else applies. */
static char policy[256];

static void
write_policy(void)
{
	uint8_t h[32];
	char b64[64];

	sha256(h, style, sizeof style - 1);
	(void)sodium_bin2base64(
	    b64, sizeof b64, h, sizeof h, sodium_base64_VARIANT_ORIGINAL);
	(void)snprintf(policy, sizeof policy,
	    "default-src 'none'; style-src 'sha256-%s'; img-src data:; "
	    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	    b64);
}

const char *
dashboard_policy(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, write_policy);
	return policy;
}

enum err
dashboard_write(
    struct buf *out, const struct agent_backend *b, struct refusal *why)
{
	const struct app_identity *id = b->identity;
	struct info i = { .m = { .event_log = { 0 } } };
	struct page p = { .b = out };
	enum err e = info_gather(&i, b, why);

	if (e != ERR_OK)
		return e;
	head(&p, b);
	app_section(&p, b, &i);
	kms_section(&p, b);
	if (id->public_tcbinfo) {
		measured_section(&p, &i);
		events_section(&p, &i);
	}
	if (id->public_sysinfo)
		system_section(&p);
	if (id->public_logs && b->logs_dir != NULL)
		containers_section(&p, b->logs_dir);
	e = tcb_section(&p, b, &i);
	put(&p,
	    "<p class=\"soft\">devproof-kms</p>\n</main>\n</body>\n</html>\n");
	info_fini(&i);
	return e != ERR_OK ? e : p.e;
}
