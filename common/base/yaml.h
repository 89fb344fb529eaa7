/* yaml: strict reading of configuration files, over libcyaml.
 *
 * A key that the schema does not know, or a value of the wrong kind, is an
 * error that names the line. */
#ifndef COMMON_BASE_YAML_H
#define COMMON_BASE_YAML_H

#include <cyaml/cyaml.h>

#include "common/base/buf.h"

#define YAML_WHY_MAX 256

/* libcyaml reads any unknown word as true: use this enum with
 * CYAML_FIELD_ENUM(..., CYAML_FLAG_STRICT, ..., yaml_bools, 2). */
enum yaml_bool { YAML_FALSE, YAML_TRUE };
extern const cyaml_strval_t yaml_bools[2];

/* yaml_parse loads one document by `schema` (a CYAML_FLAG_POINTER mapping)
 * into `*out`, which the caller yaml_release()s.
 * ERR_CONFIG: `why` says what is wrong and where. */
enum err yaml_parse(void **out, struct bytes text,
    const cyaml_schema_value_t *schema, char why[static YAML_WHY_MAX]);
/* (Not "free": libyaml exports a yaml_free of its own and would call ours.) */
void yaml_release(void *p, const cyaml_schema_value_t *schema);

#endif
