/* The list of system calls, by what they are for.
 *
 * What is not on it ends the process (SIGSYS; the kernel's log names the
 * call): a KMS node is one of several, and one that does what its code does
 * not must not go on.  A few calls that libraries only try have an errno
 * instead, so that they fall back.  README.md says how to find what a new
 * library version needs. */
#include <linux/netlink.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "common/base/log.h"
#include "node/harden/harden.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* SCMP_A0 and the like leave out the argument that a comparison has not. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wmissing-field-initializers"
#endif
#define CALL(name) SCMP_SYS(name)
#define N(a) (sizeof(a) / sizeof((a)[0]))

static const int plain[] = {
	/* descriptors and bytes */
	CALL(read), CALL(readv), CALL(pread64), CALL(preadv), CALL(preadv2),
	CALL(write), CALL(writev), CALL(pwrite64), CALL(pwritev),
	CALL(pwritev2), CALL(close), CALL(lseek), CALL(fsync), CALL(fdatasync),
	CALL(msync), CALL(ftruncate), CALL(flock), CALL(pipe), CALL(pipe2),
	CALL(eventfd2),
	/* files by name: Landlock and permissions decide which */
	CALL(open), CALL(openat), CALL(stat), CALL(lstat), CALL(fstat),
	CALL(newfstatat), CALL(statx), CALL(statfs), CALL(fstatfs),
	CALL(access), CALL(faccessat), CALL(faccessat2), CALL(readlink),
	CALL(readlinkat), CALL(getdents64), CALL(getcwd), CALL(mkdir),
	CALL(mkdirat), CALL(rmdir), CALL(unlink), CALL(unlinkat), CALL(rename),
	CALL(renameat), CALL(renameat2), CALL(chmod), CALL(fchmod),
	CALL(fchmodat),
	/* waiting */
	CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6),
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait),
	CALL(epoll_pwait), CALL(epoll_pwait2), CALL(nanosleep),
	CALL(clock_nanosleep), CALL(restart_syscall),
	/* sockets that are there */
	CALL(bind), CALL(listen), CALL(accept), CALL(accept4), CALL(connect),
	CALL(shutdown), CALL(getsockname), CALL(getpeername), CALL(getsockopt),
	CALL(setsockopt), CALL(sendto), CALL(sendmsg), CALL(sendmmsg),
	CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg),
	/* memory; mmap and mprotect are below */
	CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise), CALL(mlock),
	CALL(mlock2), CALL(munlock), CALL(membarrier),
	/* threads */
	CALL(futex), CALL(set_robust_list), CALL(get_robust_list), CALL(rseq),
	CALL(set_tid_address), CALL(sched_yield), CALL(sched_getaffinity),
	CALL(exit), CALL(exit_group),
	/* signals to itself; tgkill is below */
	CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn),
	CALL(rt_sigtimedwait), CALL(rt_sigpending), CALL(sigaltstack),
	/* what it is told */
	CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid),
	CALL(getgid), CALL(getegid), CALL(getrandom), CALL(clock_gettime),
	CALL(clock_getres), CALL(gettimeofday), CALL(time), CALL(times),
	CALL(uname), CALL(sysinfo), CALL(getrusage), CALL(getrlimit),
	CALL(getcpu)
};

/* Tried by libraries that can do without. */
static const struct {
	int call, error;
} fallback[] = {
	{ CALL(clone3), ENOSYS }, /* its flags cannot be looked at: clone */
	{ CALL(openat2), ENOSYS },
	{ CALL(io_uring_setup), ENOSYS },
	{ CALL(close_range), ENOSYS },
};

/* Allowed with one value of one argument. */
static const struct {
	int call;
	unsigned arg, value;
} by_value[] = {
	{ CALL(fcntl), 1, F_GETFD },
	{ CALL(fcntl), 1, F_SETFD },
	{ CALL(fcntl), 1, F_GETFL },
	{ CALL(fcntl), 1, F_SETFL },
	{ CALL(fcntl), 1, F_GETLK },
	{ CALL(fcntl), 1, F_SETLK },
	{ CALL(fcntl), 1, F_SETLKW },
	{ CALL(fcntl), 1, F_DUPFD_CLOEXEC },
	{ CALL(ioctl), 1, FIONBIO },
	{ CALL(ioctl), 1, FIOCLEX },
	{ CALL(ioctl), 1, FIONREAD },
	{ CALL(ioctl), 1, TCGETS }, /* isatty */
	{ CALL(prctl), 0, PR_SET_NAME },
	{ CALL(prctl), 0, PR_GET_NAME },
	{ CALL(prctl), 0, PR_GET_DUMPABLE },
	{ CALL(prctl), 0, PR_GET_NO_NEW_PRIVS },
	{ CALL(socketpair), 0, AF_UNIX },
};

/* A thread, as pthread_create makes it, in no new namespace. */
#define THREAD \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
	    CLONE_SYSVSEM)
#define SPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE | \
	    CLONE_PARENT | CLONE_VFORK)
#define PLAIN_TYPE 0xffu /* of a socket, without SOCK_CLOEXEC and others */

/* Adds up: the first failure is kept. */
static void
rule(int *rc, scmp_filter_ctx f, uint32_t action, int call, unsigned n,
    const struct scmp_arg_cmp *args)
{
	if (*rc == 0)
		*rc = seccomp_rule_add_array(f, action, call, n, args);
}

