/* What ThreadSanitizer cannot see in libraries that were not built for it,
 * told to it where our code calls them (the linker's --wrap, SAN=thread
 * alone).  Its own interceptors know mutexes, threads and semaphores, in
 * libraries, too; libuv wakes a loop by an atomic flag, which they miss.
 *
 * What this cannot say is in tests/checks/tsan.supp. */
#include <pthread.h>
#include <stdlib.h>

#include <uv.h>

void __tsan_acquire(void *);
void __tsan_release(void *);

int __real_uv_async_init(uv_loop_t *, uv_async_t *, uv_async_cb);
int __real_uv_async_send(uv_async_t *);
int __real_pthread_mutex_destroy(pthread_mutex_t *);
int __wrap_uv_async_init(uv_loop_t *, uv_async_t *, uv_async_cb);
int __wrap_uv_async_send(uv_async_t *);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *);

/* Which callback belongs to which handle; a test has few, and ends soon. */
#define HANDLES_MAX 256
static struct {
	uv_async_t *handle;
	uv_async_cb cb;
} handles[HANDLES_MAX];
static unsigned n_handles;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
on_async(uv_async_t *a)
{
	uv_async_cb cb = NULL;

	(void)pthread_mutex_lock(&lock);
	/* The newest: an address can be used again. */
	for (unsigned i = n_handles; cb == NULL && i > 0; i--)
		if (handles[i - 1].handle == a)
			cb = handles[i - 1].cb;
	(void)pthread_mutex_unlock(&lock);
	__tsan_acquire(a);
	cb(a);
}

int
__wrap_uv_async_init(uv_loop_t *loop, uv_async_t *a, uv_async_cb cb)
{
	(void)pthread_mutex_lock(&lock);
	if (n_handles == HANDLES_MAX)
		abort();
	handles[n_handles].handle = a;
	handles[n_handles++].cb = cb;
	(void)pthread_mutex_unlock(&lock);
	return __real_uv_async_init(loop, a, on_async);
}

int
__wrap_uv_async_send(uv_async_t *a)
{
	__tsan_release(a);
	return __real_uv_async_send(a);
}

/* Whoever destroys a mutex that another thread may still take is caught by
 * this write of ours; the library's own check is in tests/checks/tsan.supp. */
int
__wrap_pthread_mutex_destroy(pthread_mutex_t *m)
{
	volatile char *p = (volatile char *)m;

	*p = *p;
	return __real_pthread_mutex_destroy(m);
}
