/* flood DIR APP NODE SOURCE RATE SECONDS [KINDS]: one hostile source. From the
 * address SOURCE (127.0.0.66; 127.0.1.0+200: from so many, in turn) it begins RATE connections a second to the
 * NODE'th node of a simulated cluster, and means none of them; tests/bench and
 * tests/e2e run it beside honest work.  KINDS, joined by commas (all of them):
 *
 *   hello     HELLO without a cookie, closed at the first answer
 *   cookie    HELLO with a false cookie
 *   garbage   64 random bytes
 *   silent    nothing
 *   half      HELLO, and RETRY is answered; then nothing
 *   evidence  an honest Noise handshake, then evidence that is none
 *
 * What waits is given up after HOLD_MS, so that its place is taken again.
 * Prints
 *   {"seconds", "begun", "per_second", "connected", "failed": no connection,
 *    "answered": said anything, "finished": handshakes, "cut": by the node,
 *    "held": given up, "most": at once, "cpu_s"} */
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/agent/config.h"
#include "node/channel/frame.h"
#include "node/channel/noise.h"
#include "node/channel/session.h"

#define HOLD_MS 400
#define MOST 4096 /* connections at once */
#define HELLO_LEN 73
#define QUOTE_LEN 5000

enum kind { HELLO, COOKIE, GARBAGE, SILENT, HALF, EVIDENCE, KINDS };
static const char *const kind_names[KINDS] = { "hello", "cookie", "garbage",
	"silent", "half", "evidence" };

/* A dialler's side of one handshake; made before it is needed, and used again
 * if the node did not answer its HELLO. */
struct shake {
	struct shake *next;
	uint8_t s[32], s_pub[32];
	struct session *session; /* owns */
	uint8_t hello[HELLO_LEN];
};

struct
try {
	struct try *newer; /* begun behind it */
	int fd; /* owns; -1: over */
	enum kind kind;
	uint64_t began_ms;
	bool connected, answered;
	struct shake *shake; /* owns, or NULL */
};

struct flood {
	struct session_options dial;
	struct sockaddr_in to, from;
	unsigned sources;
	enum kind kind[KINDS];
	unsigned n_kinds;
	int epoll;
	struct shake *spare;
	uint8_t hello[HELLO_LEN], quote[QUOTE_LEN];
	struct try *oldest, *newest;
	unsigned now_open, most;
	uint64_t begun, connected, failed, answered, finished, cut, held;
};