/* libseccomp's SCMP_A0 and the like leave out `datum_b` where it does not
 * matter, which clang remarks on. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define ARGS(...) \
	(sizeof((struct scmp_arg_cmp[]){ __VA_ARGS__ }) / \
	    sizeof(struct scmp_arg_cmp)), \
	    (struct scmp_arg_cmp[]) \
	{ \
		__VA_ARGS__ \
	}
#define OK SCMP_ACT_ALLOW

static void
sockets(int *rc, scmp_filter_ctx f)
{
	static const unsigned families[] = { AF_UNIX, AF_INET, AF_INET6 };
	static const unsigned types[] = { SOCK_STREAM, SOCK_DGRAM };

	for (unsigned i = 0; i < N(families); i++)
		for (unsigned k = 0; k < N(types); k++)
			rule(rc, f, OK, CALL(socket),
			    ARGS(SCMP_A0(SCMP_CMP_EQ, families[i]),
				SCMP_A1(
				    SCMP_CMP_MASKED_EQ, PLAIN_TYPE, types[k])));
	/* getaddrinfo asks for the machine's own addresses. */
	rule(rc, f, OK, CALL(socket),
	    ARGS(SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
		SCMP_A1(SCMP_CMP_MASKED_EQ, PLAIN_TYPE, SOCK_RAW),
		SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE)));
}

static void
memory(int *rc, scmp_filter_ctx f)
{
	/* Code comes from the files that were mapped at start, never later. */
	rule(rc, f, OK, CALL(mmap),
	    ARGS(SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)));
	rule(rc, f, OK, CALL(mprotect),
	    ARGS(SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)));
	/* What dlopen does: it fails, as if the file were not fit. */
	rule(rc, f, SCMP_ACT_ERRNO(EPERM), CALL(mmap),
	    ARGS(SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0)));
}

static void
itself(int *rc, scmp_filter_ctx f, enum harden_role role)
{
	rule(rc, f, OK, CALL(clone),
	    ARGS(SCMP_A0(SCMP_CMP_MASKED_EQ, THREAD | SPACES, THREAD)));
	/* abort and raise: nobody else is signalled. */
	if (role == HARDEN_WORKER)
		rule(rc, f, OK, CALL(tgkill),
		    ARGS(SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())));
	/* Limits are read, never changed. */
	rule(rc, f, OK, CALL(prlimit64),
	    ARGS(SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)));
	rule(rc, f, OK, CALL(prctl),
	    ARGS(SCMP_A0(SCMP_CMP_EQ, PR_SET_DUMPABLE),
		SCMP_A1(SCMP_CMP_EQ, 0)));
	for (unsigned i = 0; i < N(by_value); i++)
		rule(rc, f, OK, by_value[i].call,
		    ARGS(SCMP_CMP(
			by_value[i].arg, SCMP_CMP_EQ, by_value[i].value)));
}

/* A keeper forks workers, which it may signal, and which then install their
 * own filter; it opens nothing and holds nothing. */
static void
keeper(int *rc, scmp_filter_ctx f)
{
	static const int calls[] = { CALL(wait4), CALL(waitid), CALL(kill),
		CALL(tgkill), CALL(seccomp) };
	static const unsigned sets[] = { PR_SET_PDEATHSIG, PR_GET_SECCOMP,
		PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS };

	for (unsigned i = 0; i < N(calls); i++)
		rule(rc, f, OK, calls[i], 0, NULL);
	for (unsigned i = 0; i < N(sets); i++)
		rule(rc, f, OK, CALL(prctl),
		    ARGS(SCMP_A0(SCMP_CMP_EQ, sets[i])));
	/* fork */
	rule(rc, f, OK, CALL(clone),
	    ARGS(SCMP_A0(SCMP_CMP_EQ,
		CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)));
}

static int
install(enum harden_role role, enum harden_filter how)
{
	uint32_t otherwise =
	    how == HARDEN_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx f = seccomp_init(otherwise);
	int rc = f == NULL ? -ENOMEM : 0;

	if (rc == 0)
		rc = seccomp_attr_set(
		    f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	for (unsigned i = 0; i < N(plain); i++)
		rule(&rc, f, OK, plain[i], 0, NULL);
	for (unsigned i = 0; i < N(fallback); i++)
		rule(&rc, f, SCMP_ACT_ERRNO((unsigned)fallback[i].error),
		    fallback[i].call, 0, NULL);
	sockets(&rc, f);
	memory(&rc, f);
	itself(&rc, f, role);
	if (role == HARDEN_KEEPER)
		keeper(&rc, f);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc;
}

static void *
nothing(void *cookie)
{
	return cookie;
}

/* Libraries load others when they are first used; afterwards no code can be
 * mapped any more. */
static void
load_libraries(void)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *ai = NULL;
	pthread_t t;
	void *frame[1];

	/* libgcc, for threads that end early and for abort's traces. */
	(void)backtrace(frame, 1);
	/* The modules that /etc/nsswitch.conf names. */
	if (getaddrinfo("localhost", "1", &hints, &ai) == 0)
		freeaddrinfo(ai);
	/* openssl.cnf may name providers. */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	if (pthread_create(&t, NULL, nothing, NULL) == 0)
		(void)pthread_join(t, NULL);
}

static enum harden_filter installed = HARDEN_OFF;

enum harden_filter
harden_installed(void)
{
	return installed;
}

enum err
harden_filter(enum harden_role role, enum harden_filter how)
{
	int rc;

	if (SANITIZED && how != HARDEN_OFF) {
		log_event(LOG_WARN, "seccomp_off",
		    log_str("cause", "built with a sanitizer"));
		return ERR_OK;
	}
	if (how == HARDEN_OFF) {
		log_event(LOG_WARN, "seccomp_off",
		    log_str("cause", "process.seccomp: off"));
		return ERR_OK;
	}
	load_libraries();
	if ((rc = install(role, how)) != 0) {
		log_event(LOG_ERROR, "seccomp_failed",
		    log_str("cause", strerror(-rc)));
		return ERR_IO;
	}
	installed = how;
	return ERR_OK;
}
