/* abi: Solidity's contract ABI, strict reading and plain writing.
 *
 * docs.soliditylang.org, "Contract ABI Specification".  The specification
 * allows many encodings of one value; only the one that the compiler itself
 * writes is accepted: offsets in order and without gaps, padding zero, no
 * byte left over, booleans 0 or 1.  Everything else is ERR_MALFORMED, and
 * outputs are untouched then.  Results are borrowed from the input. */
#ifndef COMMON_ETH_ABI_H
#define COMMON_ETH_ABI_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

#define ABI_WORD 32
#define ABI_MEMBERS_MAX 8

/* One static value: exactly one word. */
enum err abi_get_bool(bool *out, struct bytes in);
enum err abi_get_address(uint8_t out[static 20], struct bytes in);
enum err abi_get_bytes32(uint8_t out[static 32], struct bytes in);
/* A uint256 below 2^64; a larger one is ERR_LIMIT. */
enum err abi_get_u64(uint64_t *out, struct bytes in);

/* abi_get_dynamic reads `n` members of type bytes or string (at most
 * ABI_MEMBERS_MAX), e.g. (bytes,bytes,bytes,bytes). */
enum err abi_get_dynamic(struct bytes *out, size_t n, struct bytes in);
/* (bool,string). */
enum err abi_get_bool_string(bool *flag, struct bytes *text, struct bytes in);

/* abi_text makes bytes that claim to be text fit to show: cut to `cap` - 1
 * bytes, everything outside printable ASCII replaced by '?'. */
void abi_text(char *out, size_t cap, struct bytes in);

/* Writing, one word or one padded byte string after the other. */
enum err abi_put_u64(struct buf *out, uint64_t v, size_t max);
enum err abi_put_address(
    struct buf *out, const uint8_t a[static 20], size_t max);
enum err abi_put_bytes32(
    struct buf *out, const uint8_t v[static 32], size_t max);
/* The length word, the bytes, zeros up to a whole word. */
enum err abi_put_bytes(struct buf *out, const void *p, size_t len, size_t max);
/* How many bytes abi_put_bytes writes. */
size_t abi_bytes_size(size_t len);

#endif
