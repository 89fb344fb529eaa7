#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "kms/gate/standard.h"

/* Implementations that proxies had at the block before are asked for along
 * with the proxies: the KMS's and that of most apps. */
#define SEEN 4u

struct standard {
	struct witness *w; /* borrows */
	uint8_t kms[20];
	struct standard_code code[STANDARD_CODES_MAX];
	unsigned n;

	pthread_mutex_t lock;
	uint8_t seen[SEEN][20];
	unsigned n_seen;
};

/* Slots of DstackKms and DstackApp. */
enum {
	KMS_REGISTERED = 5,
	KMS_MRS = 6,
	KMS_DEVICES = 7,
	KMS_IMAGES = 8,
	APP_COMPOSE = 0,
	APP_FLAGS = 1, /* byte 1: allowAnyDevice */
	APP_DEVICES = 2,
	APP_TCB = 3,
};

/* keccak256("eip1967.proxy.implementation") - 1. */
const uint8_t standard_implementation_slot[32] = { 0x36, 0x08, 0x94, 0xa1, 0x3b,
	0xa1, 0xa3, 0x21, 0x06, 0x67, 0xc8, 0x28, 0x49, 0x2d, 0xb9, 0x8d, 0xca,
	0x3e, 0x20, 0x76, 0xcc, 0x37, 0x35, 0xa9, 0x20, 0xa3, 0xca, 0x50, 0x5d,
	0x38, 0x2b, 0xbc };

static const char *const roles[] = { [STANDARD_PROXY] = "proxy",
	[STANDARD_KMS] = "kms",
	[STANDARD_APP] = "app" };

const char *
standard_role_text(enum standard_role role)
{
	return roles[role];
}

enum err
standard_code_parse(struct standard_code *out, const char *text)
{
	const char *colon = strchr(text, ':');
	uint8_t hash[32];

	if (colon == NULL || hex_fixed(hash, 32, colon + 1) != ERR_OK)
		return ERR_MALFORMED;
	for (unsigned i = 0; i < sizeof roles / sizeof roles[0]; i++)
		if (strlen(roles[i]) == (size_t)(colon - text) &&
		    strncmp(roles[i], text, strlen(roles[i])) == 0) {
			out->role = (enum standard_role)i;
			memcpy(out->hash, hash, sizeof hash);
			return ERR_OK;
		}
	return ERR_MALFORMED;
}

enum err
standard_new(struct standard **out, struct witness *w,
    const uint8_t kms[static 20], const struct standard_code *code, unsigned n)
{
	struct standard *s;

	if (n > STANDARD_CODES_MAX)
		return ERR_LIMIT;
	if ((s = calloc(1, sizeof *s)) == NULL)
		return ERR_NOMEM;
	s->w = w;
	memcpy(s->kms, kms, sizeof s->kms);
	memcpy(s->code, code, n * sizeof *code);
	s->n = n;
	(void)pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return ERR_OK;
}

void
standard_free(struct standard *s)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

static bool
has_role(const struct standard *s, enum standard_role role,
    const uint8_t hash[static 32])
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->code[i].role == role &&
		    memcmp(s->code[i].hash, hash, 32) == 0)
			return true;
	return false;
}

/* ---- what to ask for ---- */

static void
plain_slot(uint8_t out[static 32], uint8_t number)
{
	memset(out, 0, 32);
	out[31] = number;
}

/* Of mapping `number`, at a key of at most 32 bytes. */
static void
map_slot(uint8_t out[static 32], uint8_t number, const uint8_t *key, size_t len)
{
	uint8_t in[64] = { 0 };

	memcpy(in + 32 - len, key, len);
	in[63] = number;
	keccak256(out, in, sizeof in);
}

static uint8_t *
next_slot(struct stateask_want *want)
{
	return want->slot[want->n_slots++];
}

static struct stateask_want
want_contract(const uint8_t address[static 20])
{
	struct stateask_want want = { .n_slots = 0 };

	memcpy(want.address, address, 20);
	memcpy(next_slot(&want), standard_implementation_slot, 32);
	return want;
}

