/* What a hardened process cannot do, and that it can do its work.  Each case
 * is a process of its own, since there is no way back.
 *
 * An end by SIGSYS is the filter's; an errno is the filter's for what
 * libraries only try, or Landlock's for files. */
#include <linux/bpf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/rand.h>

#include "common/base/file.h"
#include "common/base/secret.h"
#include "common/net/fetch.h"
#include "node/harden/harden.h"
#include "node/store/store.h"
#include "tests/lib/fake_ca.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"
#include "tests/lib/tls_server.h"
#include "tests/lib/tmpdir.h"

#define NOT_HERE 77 /* this build or this kernel cannot */
#define BAD 99

static char *inside, *outside; /* folders: may be written, and may not */

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	inside = tmpdir_new();
	outside = tmpdir_new();
}

static void
teardown(void)
{
	tmpdir_remove(inside);
	tmpdir_remove(outside);
}

TestSuite(harden, .init = setup, .fini = teardown, .timeout = 240);

static void
hardened(enum harden_filter how, const char *writable)
{
	const struct harden_config cfg = { .filter = how };
	const struct harden_options o = { .cfg = &cfg,
		.files = { { writable, HARDEN_WRITE, false } },
		.n_files = 1 };
	char why[HARDEN_WHY_MAX];
	struct harden_state s;

	if (harden_process(&o, why) != ERR_OK) {
		(void)fprintf(stderr, "%s\n", why);
		_exit(BAD);
	}
	if (harden_filter(HARDEN_WORKER, how) != ERR_OK)
		_exit(BAD);
	harden_state(&s);
	if (how != HARDEN_OFF && !s.kernel_filters)
		_exit(NOT_HERE);
}

/* Runs `what` in a hardened process of its own; wait's status. */
static int
in_process(int (*what)(void), enum harden_filter how, const char *writable)
{
	int status = 0;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		hardened(how, writable);
		_exit(what());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
		cr_skip_test("no filter in this build, or on this kernel");
	return status;
}

/* ---- calls that end the process ---- */

#define ENDS(name, call) \
	static int do_##name(void) \
	{ \
		(void)!(call); \
		return 0; \
	}

static char *const no_args[] = { NULL };
static char byte;
static struct iovec one = { &byte, 1 };
static const struct rlimit high = { 1u << 20, 1u << 20 };

ENDS(execve, execve("/bin/true", no_args, no_args))
ENDS(execve_itself, execve("/proc/self/exe", no_args, no_args))
ENDS(execveat, syscall(SYS_execveat, 0, "", no_args, no_args, AT_EMPTY_PATH))
ENDS(fork, fork())
ENDS(vfork_call, syscall(SYS_vfork))
ENDS(clone_space,
    syscall(SYS_clone,
	CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
	    CLONE_SYSVSEM | CLONE_NEWNS,
	0, 0, 0, 0))
