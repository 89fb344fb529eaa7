/* bench_socket: calls at an agent's socket, beside a server that does
 * nothing. */
#ifndef TESTS_BENCH_BENCH_SOCKET_H
#define TESTS_BENCH_BENCH_SOCKET_H

#include <stdio.h>

#include "common/base/err.h"

/* bench_socket calls Version, GetKey and Sign at the socket of a running
 * agent, with one client and with 64: lines as bench_line_rate makes them. */
enum err bench_socket(FILE *json, const char *path);

#endif
