/* stop: SIGTERM and SIGINT, as something that any thread can wait for. */
#ifndef NODE_AGENT_STOP_H
#define NODE_AGENT_STOP_H

#include <stdbool.h>

#include "common/base/err.h"

/* stop_init blocks both signals and starts the thread that takes them.
 * Call it before any other thread is made. */
enum err stop_init(void);

/* stop_wait waits `ms`, or without end if 0; true if the program is to
 * end, which it also tells at once when that was asked before. */
bool stop_wait(unsigned ms);

#endif
