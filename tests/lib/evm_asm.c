#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "tests/lib/evm_asm.h"

#define LABELS 16
#define CODE_MAX (1u << 20)

static const char *const name[256] = {
	[0x00] = "STOP",
	"ADD",
	"MUL",
	"SUB",
	"DIV",
	"SDIV",
	"MOD",
	"SMOD",
	"ADDMOD",
	"MULMOD",
	"EXP",
	"SIGNEXTEND",
	[0x10] = "LT",
	"GT",
	"SLT",
	"SGT",
	"EQ",
	"ISZERO",
	"AND",
	"OR",
	"XOR",
	"NOT",
	"BYTE",
	"SHL",
	"SHR",
	"SAR",
	[0x20] = "KECCAK256",
	[0x30] = "ADDRESS",
	"BALANCE",
	"ORIGIN",
	"CALLER",
	"CALLVALUE",
	"CALLDATALOAD",
	"CALLDATASIZE",
	"CALLDATACOPY",
	"CODESIZE",
	"CODECOPY",
	"GASPRICE",
	"EXTCODESIZE",
	"EXTCODECOPY",
	"RETURNDATASIZE",
	"RETURNDATACOPY",
	"EXTCODEHASH",
	"BLOCKHASH",
	"COINBASE",
	"TIMESTAMP",
	"NUMBER",
	"PREVRANDAO",
	"GASLIMIT",
	"CHAINID",
	"SELFBALANCE",
	"BASEFEE",
	"BLOBHASH",
	"BLOBBASEFEE",
	[0x50] = "POP",
	"MLOAD",
	"MSTORE",
	"MSTORE8",
	"SLOAD",
	"SSTORE",
	"JUMP",
	"JUMPI",
	"PC",
	"MSIZE",
	"GAS",
	"JUMPDEST",
	"TLOAD",
	"TSTORE",
	"MCOPY",
	"PUSH0",
	[0x80] = "DUP1",
	"DUP2",
	"DUP3",
	"DUP4",
	"DUP5",
	"DUP6",
	"DUP7",
	"DUP8",
	"DUP9",
	"DUP10",
	"DUP11",
	"DUP12",
	"DUP13",
	"DUP14",
	"DUP15",
	"DUP16",
	"SWAP1",
	"SWAP2",
	"SWAP3",
	"SWAP4",
	"SWAP5",
	"SWAP6",
	"SWAP7",
	"SWAP8",
	"SWAP9",
	"SWAP10",
	"SWAP11",
	"SWAP12",
	"SWAP13",
	"SWAP14",
	"SWAP15",
	"SWAP16",
	"LOG0",
	"LOG1",
	"LOG2",
	"LOG3",
	"LOG4",
	[0xf0] = "CREATE",
	"CALL",
	"CALLCODE",
	"RETURN",
	"DELEGATECALL",
	"CREATE2",
	[0xfa] = "STATICCALL",
	[0xfd] = "REVERT",
	"INVALID",
	"SELFDESTRUCT",
};

const char *
evm_asm_name(uint8_t op)
{
	return name[op] != NULL ? name[op] : "0x..";
}

struct label {
	char name[24];
	size_t at; /* of the instruction, or of the two bytes to fill in */
};

static void
put(struct buf *b, const void *p, size_t len)
{
	enum err e = buf_append(b, p, len, CODE_MAX);

	assert(e == ERR_OK);
}

static void
put_u8(struct buf *b, uint8_t v)
{
	put(b, &v, 1);
}

/* Text of digits to hex of whole bytes; decimal numbers are below 2^64. */
static void
push(struct buf *b, const char *w)
{
	uint8_t v[32];
	char hex[66];
	size_t n;

	if (w[0] == '0' && w[1] == 'x')
		(void)snprintf(hex, sizeof hex, "%s%s",
		    strlen(w) % 2 != 0 ? "0" : "", w + 2);
	else
		(void)snprintf(
		    hex, sizeof hex, "%02llx", strtoull(w, NULL, 10));
	if (strlen(hex) % 2 != 0) {
		memmove(hex + 1, hex, strlen(hex) + 1);
		hex[0] = '0';
	}
	n = strlen(hex) / 2;
	if (n == 1 && strcmp(hex, "00") == 0) {
		put_u8(b, 0x5f);
		return;
	}
	assert(n <= 32 && hex_fixed(v, n, hex) == ERR_OK);
	put_u8(b, (uint8_t)(0x5f + n));
	put(b, v, n);
}

static void
raw(struct buf *b, const char *hex)
{
	size_t n = strlen(hex) / 2;
	uint8_t *v = malloc(n + 1);
	enum err e;

	assert(v != NULL);
	e = hex_fixed(v, n, hex);
	assert(e == ERR_OK);
	put(b, v, n);
	free(v);
}

static void
instruction(struct buf *b, const char *w)
{
	for (unsigned op = 0; op < 256; op++)
		if (name[op] != NULL && strcmp(name[op], w) == 0) {
			put_u8(b, (uint8_t)op);
			return;
		}
	(void)fprintf(stderr, "evm_asm: what is '%s'?\n", w);
	abort();
}

static void
add(struct label *l, size_t *n, const char *w, size_t len, size_t at)
{
	assert(*n < LABELS && len < sizeof l->name);
	memcpy(l[*n].name, w, len);
	l[*n].name[len] = '\0';
	l[(*n)++].at = at;
}

void
evm_asm(struct buf *out, const char *text)
{
	struct label label[LABELS], use[LABELS];
	size_t n_label = 0, n_use = 0;
	char *copy = strdup(text), *save = NULL;

	assert(copy != NULL);
	out->len = 0;
	for (char *w = strtok_r(copy, " \t\n", &save); w != NULL;
	     w = strtok_r(NULL, " \t\n", &save)) {
		size_t len = strlen(w);

		if (w[len - 1] == ':') {
			add(label, &n_label, w, len - 1, out->len);
		} else if (w[0] == '@') {
			put(out, "\x61\0\0", 3);
			add(use, &n_use, w + 1, len - 1, out->len - 2);
		} else if (w[0] == '#') {
			raw(out, w + 1);
		} else if (w[0] >= '0' && w[0] <= '9') {
			push(out, w);
		} else {
			instruction(out, w);
		}
	}
	for (size_t i = 0; i < n_use; i++) {
		size_t k = 0;

		while (k < n_label && strcmp(label[k].name, use[i].name) != 0)
			k++;
		assert(k < n_label);
		out->p[use[i].at] = (uint8_t)(label[k].at >> 8);
		out->p[use[i].at + 1] = (uint8_t)label[k].at;
	}
	free(copy);
}
