#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "common/base/log.h"

#include "node/agent/stop.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static bool stopping;

static void *
take_signals(void *cookie)
{
	sigset_t set;
	int sig;

	(void)cookie;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	for (;;) {
		if (sigwait(&set, &sig) != 0)
			continue;
		log_event(LOG_INFO, "stopping", log_i64("signal", sig));
		(void)pthread_mutex_lock(&lock);
		stopping = true;
		(void)pthread_cond_broadcast(&changed);
		(void)pthread_mutex_unlock(&lock);
	}
	return NULL;
}

enum err
stop_init(void)
{
	pthread_condattr_t attr;
	pthread_t thread;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return ERR_IO;
	/* The host sets the wall clock; waits are by the other one. */
	if (pthread_condattr_init(&attr) != 0 ||
	    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
	    pthread_cond_init(&changed, &attr) != 0)
		return ERR_IO;
	(void)pthread_condattr_destroy(&attr);
	if (pthread_create(&thread, NULL, take_signals, NULL) != 0)
		return ERR_IO;
	(void)pthread_detach(thread);
	return ERR_OK;
}

bool
stop_wait(unsigned ms)
{
	struct timespec until;
	bool now;
	int rc = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	(void)pthread_mutex_lock(&lock);
	while (!stopping && rc != ETIMEDOUT)
		rc = ms == 0 ? pthread_cond_wait(&changed, &lock)
			     : pthread_cond_timedwait(&changed, &lock, &until);
	now = stopping;
	(void)pthread_mutex_unlock(&lock);
	return now;
}
