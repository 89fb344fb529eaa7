/* pem: certificates out of PEM text, strictly. */
#ifndef COMMON_ATTEST_PEM_H
#define COMMON_ATTEST_PEM_H

#include "common/base/buf.h"
#include "common/base/limits.h"

/* pem_next decodes the next certificate of the text and moves `pem` behind
 * it.  ERR_NOTFOUND at the end; between certificates only white space may
 * stand, and after the last a NUL (tdx-dcap.md 1.5).  ERR_MALFORMED. */
enum err pem_next(
    uint8_t der[static LIMIT_CERT], size_t *der_len, struct bytes *pem);

#endif
