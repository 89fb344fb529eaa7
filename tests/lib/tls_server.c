#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/ssl.h>

#include "tests/lib/tls_server.h"

struct tls_server {
	enum tls_server_mode mode;
	SSL_CTX *x; /* NULL: not that mode */
	int fd;
	_Atomic bool stop;
	pthread_t thread;
};

/* Until the other side has enough of it, or the test ends. */
static void
misbehave(struct tls_server *s, int fd)
{
	static const char http[] = "HTTP/1.1 200 OK\r\n\r\nhello\r\n";
	static const uint8_t head[] = { 22, 3, 3, 0x40, 0 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char drop[4096];

	if (s->mode == TLS_SERVER_CLOSES)
		return;
	if (s->mode == TLS_SERVER_GARBAGE)
		(void)!send(fd, http, sizeof http - 1, MSG_NOSIGNAL);
	if (s->mode == TLS_SERVER_ENDLESS)
		(void)!send(fd, head, sizeof head, MSG_NOSIGNAL);
	while (!atomic_load(&s->stop)) {
		if (poll(&p, 1, 20) > 0 && read(fd, drop, sizeof drop) <= 0)
			return;
		if (s->mode == TLS_SERVER_ENDLESS &&
		    send(fd, "x", 1, MSG_NOSIGNAL) != 1)
			return;
	}
}

static void
serve(struct tls_server *s, int fd)
{
	char drop[64];
	SSL *ssl;

	if (s->mode != TLS_SERVER_FINE) {
		misbehave(s, fd);
		return;
	}
	cr_assert_not_null(ssl = SSL_new(s->x));
	cr_assert_eq(SSL_set_fd(ssl, fd), 1);
	if (SSL_accept(ssl) == 1)
		(void)SSL_read(ssl, drop, sizeof drop);
	SSL_free(ssl);
}

static void *
run(void *arg)
{
	struct tls_server *s = arg;
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	while (!atomic_load(&s->stop)) {
		int fd;

		if (poll(&p, 1, 20) <= 0 ||
		    (fd = accept(s->fd, NULL, NULL)) < 0)
			continue;
		serve(s, fd);
		(void)close(fd);
	}
	return NULL;
}

static void
load(struct tls_server *s, const struct p256_secret *key,
    const struct buf *cert, size_t n)
{
	EVP_PKEY *k = p256_evp_secret(key);

	cr_assert_not_null(s->x = SSL_CTX_new(TLS_server_method()));
	/* Ours are long: the leaf has its attestation. */
	SSL_CTX_set_security_level(s->x, 0);
	for (size_t i = 0; i < n; i++) {
		const unsigned char *p = cert[i].p;
		X509 *c = d2i_X509(NULL, &p, (long)cert[i].len);

		cr_assert_not_null(c);
		if (i == 0)
			cr_assert_eq(SSL_CTX_use_certificate(s->x, c), 1);
		else
			cr_assert_eq(SSL_CTX_add1_chain_cert(s->x, c), 1);
		X509_free(c);
	}
	cr_assert_eq(SSL_CTX_use_PrivateKey(s->x, k), 1);
	EVP_PKEY_free(k);
}

struct tls_server *
tls_server_start(enum tls_server_mode mode, const struct p256_secret *key,
    const struct buf *cert, size_t n, const char *unix_path)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct tls_server *s = calloc(1, sizeof *s);

	cr_assert_not_null(s);
	s->mode = mode;
	if (mode == TLS_SERVER_FINE)
		load(s, key, cert, n);
	s->fd = socket(unix_path != NULL ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
	cr_assert_geq(s->fd, 0);
	if (unix_path != NULL) {
		cr_assert_lt(strlen(unix_path), sizeof un.sun_path);
		memcpy(un.sun_path, unix_path, strlen(unix_path) + 1);
		cr_assert_eq(bind(s->fd, (struct sockaddr *)&un, sizeof un), 0);
	} else {
		cr_assert_eq(bind(s->fd, (struct sockaddr *)&in, sizeof in), 0);
	}
	cr_assert_eq(listen(s->fd, 8), 0);
	cr_assert_eq(pthread_create(&s->thread, NULL, run, s), 0);
	return s;
}

unsigned
tls_server_port(const struct tls_server *s)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;

	cr_assert_eq(getsockname(s->fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

void
tls_server_stop(struct tls_server *s)
{
	atomic_store(&s->stop, true);
	cr_assert_eq(pthread_join(s->thread, NULL), 0);
	(void)close(s->fd);
	SSL_CTX_free(s->x);
	free(s);
}
