/* The sponges: Keccak as Ethereum has it, and FIPS 202's SHA-3. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>

#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"
#include "tests/lib/facts.h"

/* Around the ends of one and two blocks the answers are those of another
 * implementation, and never those of SHA3-256 (the same sponge, padded
 * differently). */
Test(keccak, block_ends)
{
	static const struct {
		size_t len;
		const char *hash;
	} t[] = {
		{ 135,
		    "03c527855334eb2e62b3b9b4d02ab76721707d3dde5fb218369640ee2e"
		    "dc7f3a" },
		{ 136,
		    "ddc757d2caa82320e140f35833c18e8cc3b230b2b9a48def3d98461ffa"
		    "e81716" },
		{ 137,
		    "37a14cb79c82d4b7d837a3f8ea134a324b138a5e4e3bb0814b75e52b17"
		    "975b9c" },
		{ 271,
		    "6913adec7e366aaa82b47e65fa86e20416f3ca3bee8d3651b4b1e61a8e"
		    "533ed1" },
		{ 272,
		    "55f08c872f52ae47a17f2ed98203965fe6361a0a3036291c800eaec1fe"
		    "fe1a7e" },
		{ 273,
		    "b207ec510b45402a9292f0d5abfe1ad018fe2aedcfbb7514e81333f8b3"
		    "3306e1" },
	};
	uint8_t in[300], h[32], g[32];
	unsigned n = 32;

	memset(in, 0x5a, sizeof in);
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		keccak256(h, in, t[i].len);
		cr_assert(facts_eq(h, 32, t[i].hash));
		cr_assert(
		    EVP_Digest(in, t[i].len, g, &n, EVP_sha3_256(), NULL));
		cr_assert_neq(memcmp(h, g, 32), 0);
	}
}

/* The wider forms, around the ends of their blocks, as another implementation
 * has them; SHA-3 of the same width is something else. */
Test(keccak, wide)
{
	static const struct {
		size_t out, len;
		const char *hash;
	} t[] = {
		{ 48, 0,
		    "2c23146a63a29acf99e73b88f8c24eaa7dc60aa771780ccc006afbfa8f"
		    "e2479b2dd2b21362337441ac12b515911957ff" },
		{ 48, 103,
		    "4fca02197a6e0211dff58a33bc64ab546c14a0557244f168d621e45c78"
		    "f284cc7e5223846859e95fcae9db264253120f" },
		{ 48, 104,
		    "d8026e54b8117301e17d3563e888d32345bfe6843f8c391e2fb302f084"
		    "2ec9922fc5cced66f15d181ade024e79109efe" },
		{ 48, 105,
		    "e55fbe8f302e13ff74491a1075378ab794109e1e7a47171da908b74df0"
		    "bf01930d5eda1d14cff786289f922d0b231339" },
		{ 48, 208,
		    "167596e23fe503e4d345698e4cb22498b651775b97be70afa6ca8884b1"
		    "04193b9447d17ca38c41f8dea72853828cd4cf" },
		{ 64, 0,
		    "0eab42de4c3ceb9235fc91acffe746b29c29a8c366b7c60e4e67c466f3"
		    "6a4304c00fa9caf9d87976ba469bcbe06713b435f091ef2769fb160cda"
		    "b33d3670680e" },
		{ 64, 71,
		    "c1ce327ad0fb2b9e826388f9087b9e8f472ec5a2a050aa4d3bd3a3f0ba"
		    "7d49129b42ed70bdc08753b65433d734b74c867e860605325e208efa5c"
		    "43be27ae0bf7" },
		{ 64, 72,
		    "dff82cf104736c50c5bfcd2b2f9fb6dd7f0f00ebd07d38341cee5aa907"
		    "3dee3334b2da69206711f97e7dc85ba996c876af230e2bab55d4455621"
		    "8c48f0f8780a" },
		{ 64, 73,
		    "adaa329131ba4b7b383547e7d81619de15e4b2844049d36f0ea572b76d"
		    "3612787df40f4946a10d5ea407c718711b82d252e33f3797e141456bd3"
		    "138b7ea46b97" },
		{ 64, 144,
		    "d519fa13bc95da3a294b7613bcf3684c52a867c9e86866d6464b00473f"
		    "6c44027f9d45e6bd9a7f4809f08da3204c85970490a5a2becd164e9cc3"
		    "8d5a97e56e51" },
	};
	uint8_t in[300], h[64], g[64];

	memset(in, 0x5a, sizeof in);
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		const struct bytes part[] = { { in, t[i].len / 2 },
			{ in, t[i].len - t[i].len / 2 } };

		if (t[i].out == 48) {
			keccak384_v(h, part, 2);
			sha3_384_v(g, part, 2);
		} else {
			keccak512_v(h, part, 2);
			sha3_512_v(g, part, 2);
		}
		cr_assert(facts_eq(h, t[i].out, t[i].hash));
		cr_assert_neq(memcmp(h, g, t[i].out), 0);
	}
}

/* FIPS 202's examples of "abc". */
Test(sha3, abc)
{
	const struct bytes part[] = { BYTES_STR("a"), BYTES_STR("bc") };
	uint8_t h[64];

	sha3_256_v(h, part, 2);
	cr_assert(facts_eq(h, 32,
	    "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe2451143153"
	    "2"));
	sha3_384_v(h, part, 2);
	cr_assert(facts_eq(h, 48,
	    "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298"
	    "d88cea927ac7f539f1edf228376d25"));
	sha3_512_v(h, part, 2);
	cr_assert(facts_eq(h, 64,
	    "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10"
	    "e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"));
}
