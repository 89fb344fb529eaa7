/* callwords: what a call means, for those who are to vote on it or to sign
 * it with a key that shows them bytes only. */
#ifndef KMS_CTL_CALLWORDS_H
#define KMS_CTL_CALLWORDS_H

#include "common/base/buf.h"

#define CALLWORDS_MAX 512

/* callwords writes "orderRotation(mode emergency, not before -, ...)"; of a
 * call that it does not know, the selector and how many bytes follow. */
void callwords(char out[static CALLWORDS_MAX], struct bytes data);

#endif
