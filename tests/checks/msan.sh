#!/usr/bin/env bash
# For a build with SAN=memory: each function of the libraries that we call,
# by way of msan_library_call (msan.c).  Those that msan.c wraps itself come
# to it in the same way.  x86-64.
#
# usage: msan.sh OUT.S OUT.wrap: assembler, and options of the linker
set -eu -o pipefail
export LC_ALL=C
here=$(dirname "$0")
libs='curl jansson cyaml protobuf-c cbor lmdb secp256k1 sodium ssl crypto z raft'
own=$(${CC:-clang} -E -P -D_GNU_SOURCE -fsanitize=memory "$here/msan.c" |
    grep -oE '\bmsan_[A-Za-z0-9_]+' | sed 's/msan_//' | sort -u)
all=$(for l in $libs; do
	nm -D --defined-only "$(${CC:-clang} -print-file-name="lib$l.so")" |
	    sed -nE 's/^[^ ]+ T ([^@]*).*/\1/p'
done | sort -u)
{
	cat <<'S'
	.text
entry:	/* from a trampoline: our caller's stack begins 16 bytes up */
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %r8
	push %r9
	push %rax
	sub $24, %rsp
	movsd %xmm0, (%rsp)
	movsd %xmm1, 8(%rsp)
	lea 96(%rsp), %rdi
	call msan_library_call@PLT
	movsd (%rsp), %xmm0
	movsd 8(%rsp), %xmm1
	add $24, %rsp
	pop %rax
	pop %r9
	pop %r8
	pop %rcx
	pop %rdx
	pop %rsi
	pop %rdi
	ret
	.macro through name to
	.globl \name
	.type \name, @function
\name:	call entry
	jmp \to@PLT
	.endm
S
	comm -23 <(echo "$all") <(echo "$own") |
	    sed 's/.*/\tthrough __wrap_& __real_&/'
	comm -12 <(echo "$all") <(echo "$own") |
	    sed 's/.*/\tthrough __wrap_& msan_&/'
	echo '	.section .note.GNU-stack,"",@progbits'
} >"$1"
printf -- '--wrap=%s\n' malloc realloc $all >"$2"
