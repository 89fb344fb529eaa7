#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/base/clock.h"
#include "kms/ctl/tlsclient.h"

/* Waits for the socket; ERR_TIMEOUT at the deadline. */
static enum err
wait_for(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_mono_ms();
		struct pollfd p = { .fd = fd, .events = events };
		int n;

		if (now >= deadline_ms)
			return ERR_TIMEOUT;
		n = poll(&p, 1, (int)(deadline_ms - now));
		if (n > 0)
			return ERR_OK;
		if (n < 0 && errno != EINTR)
			return ERR_IO;
	}
}

static enum err
finish_connect(
    int fd, const struct sockaddr *to, socklen_t len, uint64_t deadline_ms)
{
	int failed = 0;
	socklen_t n = sizeof failed;
	enum err e;

	if (connect(fd, to, len) == 0)
		return ERR_OK;
	if (errno != EINPROGRESS)
		return ERR_IO;
	if ((e = wait_for(fd, POLLOUT, deadline_ms)) != ERR_OK)
		return e;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n) != 0 ||
	    failed != 0)
		return ERR_IO;
	return ERR_OK;
}

static enum err
try_address(int *out, int family, const struct sockaddr *to, socklen_t len,
    uint64_t deadline_ms)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	enum err e = fd < 0 ? ERR_IO : ERR_OK;

	if (e == ERR_OK)
		e = finish_connect(fd, to, len, deadline_ms);
	if (e == ERR_OK)
		*out = fd;
	else if (fd >= 0)
		(void)close(fd);
	return e;
}

static enum err
dial_unix(int *out, const char *path, uint64_t deadline_ms)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof to.sun_path)
		return ERR_IO;
	memcpy(to.sun_path, path, strlen(path) + 1);
	return try_address(
	    out, AF_UNIX, (const struct sockaddr *)&to, sizeof to, deadline_ms);
}

static enum err
dial(int *out, const struct tlsclient_options *o, uint64_t deadline_ms)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	enum err e = ERR_IO;

	if (o->unix_path != NULL)
		return dial_unix(out, o->unix_path, deadline_ms);
	if (getaddrinfo(o->host, o->port, &hints, &list) != 0)
		return ERR_IO;
	for (const struct addrinfo *a = list; a != NULL && e == ERR_IO;
	     a = a->ai_next)
		e = try_address(
		    out, a->ai_family, a->ai_addr, a->ai_addrlen, deadline_ms);
	freeaddrinfo(list);
	return e;
}

/* Whoever it is: what the certificates are worth is looked at afterwards. */
static int
accept_any(int ok, X509_STORE_CTX *x)
{
	(void)ok;
	(void)x;
	return 1;
}

/* Only suites in which the server signs the exchange with its own key. */
static SSL_CTX *
make_context(void)
{
	SSL_CTX *x = SSL_CTX_new(TLS_client_method());

	if (x == NULL)
		return NULL;
	SSL_CTX_set_max_cert_list(x, TLSCLIENT_CHAIN_MAX);
	SSL_CTX_set_verify(x, SSL_VERIFY_PEER, accept_any);
	(void)SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(x, SSL_OP_NO_RENEGOTIATION);
	if (SSL_CTX_set_min_proto_version(x, TLS1_2_VERSION) == 1 &&
	    SSL_CTX_set_cipher_list(
		x, "ECDHE+ECDSA+AESGCM:ECDHE+ECDSA+CHACHA20") == 1)
		return x;
	SSL_CTX_free(x);
	return NULL;
}

static enum err
no_tls(struct refusal *why)
{
	char text[120] = "the connection ended";
	unsigned long code = ERR_peek_last_error();

	if (code != 0)
		ERR_error_string_n(code, text, sizeof text);
	return refuse(why, REASON_HANDSHAKE, "TLS_HANDSHAKE: %s", text);
}

static enum err
shake(SSL *s, int fd, uint64_t deadline_ms, struct refusal *why)
{
	for (;;) {
		int rc, code;
		enum err e;

		ERR_clear_error();
		if ((rc = SSL_connect(s)) == 1)
			return ERR_OK;
		code = SSL_get_error(s, rc);
		if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE)
			return no_tls(why);
		e = wait_for(fd, code == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT,
		    deadline_ms);
		if (e != ERR_OK)
			return e;
	}
}

static enum err
take_chain(struct tlsclient_peer *p, SSL *s, struct refusal *why)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(s);
	int n = sk_X509_num(chain);

	if (n < 1 || n > TLSCLIENT_CERTS)
		return refuse(why, REASON_HANDSHAKE,
		    "TLS_HANDSHAKE: %d certificates", n < 0 ? 0 : n);
	for (int i = 0; i < n; i++) {
		unsigned char *der = NULL;
		int len = i2d_X509(sk_X509_value(chain, i), &der);
		enum err e = len > 0 ? buf_set(&p->cert[p->n], der, (size_t)len)
				     : ERR_NOMEM;

		OPENSSL_free(der);
		if (e != ERR_OK)
			return e;
		p->n++;
	}
	(void)snprintf(p->version, sizeof p->version, "%s", SSL_get_version(s));
	(void)snprintf(
	    p->cipher, sizeof p->cipher, "%s", SSL_get_cipher_name(s));
	return ERR_OK;
}

enum err
tlsclient_shake(struct tlsclient_peer *out, const struct tlsclient_options *o,
    struct refusal *why)
{
	uint64_t deadline_ms = clock_mono_ms() + o->timeout_ms;
	struct tlsclient_peer p = { .n = 0 };
	SSL_CTX *x = make_context();
	SSL *s = NULL;
	int fd = -1;
	enum err e = ERR_NOMEM;

	if (x == NULL || (s = SSL_new(x)) == NULL)
		goto done;
	if (o->name != NULL &&
	    SSL_set_tlsext_host_name(s, (char *)(uintptr_t)o->name) != 1)
		goto done;
	if ((e = dial(&fd, o, deadline_ms)) != ERR_OK)
		goto done;
	e = ERR_NOMEM;
	if (SSL_set_fd(s, fd) != 1)
		goto done;
	if ((e = shake(s, fd, deadline_ms, why)) != ERR_OK ||
	    (e = take_chain(&p, s, why)) != ERR_OK)
		goto done;
	*out = p;
	p = (struct tlsclient_peer){ .n = 0 }; /* transferred */
	(void)SSL_shutdown(s);
done:
	tlsclient_peer_fini(&p);
	SSL_free(s);
	SSL_CTX_free(x);
	if (fd >= 0)
		(void)close(fd);
	return e;
}

void
tlsclient_peer_fini(struct tlsclient_peer *p)
{
	for (size_t i = 0; i < p->n; i++)
		buf_fini(&p->cert[i]);
	p->n = 0;
}