static unsigned
want_seen(struct standard *s, struct stateask_want want[static SEEN])
{
	unsigned n;

	(void)pthread_mutex_lock(&s->lock);
	n = s->n_seen < SEEN ? s->n_seen : SEEN;
	for (unsigned i = 0; i < n; i++) {
		memcpy(want[i].address, s->seen[i], 20);
		want[i].code = false;
		want[i].n_slots = 0;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}

static void
note_seen(struct standard *s, const uint8_t address[static 20])
{
	unsigned i = 0;

	(void)pthread_mutex_lock(&s->lock);
	while (
	    i < s->n_seen && i < SEEN && memcmp(s->seen[i], address, 20) != 0)
		i++;
	if (i == s->n_seen || i == SEEN)
		memcpy(s->seen[s->n_seen++ % SEEN], address, 20);
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- which code it is ---- */

/* code_of finds the hash of the code that answers at `address`: its own, or if
 * that is a proxy's, its implementation's. */
static enum err
code_of(struct standard *s, struct world *world,
    const uint8_t address[static 20], uint8_t hash[static 32],
    struct refusal *why)
{
	struct stateask_want want = want_contract(address);
	struct stateproof_account a;
	uint8_t impl[32];
	enum err e;

	if ((e = witness_fetch(s->w, world, &want, 1, why)) != ERR_OK ||
	    (e = world_account(world, &a, address)) != ERR_OK)
		return e;
	if (has_role(s, STANDARD_PROXY, a.code_hash)) {
		e = world_slot(
		    world, impl, address, standard_implementation_slot);
		if (e != ERR_OK)
			return e;
		memcpy(want.address, impl + 12, 20);
		want.n_slots = 0;
		note_seen(s, want.address);
		e = witness_fetch(s->w, world, &want, 1, why);
		if (e == ERR_OK)
			e = world_account(world, &a, want.address);
		if (e != ERR_OK)
			return e;
	}
	memcpy(hash, a.code_hash, 32);
	return ERR_OK;
}

static enum err
check_kms(struct standard *s, struct world *world, struct refusal *why)
{
	uint8_t hash[32];
	char hex[65];
	enum err e = code_of(s, world, s->kms, hash, why);

	if (e != ERR_OK || has_role(s, STANDARD_KMS, hash))
		return e;
	(void)refuse(why, REASON_CHAIN_CODE,
	    "the KMS contract runs code 0x%s, not in chain.code_hashes",
	    hex_encode(hex, hash, 32));
	return ERR_AGAIN;
}

enum err
standard_check_kms(
    struct standard *s, const struct chain_block *at, struct refusal *why)
{
	struct world *world;
	enum err e = witness_world(s->w, &world, at, why);

	if (e != ERR_OK)
		return e;
	e = check_kms(s, world, why);
	world_unref(world);
	return e;
}

/* ---- what it says ---- */

struct reading {
	struct world *world;
	const uint8_t *address;
	enum err e; /* sticky */
};

static void
word(struct reading *r, uint8_t out[static 32], const uint8_t slot[static 32])
{
	memset(out, 0, 32);
	if (r->e == ERR_OK)
		r->e = world_slot(r->world, out, r->address, slot);
}

/* Solidity's bool: the lowest byte of its place. */
static bool
listed(struct reading *r, uint8_t number, const uint8_t *key, size_t len)
{
	uint8_t slot[32], v[32];

	map_slot(slot, number, key, len);
	word(r, v, slot);
	return v[31] != 0;
}

static bool
flag(struct reading *r, uint8_t number, unsigned byte)
{
	uint8_t slot[32], v[32];

	plain_slot(slot, number);
	word(r, v, slot);
	return v[31 - byte] != 0;
}

/* NULL: allowed. */
static const char *
kms_says(struct reading *r, const struct boot_info *bi)
{
	if (bi->tcb_status != TCB_UP_TO_DATE)
		return "TCB status is not up to date";
	if (!listed(r, KMS_IMAGES, bi->os_image_hash, 32))
		return "OS image is not allowed";
	if (!listed(r, KMS_MRS, bi->mr_aggregated, 32))
		return "Aggregated MR not allowed";
	if (!listed(r, KMS_DEVICES, bi->device_id, 32))
		return "KMS is not allowed to boot on this device";
	return NULL;
}

static const char *
app_says(struct reading *r, const struct boot_info *bi)
{
	if (flag(r, APP_TCB, 0) && bi->tcb_status != TCB_UP_TO_DATE)
		return "TCB status is not up to date";
	if (!listed(r, APP_COMPOSE, bi->compose_hash, 32))
		return "Compose hash not allowed";
	if (!flag(r, APP_FLAGS, 1) &&
	    !listed(r, APP_DEVICES, bi->device_id, 32))
		return "Device not allowed";
	return NULL;
}

static enum err
say(const struct reading *r, const char *text, struct refusal *why)
{
	if (r->e != ERR_OK || text == NULL)
		return r->e;
	return refuse(why, reason_from_contract(text), "%s", text);
}

static enum err
decide_kms(struct standard *s, struct world *world, const struct boot_info *bi,
    struct refusal *why)
{
	struct stateask_want want[1 + SEEN] = { want_contract(s->kms) };
	struct reading r = { .world = world, .address = s->kms };
	unsigned n = 1 + want_seen(s, want + 1);
	enum err e;

	map_slot(next_slot(want), KMS_IMAGES, bi->os_image_hash, 32);
	map_slot(next_slot(want), KMS_MRS, bi->mr_aggregated, 32);
	map_slot(next_slot(want), KMS_DEVICES, bi->device_id, 32);
	if ((e = witness_fetch(s->w, world, want, n, why)) != ERR_OK ||
	    (e = check_kms(s, world, why)) != ERR_OK)
		return e;
	return say(&r, kms_says(&r, bi), why);
}

/* Both contracts' slots at once. */
static enum err
fetch_app(struct standard *s, struct world *world, const struct boot_info *bi,
    struct refusal *why)
{
	struct stateask_want want[2 + SEEN] = { want_contract(s->kms),
		want_contract(bi->app_id) };
	unsigned n = 2 + want_seen(s, want + 2);

	map_slot(next_slot(&want[0]), KMS_REGISTERED, bi->app_id, 20);
	map_slot(next_slot(&want[0]), KMS_IMAGES, bi->os_image_hash, 32);
	map_slot(next_slot(&want[1]), APP_COMPOSE, bi->compose_hash, 32);
	map_slot(next_slot(&want[1]), APP_DEVICES, bi->device_id, 32);
	plain_slot(next_slot(&want[1]), APP_FLAGS);
	plain_slot(next_slot(&want[1]), APP_TCB);
	return witness_fetch(s->w, world, want, n, why);
}

static enum err
decide_app(struct standard *s, struct world *world, const struct boot_info *bi,
    struct refusal *why)
{
	struct reading kms = { .world = world, .address = s->kms };
	struct reading app = { .world = world, .address = bi->app_id };
	struct stateproof_account a;
	uint8_t hash[32];
	enum err e;

	if ((e = fetch_app(s, world, bi, why)) != ERR_OK ||
	    (e = check_kms(s, world, why)) != ERR_OK)
		return e;
	if (!listed(&kms, KMS_REGISTERED, bi->app_id, 20))
		return say(&kms, "App not registered", why);
	if (!listed(&kms, KMS_IMAGES, bi->os_image_hash, 32))
		return say(&kms, "OS image is not allowed", why);
	if ((e = world_account(world, &a, bi->app_id)) != ERR_OK)
		return e;
	if (!a.exists || memcmp(a.code_hash, stateproof_no_code, 32) == 0)
		return say(&kms, "App not deployed or invalid address", why);
	if ((e = code_of(s, world, bi->app_id, hash, why)) != ERR_OK)
		return e;
	if (!has_role(s, STANDARD_APP, hash))
		return ERR_UNSUPPORTED;
	return say(&app, app_says(&app, bi), why);
}

enum err
standard_app(struct standard *s, const struct chain_block *at,
    const struct boot_info *bi, struct refusal *why)
{
	struct world *world;
	enum err e = witness_world(s->w, &world, at, why);

	if (e != ERR_OK)
		return e;
	e = decide_app(s, world, bi, why);
	world_unref(world);
	return e;
}

enum err
standard_kms(struct standard *s, const struct chain_block *at,
    const struct boot_info *bi, struct refusal *why)
{
	struct world *world;
	enum err e = witness_world(s->w, &world, at, why);

	if (e != ERR_OK)
		return e;
	e = decide_kms(s, world, bi, why);
	world_unref(world);
	return e;
}
