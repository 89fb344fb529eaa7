/* admin: what a KMS node's admin listener answers, and an agent's socket. */
#ifndef KMS_CTL_ADMIN_H
#define KMS_CTL_ADMIN_H

#include "common/base/json.h"

/* admin_get fetches base || path.  ERR_IO, ERR_TIMEOUT: nobody answers;
 * ERR_PHASE: an answer other than 200 (status 404, 409, 503 and so on);
 * ERR_MALFORMED: not JSON. */
enum err admin_get(
    json_t **out, const char *base, const char *path, unsigned timeout_ms);

/* admin_post orders base || path; the errors of admin_get, but any body. */
enum err admin_post(const char *base, const char *path, unsigned timeout_ms);

/* admin_agent posts a request to an agent's socket; whatever the HTTP
 * status, the JSON that came.  `secret` is for replies that hold keys: all
 * copies but `*out` are wiped, and that needs json_wipe. */
enum err admin_agent(json_t **out, const char *socket, const char *method,
    const json_t *request, unsigned timeout_ms, bool secret);

#endif