ENDS(ptrace, ptrace(PTRACE_TRACEME, 0, 0, 0))
ENDS(vm_readv, process_vm_readv(getppid(), &one, 1, &one, 1, 0))
ENDS(vm_writev, process_vm_writev(getppid(), &one, 1, &one, 1, 0))
ENDS(kill_parent, kill(getppid(), 0))
ENDS(kill_itself, kill(getpid(), SIGKILL))
ENDS(tgkill_parent, syscall(SYS_tgkill, getppid(), getppid(), 0))
ENDS(pidfd, syscall(SYS_pidfd_open, getppid(), 0))
ENDS(setuid, syscall(SYS_setuid, 0))
ENDS(setresuid, syscall(SYS_setresuid, 0, 0, 0))
ENDS(setgroups, syscall(SYS_setgroups, 0, NULL))
ENDS(capset, syscall(SYS_capset, NULL, NULL))
ENDS(unshare, unshare(CLONE_NEWUSER))
ENDS(setns, setns(0, 0))
ENDS(mount, mount("none", "/", NULL, MS_REMOUNT, NULL))
ENDS(chroot, chroot("/"))
ENDS(bpf, syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0))
ENDS(perf, syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0))
ENDS(userfault, syscall(SYS_userfaultfd, 0))
ENDS(keyctl, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
ENDS(kexec, syscall(SYS_kexec_load, 0, 0, NULL, 0))
ENDS(module, syscall(SYS_init_module, NULL, 0, ""))
ENDS(reboot, syscall(SYS_reboot, 0, 0, 0, NULL))
ENDS(memfd, memfd_create("x", 0))
ENDS(seccomp_again, syscall(SYS_seccomp, 0, 0, NULL))
ENDS(handle, syscall(SYS_open_by_handle_at, 0, NULL, 0))
ENDS(link, link("/etc/hosts", "x"))
ENDS(symlink, symlink("/etc/hosts", "x"))
ENDS(mknod, mknod("x", S_IFCHR | 0600, 0))
ENDS(chown, chown("/etc/hosts", 0, 0))
ENDS(umask, umask(0))
ENDS(clock_set, syscall(SYS_clock_settime, 0, NULL))
ENDS(anonymous_code,
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
ENDS(writable_code,
    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
ENDS(code_later,
    mprotect(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	4096, PROT_READ | PROT_EXEC))
ENDS(packets, socket(AF_PACKET, SOCK_RAW, 0))
ENDS(vsock, socket(AF_VSOCK, SOCK_STREAM, 0))
ENDS(crypto_socket, socket(AF_ALG, SOCK_SEQPACKET, 0))
ENDS(raw_ip, socket(AF_INET, SOCK_RAW, IPPROTO_ICMP))
ENDS(audit_netlink, socket(AF_NETLINK, SOCK_RAW, 9))
ENDS(typing, ioctl(0, TIOCSTI, "x"))
ENDS(dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ENDS(ptracer, prctl(PR_SET_PTRACER, -1, 0, 0, 0))
ENDS(core_limit, setrlimit(RLIMIT_CORE, &high))
ENDS(other_limits, syscall(SYS_prlimit64, getppid(), RLIMIT_CORE, NULL, &high))
ENDS(x32, syscall(SYS_getpid | 0x40000000))

#define CASE(name) \
	{ \
#name, do_##name \
	}
static const struct {
	const char *name;
	int (*what)(void);
} ending[] = {
	CASE(execve),
	CASE(execve_itself),
	CASE(execveat),
	CASE(fork),
	CASE(vfork_call),
	CASE(clone_space),
	CASE(ptrace),
	CASE(vm_readv),
	CASE(vm_writev),
	CASE(kill_parent),
	CASE(kill_itself),
	CASE(tgkill_parent),
	CASE(pidfd),
	CASE(setuid),
	CASE(setresuid),
	CASE(setgroups),
	CASE(capset),
	CASE(unshare),
	CASE(setns),
	CASE(mount),
	CASE(chroot),
	CASE(bpf),
	CASE(perf),
	CASE(userfault),
	CASE(keyctl),
	CASE(kexec),
	CASE(module),
	CASE(reboot),
	CASE(memfd),
	CASE(seccomp_again),
	CASE(handle),
	CASE(link),
	CASE(symlink),
	CASE(mknod),
	CASE(chown),
	CASE(umask),
	CASE(clock_set),
	CASE(anonymous_code),
	CASE(writable_code),
	CASE(code_later),
	CASE(packets),
	CASE(vsock),
	CASE(crypto_socket),
	CASE(raw_ip),
	CASE(audit_netlink),
	CASE(typing),
	CASE(dumpable),
	CASE(ptracer),
	CASE(core_limit),
	CASE(other_limits),
	CASE(x32),
};

/* No program, no other process, no new right, no new code. */
Test(harden, what_is_not_on_the_list_ends_the_process)
{
	for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
		int status = in_process(ending[i].what, HARDEN_ENFORCE, inside);

		cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
		    "%s: status %#x", ending[i].name, status);
	}
}

static void *
forks(void *cookie)
{
	(void)fork();
	return cookie;
}

static int
fork_in_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, forks, NULL) == 0)
		(void)pthread_join(t, NULL);
	return 0;
}