static _Noreturn void
die(const char *what)
{
	(void)fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- handshakes ---- */

static struct shake *
shake_new(struct flood *f)
{
	struct session_options o = f->dial;
	struct shake *k = calloc(1, sizeof *k);
	struct buf out = { 0 };

	if (k == NULL)
		die("memory");
	secret_random(k->s, sizeof k->s);
	noise_public(k->s_pub, k->s);
	o.s = k->s;
	o.s_pub = k->s_pub;
	if (session_new(&k->session, &out, &o, clock_mono_ms()) != ERR_OK ||
	    out.len != HELLO_LEN)
		die("session");
	memcpy(k->hello, out.p, HELLO_LEN);
	buf_fini(&out);
	return k;
}

static void
shake_free(struct shake *k)
{
	if (k == NULL)
		return;
	session_free(k->session);
	free(k);
}

static struct shake *
shake_take(struct flood *f)
{
	struct shake *k = f->spare;

	if (k == NULL)
		return shake_new(f);
	f->spare = k->next;
	return k;
}

/* ---- one connection ---- */

static void
say(struct try *t, const void *p, size_t n)
{
	(void)send(t->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* With a reset: no port of ours waits afterwards. */
static void
end(struct flood *f, struct try *t)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	(void)close(t->fd);
	t->fd = -1;
	f->now_open--;
	if (t->shake == NULL)
		return;
	if (t->answered) {
		shake_free(t->shake);
	} else {
		t->shake->next = f->spare;
		f->spare = t->shake;
	}
	t->shake = NULL;
}

static void
begin(struct flood *f)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct try *t = calloc(1, sizeof *t);
	struct sockaddr_in from = f->from;
	const int on = 1;

	if (t == NULL)
		die("memory");
	f->begun++;
	t->kind = f->kind[f->begun % f->n_kinds];
	t->began_ms = clock_mono_ms();
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ev.data.ptr = t;
	from.sin_addr.s_addr = htonl(ntohl(from.sin_addr.s_addr) +
	    (uint32_t)(f->begun / f->n_kinds % f->sources));
	if (t->fd < 0 ||
	    setsockopt(t->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
		sizeof on) != 0 ||
	    bind(t->fd, (const struct sockaddr *)&from, sizeof from) != 0 ||
	    (connect(t->fd, (const struct sockaddr *)&f->to, sizeof f->to) !=
		    0 &&
		errno != EINPROGRESS) ||
	    epoll_ctl(f->epoll, EPOLL_CTL_ADD, t->fd, &ev) != 0) {
		if (t->fd >= 0)
			(void)close(t->fd);
		free(t);
		f->failed++;
		return;
	}
	*(f->newest != NULL ? &f->newest->newer : &f->oldest) = t;
	f->newest = t;
	if (++f->now_open > f->most)
		f->most = f->now_open;
}

static void
on_connected(struct flood *f, struct try *t)
{
	uint8_t out[HELLO_LEN];

	t->connected = true;
	f->connected++;
	switch (t->kind) {
	case HELLO:
		say(t, f->hello, sizeof f->hello);
		return;
	case COOKIE:
		memcpy(out, f->hello, sizeof out);
		secret_random(out + FRAME_HEAD_LEN + 1, 32);
		say(t, out, sizeof out);
		return;
	case GARBAGE:
		secret_random(out, 64);
		say(t, out, 64);
		return;
	case SILENT:
		return;
	case HALF:
	case EVIDENCE:
		t->shake = shake_take(f);
		say(t, t->shake->hello, HELLO_LEN);
		return;
	case KINDS:
		return;
	}
}

/* Evidence that is none: the node has to parse it, at least. */
static void
show(struct flood *f, struct try *t, struct buf *out)
{
	struct evidence e = { .tee = TEE_TDX };
	struct session_event ev;
	struct refusal why;

	f->finished++;
	if (buf_append(&e.quote, f->quote, sizeof f->quote, SIZE_MAX) !=
		ERR_OK ||
	    buf_append(&e.event_log, "[]", 2, SIZE_MAX) != ERR_OK ||
	    buf_append(&e.vm_config, "{}", 2, SIZE_MAX) != ERR_OK ||
	    session_proved(t->shake->session, &ev, out, &e, clock_mono_ms(),
		&why) != ERR_OK)
		die("evidence");
	evidence_fini(&e);
}

static void
on_answer(struct flood *f, struct try *t, struct bytes in)
{
	struct buf out = { 0 };
	struct session_event ev;
	struct refusal why;

	if (!t->answered)
		f->answered++;
	t->answered = true;
	if (t->shake == NULL) {
		end(f, t); /* it has cost the node what it could */
		return;
	}
	while (in.len > 0 &&
	    session_feed(t->shake->session, &ev, &out, &in, clock_mono_ms(),
		&why) == ERR_OK) {
		if (ev.kind != SESSION_PROVE)
			continue;
		if (t->kind == HALF) {
			out.len = 0; /* no FINISH */
			break;
		}
		show(f, t, &out);
	}
	if (out.len > 0)
		say(t, out.p, out.len);
	buf_fini(&out);
}

static void
on_event(struct flood *f, struct try *t, uint32_t events)
{
	uint8_t in[4096];
	ssize_t n;

	if (t->fd < 0)
		return;
	if (!t->connected && (events & EPOLLOUT) != 0 &&
	    (events & EPOLLERR) == 0)
		on_connected(f, t);
	while (t->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
		n = recv(t->fd, in, sizeof in, 0);
		if (n > 0) {
			on_answer(f, t, (struct bytes){ in, (size_t)n });
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			return;
		if (t->connected)
			f->cut++;
		else
			f->failed++;
		end(f, t);
	}
}

/* In the order in which they began; what is over is forgotten here, where no
 * event of it is left. */
static void
give_up(struct flood *f, uint64_t now)
{
	struct try *t;

	while ((t = f->oldest) != NULL &&
	    (t->fd < 0 || now - t->began_ms >= HOLD_MS)) {
		if (t->fd >= 0) {
			f->held++;
			end(f, t);
		}
		if ((f->oldest = t->newer) == NULL)
			f->newest = NULL;
		free(t);
	}
}

/* ---- all of them ---- */

static void
run(struct flood *f, double rate, double seconds)
{
	uint64_t start = clock_mono_ms(), now = start;
	const uint64_t whole = (uint64_t)(seconds * 1000);
	struct epoll_event ev[256];

	for (; now - start < whole; now = clock_mono_ms()) {
		uint64_t due = (uint64_t)(rate * (double)(now - start) / 1000);
		int n;

		/* Behind by more than it may: what is not begun is not. */
		for (int i = 0; i < 128 && f->begun < due && f->now_open < MOST;
		     i++)
			begin(f);
		n = epoll_wait(f->epoll, ev, 256, f->begun < due ? 0 : 1);
		for (int i = 0; i < n; i++)
			on_event(f, ev[i].data.ptr, ev[i].events);
		give_up(f, clock_mono_ms());
	}
}

static void
tell(const struct flood *f, double seconds)
{
	struct rusage u = { 0 };

	(void)getrusage(RUSAGE_SELF, &u);
	(void)printf("{\"seconds\":%.1f,\"begun\":%" PRIu64
		     ",\"per_second\":%.0f,"
		     "\"connected\":%" PRIu64 ",\"failed\":%" PRIu64
		     ",\"answered\":%" PRIu64 ",\"finished\":%" PRIu64
		     ",\"cut\":%" PRIu64 ",\"held\":%" PRIu64
		     ",\"most\":%u,\"cpu_s\":%.2f}\n",
	    seconds, f->begun, (double)f->begun / seconds, f->connected,
	    f->failed, f->answered, f->finished, f->cut, f->held, f->most,
	    (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

static void
choose(struct flood *f, const char *names)
{
	for (unsigned k = 0; k < KINDS; k++) {
		size_t len = strlen(kind_names[k]);
		const char *at =
		    names != NULL ? strstr(names, kind_names[k]) : "";

		if (names == NULL ||
		    (at != NULL && (at == names || at[-1] == ',') &&
			(at[len] == '\0' || at[len] == ',')))
			f->kind[f->n_kinds++] = (enum kind)k;
	}
	if (f->n_kinds == 0) {
		(void)fprintf(stderr, "flood: no such kind\n");
		exit(2);
	}
}

/* Where to, and whose channel it is, from the configuration of an app. */
static void
aim(struct flood *f, const char *dir, const char *app, unsigned node)
{
	static struct agent_config c;
	char file[CONFIG_PATH_MAX], why[CONFIG_WHY_MAX] = "";
	const char *port;

	(void)snprintf(file, sizeof file, "%s/apps/%s/agent.yaml", dir, app);
	if (config_load(&c, file, why) != ERR_OK || node >= c.n_kms_urls ||
	    (port = strrchr(c.kms_url[node], ':')) == NULL) {
		(void)fprintf(stderr, "flood: %s: %s\n", file, why);
		exit(2);
	}
	f->dial = (struct session_options){ .role = CHANNEL_APP,
		.chain_id = c.chain_id,
		.kms_contract = c.kms_contract };
	f->to = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int
main(int argc, char *argv[])
{
	static struct flood f;
	struct rlimit files = { 0 };
	struct shake *first;
	double rate, seconds;
	char *plus;

	if (argc != 7 && argc != 8) {
		(void)fprintf(stderr,
		    "usage: flood DIR APP NODE SOURCE RATE SECONDS [KINDS]\n");
		return 2;
	}
	log_set_program("flood");
	log_set_level(LOG_ERROR);
	(void)signal(SIGPIPE, SIG_IGN);
	if (secret_process_init() != ERR_OK)
		return 1;
	aim(&f, argv[1], argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	f.from.sin_family = AF_INET;
	if ((plus = strchr(argv[4], '+')) != NULL)
		*plus++ = '\0';
	f.sources = plus != NULL ? (unsigned)strtoul(plus, NULL, 10) : 1;
	rate = strtod(argv[5], NULL);
	seconds = strtod(argv[6], NULL);
	if (inet_pton(AF_INET, argv[4], &f.from.sin_addr) != 1 || rate <= 0 ||
	    seconds <= 0 || f.sources == 0)
		return 2;
	choose(&f, argc == 8 ? argv[7] : NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if ((f.epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll");
	first = shake_new(&f);
	memcpy(f.hello, first->hello, sizeof f.hello);
	shake_free(first);
	secret_random(f.quote, sizeof f.quote);
	run(&f, rate, seconds);
	tell(&f, seconds);
	return 0;
}
