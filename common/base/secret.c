#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <sodium.h>

#include "common/base/ct.h"
#include "common/base/secret.h"

void *
secret_new(size_t len)
{
	void *p = sodium_malloc(len);

	if (p != NULL)
		memset(p, 0, len);
	return p;
}

void
secret_free(void *p)
{
	sodium_free(p);
}

/* A failing mprotect on our own pages is a bug, not an input. */
static void
must(int rc)
{
	if (rc != 0)
		sodium_misuse();
}

void
secret_lock(void *p)
{
	must(sodium_mprotect_noaccess(p));
}

void
secret_open_ro(void *p)
{
	must(sodium_mprotect_readonly(p));
}

void
secret_open_rw(void *p)
{
	must(sodium_mprotect_readwrite(p));
}

void
secret_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

/* More than the deepest of them uses: CTIME_DEPTH=1 in tests/ctime. */
#define STACK_WIPED 16384

#ifdef __x86_64__

/* memcpy and the ciphers work in vector registers, and what these held last is
 * in a core, too: each thread's are in its notes. */
static inline void
wipe_vectors(void)
{
	/* The compiler itself uses none of the upper sixteen, but glibc does. */
	if (__builtin_cpu_supports("avx512vl"))
		__asm__ volatile(".irp n,16,17,18,19,20,21,22,23,24,25,26,27,"
				 "28,29,30,31\n\t"
				 "vpxord %xmm\\n, %xmm\\n, %xmm\\n\n\t"
				 ".endr");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall" ::
				     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
				 "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
				 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
				 "xmm15");
}

#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)

/* Right below the return address: a function with a frame of its own would
 * leave out what its frame has in its gaps. */
__attribute__((naked, noinline)) static void
wipe_below(void)
{
	__asm__("sub $" TEXT_OF(
	    STACK_WIPED) ", %rsp\n\t"
			 "mov %rsp, %rdi\n\t"
			 "xor %eax, %eax\n\t"
			 "mov $" TEXT_OF(
			     STACK_WIPED) " / 8, %ecx\n\t"
					  "rep stosq\n\t"
					  "add $" TEXT_OF(
					      STACK_WIPED) ", %rsp\n\t"
							   "ret");
}

void
secret_wipe_stack(void)
{
	wipe_vectors();
	wipe_below(); /* last, and so a jump */
}

#else

void
secret_wipe_stack(void)
{
	sodium_stackzero(STACK_WIPED);
}

#endif

bool
secret_equal(const void *a, const void *b, size_t len)
{
	bool same = sodium_memcmp(a, b, len) == 0;

	CT_PUBLIC(same); /* That is what is asked for; where is not told. */
	return same;
}

void
secret_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

enum err
secret_process_init(void)
{
	const struct rlimit none = { 0, 0 };

	if (sodium_init() < 0)
		return ERR_IO;
	(void)umask(077);
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return ERR_IO;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_IO;
	return ERR_OK;
}