/* A thread cannot what the process cannot, and takes all of it along. */
Test(harden, threads_are_under_the_filter)
{
	int status = in_process(fork_in_thread, HARDEN_ENFORCE, inside);

	cr_assert(
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%#x", status);
}

/* ---- calls that fail ---- */

#define EXPECT(cond) \
	do { \
		if (!(cond)) { \
			(void)fprintf(stderr, "line %d: %s (%s)\n", __LINE__, \
			    #cond, strerror(errno)); \
			return 1; \
		} \
	} while (0)

static int
tries(void)
{
	int fd;

	EXPECT(syscall(SYS_clone3, NULL, (size_t)0) == -1 && errno == ENOSYS);
	EXPECT(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == ENOSYS);
	EXPECT(syscall(SYS_openat2, 0, "", NULL, 0) == -1 && errno == ENOSYS);
	/* Code of a file: what dlopen does. */
	EXPECT((fd = open("/usr/bin/env", O_RDONLY | O_CLOEXEC)) >= 0);
	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) ==
		MAP_FAILED &&
	    errno == EPERM);
	EXPECT(dlopen("libform.so.6", RTLD_NOW) == NULL);
	return 0;
}

Test(harden, libraries_fall_back)
{
	cr_assert_eq(in_process(tries, HARDEN_ENFORCE, inside), 0);
}

static char outside_file[256], outside_new[256], inside_file[256];

static int
files(void)
{
	struct harden_state s;

	harden_state(&s);
	if (s.landlock == 0)
		return NOT_HERE;
	EXPECT(open(outside_file, O_RDONLY) < 0 && errno == EACCES);
	EXPECT(open(outside_file, O_WRONLY) < 0 && errno == EACCES);
	EXPECT(
	    open(outside_new, O_WRONLY | O_CREAT, 0600) < 0 && errno == EACCES);
	EXPECT(mkdir(outside_new, 0700) != 0 && errno == EACCES);
	EXPECT(unlink(outside_file) != 0 && errno == EACCES);
	EXPECT(rename(inside_file, outside_new) != 0 && errno == EACCES);
	EXPECT(open("/etc/hosts", O_WRONLY) < 0 && errno == EACCES);
	EXPECT(open("/etc/devproof-kms-test", O_WRONLY | O_CREAT, 0600) < 0 &&
	    errno == EACCES);
	/* The kernel would write there whatever pages are protected. */
	EXPECT(open("/proc/self/mem", O_WRONLY) < 0 && errno == EACCES);
	EXPECT(open("/boot", O_RDONLY) < 0);
	/* What it may. */
	EXPECT(open("/etc/hosts", O_RDONLY) >= 0);
	EXPECT(open(inside_file, O_RDWR) >= 0);
	EXPECT(open("/dev/null", O_RDWR) >= 0);
	EXPECT(unlink(inside_file) == 0);
	return 0;
}

Test(harden, files_that_nobody_named)
{
	(void)snprintf(outside_file, sizeof outside_file, "%s/f", outside);
	(void)snprintf(outside_new, sizeof outside_new, "%s/new", outside);
	(void)snprintf(inside_file, sizeof inside_file, "%s/f", inside);
	cr_assert_eq(file_write(outside_file, "x", 1, 0600), ERR_OK);
	cr_assert_eq(file_write(inside_file, "x", 1, 0600), ERR_OK);
	cr_assert_eq(in_process(files, HARDEN_ENFORCE, inside), 0);
	/* They are still there, and no more than they. */
	cr_assert_eq(access(outside_file, F_OK), 0);
	cr_assert_neq(access(outside_new, F_OK), 0);
}

/* ---- what the process is ---- */

static int
itself(void)
{
	struct rlimit r;
	struct harden_state s;
	harden_state(&s);
	EXPECT(s.filter == HARDEN_ENFORCE && s.kernel_filters);
	EXPECT(s.no_new_privs && !s.dumpable && s.capabilities == 0);
	EXPECT(getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_max == 0);
	for (int fd = 3; fd < 64; fd++)
		EXPECT(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
	return 0;
}

Test(harden, nothing_is_left_over)
{
	int fd = open("/dev/null", O_RDWR);

	cr_assert(fd >= 3);
	cr_assert_eq(in_process(itself, HARDEN_ENFORCE, inside), 0);
	(void)close(fd);
}

static int
writes_to_nobody(void)
{
	int fd[2];

	EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	(void)close(fd[1]);
	EXPECT(write(fd[0], "x", 1) == -1 && errno == EPIPE);
	return 0;
}

Test(harden, who_hangs_up_ends_a_write)
{
	/* As it may be where the test was started. */
	(void)signal(SIGPIPE, SIG_DFL);
	cr_assert_eq(in_process(writes_to_nobody, HARDEN_ENFORCE, inside), 0);
}

/* Those of systemd stay, and no other. */
Test(harden, systemds_descriptors_stay)
{
	int status = 0;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		const struct harden_config cfg = { .filter = HARDEN_OFF };
		const struct harden_options o = { .cfg = &cfg, .keep = 2 };
		char why[HARDEN_WHY_MAX];
		int fd = open("/dev/null", O_RDWR);

		for (int to = 3; to < 8; to++)
			if (to != fd)
				(void)dup2(fd, to);
		if (harden_process(&o, why) != ERR_OK)
			_exit(BAD);
		_exit(fcntl(3, F_GETFD) < 0 || fcntl(4, F_GETFD) < 0 ||
		    fcntl(5, F_GETFD) >= 0 || fcntl(7, F_GETFD) >= 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

/* ---- another user ---- */

static enum err
become(const char *user, const char *group, char *why)
{
	struct harden_config cfg = { .filter = HARDEN_OFF };
	const struct harden_options o = { .cfg = &cfg };

	(void)snprintf(cfg.user, sizeof cfg.user, "%s", user);
	(void)snprintf(cfg.group, sizeof cfg.group, "%s", group);
	return harden_process(&o, why);
}

static int
becomes_nobody(void)
{
	const struct passwd *p = getpwnam("nobody");
	char why[HARDEN_WHY_MAX];
	struct harden_state s;
	uid_t r, e, saved;

	EXPECT(p != NULL);
	EXPECT(become("nobody", "", why) == ERR_OK);
	EXPECT(getresuid(&r, &e, &saved) == 0);
	EXPECT(r == p->pw_uid && e == p->pw_uid && saved == p->pw_uid);
	EXPECT(getgroups(0, NULL) == 0 && getgid() == p->pw_gid);
	EXPECT(setresuid((uid_t)-1, 0, (uid_t)-1) != 0);
	EXPECT(setuid(0) != 0 && setgid(0) != 0);
	harden_state(&s);
	EXPECT(s.uid == p->pw_uid && s.capabilities == 0 && s.no_new_privs);
	/* The change of user has set this again. */
	EXPECT(!s.dumpable);
	/* And from there nobody else can be had. */
	EXPECT(become("daemon", "", why) == ERR_CONFIG);
	return 0;
}

static int
refuses_users(void)
{
	char why[HARDEN_WHY_MAX] = "";

	EXPECT(become("no-such-user-here", "", why) == ERR_CONFIG);
	EXPECT(strcmp(why, "process.user: no such user") == 0);
	EXPECT(become("root", "", why) == ERR_CONFIG);
	EXPECT(strcmp(why, "process.user: must not be root") == 0);
	EXPECT(become("nobody", "no-such-group", why) == ERR_CONFIG);
	EXPECT(strcmp(why, "process.group: no such group") == 0);
	EXPECT(become("nobody", "root", why) == ERR_CONFIG);
	EXPECT(strcmp(why, "process.group: must not be root's") == 0);
	EXPECT(geteuid() == 0);
	return 0;
}

static int
forked(int (*what)(void))
{
	int status = 0;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0)
		_exit(what());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

Test(harden, root_is_not_to_be_had_again)
{
	if (geteuid() != 0)
		cr_skip_test("not root: there is nothing to drop");
	cr_assert_eq(forked(refuses_users), 0);
	cr_assert_eq(forked(becomes_nobody), 0);
}

/* ---- configuration ---- */

Test(harden, configuration)
{
	struct harden_config c = { .filter = HARDEN_OFF };
	struct harden_file f = { .seccomp = "maybe" };
	char why[YAML_WHY_MAX];

	cr_assert_eq(harden_decode(&c, &f, why), ERR_CONFIG);
	cr_assert_str_eq(why, "process.seccomp: must be enforce, log or off");
	cr_assert_eq(c.filter, HARDEN_OFF); /* untouched */
	f = (struct harden_file){ .group = "kms" };
	cr_assert_eq(harden_decode(&c, &f, why), ERR_CONFIG);
	f = (struct harden_file){ 0 };
	cr_assert_eq(harden_decode(&c, &f, why), ERR_OK);
	cr_assert_eq(c.filter, HARDEN_ENFORCE);
	f = (struct harden_file){ .user = "kms", .seccomp = "log" };
	cr_assert_eq(harden_decode(&c, &f, why), ERR_OK);
	cr_assert_eq(c.filter, HARDEN_LOG);
	cr_assert_str_eq(c.user, "kms");
}

/* `log` and `off` do what they say: the process goes on. */
Test(harden, log_and_off_let_go_on)
{
	cr_assert_eq(in_process(do_umask, HARDEN_LOG, inside), 0);
	cr_assert_eq(in_process(do_umask, HARDEN_OFF, inside), 0);
}

/* ---- the work ---- */

static int
stores(void)
{
	static const uint8_t key[32] = { 1 };
	const struct store_options o = { .dir = inside,
		.cluster = { 7 },
		.slot = "s",
		.map_max = 16u << 20 };
	struct store *s = NULL;

	EXPECT(store_open(&s, &o, key) == ERR_OK);
	for (unsigned i = 0; i < 50; i++) {
		const struct bytes k = { (const uint8_t *)&i, sizeof i };

		EXPECT(store_begin(s) == ERR_OK);
		EXPECT(store_put(s, STORE_EPOCH, k, k) == ERR_OK);
		EXPECT(store_commit(s) == ERR_OK);
	}
	store_close(s);
	EXPECT(store_open(&s, &o, key) == ERR_OK);
	store_close(s);
	return 0;
}

static int
resolves(void)
{
	struct addrinfo *ai = NULL;
	uint8_t random[32];
	void *p;

	EXPECT(getaddrinfo("localhost", "80", NULL, &ai) == 0);
	freeaddrinfo(ai);
	/* No such name, whether there is a server to ask or not. */
	EXPECT(getaddrinfo("no-such-name.invalid", "80", NULL, &ai) != 0);
	EXPECT(RAND_bytes(random, sizeof random) == 1);
	EXPECT((p = secret_new(100)) != NULL);
	secret_lock(p);
	secret_free(p);
	return 0;
}

/* A TLS handshake in full, and the refusal of who signed it. */
static int
fetches(void)
{
	struct fetch_request rq = { .timeout_ms = 20000, .max_reply = 1000 };
	struct fetch_reply rp = { 0 };
	struct p256_secret key;
	struct buf cert = { 0 };
	struct tls_server *s;
	char url[64];

	p256_generate(&key);
	fake_ca_root(&cert, &key);
	EXPECT((s = tls_server_start(TLS_SERVER_FINE, &key, &cert, 1, NULL)) !=
	    NULL);
	(void)snprintf(
	    url, sizeof url, "https://localhost:%u/", tls_server_port(s));
	rq.url = url;
	fetch_all(&rp, &rq, 1);
	EXPECT(rp.err == ERR_IO);
	fetch_reply_fini(&rp);
	tls_server_stop(s);
	buf_fini(&cert);
	return 0;
}

/* A node, its chain, its PCCS and an app in one process: handshake, evidence
 * of both sides, the gate, the derivation, the reply. */
static int
asks(void)
{
	struct kms_world w;
	struct kms_caller app;
	struct kms_node *n;
	struct channel *ch = NULL;
	struct refusal why = { 0 };
	KmsReply *reply;

	kms_world_init(&w);
	n = kms_node_start_sealed(&w, "a", true);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	const struct cluster_genesis g = kms_node_genesis(n);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(n)));
	kms_node_wait(n, PHASE_READY);
	kms_node_alone(&w, n);
	EXPECT(channel_dial(&ch, &app.cx, app.role, kms_node_url(n),
		   KMS_WAIT_MS, &why) == ERR_OK);
	EXPECT((reply = kms_ask_keys(ch, -1, &why)) != NULL);
	msg_reply_free(reply);
	channel_close(ch);
	kms_caller_close(&app);
	kms_node_stop(n);
	kms_world_fini(&w);
	return 0;
}

Test(harden, the_work_is_done)
{
	char *tmp = tmpdir_new();
	char *slash = strrchr(tmp, '/');

	cr_assert_eq(in_process(stores, HARDEN_ENFORCE, inside), 0);
	cr_assert_eq(in_process(resolves, HARDEN_ENFORCE, inside), 0);
	cr_assert_eq(in_process(fetches, HARDEN_ENFORCE, inside), 0);
	/* Its folders are made as it goes on. */
	*slash = '\0';
	cr_assert_eq(in_process(asks, HARDEN_ENFORCE, tmp), 0);
	*slash = '/';
	tmpdir_remove(tmp);
}
