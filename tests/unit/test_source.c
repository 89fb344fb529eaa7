/* Who is one source, and who is two. */
#include <arpa/inet.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/net/source.h"

struct source {
	uint8_t b[SOURCE_LEN];
};

static struct source
of(const char *text)
{
	struct source s;
	uint8_t a[16];

	memset(&s, 0xee, sizeof s);
	if (inet_pton(AF_INET, text, a) == 1) {
		source_ip4(s.b, a);
	} else {
		cr_assert_eq(inet_pton(AF_INET6, text, a), 1);
		source_ip6(s.b, a);
	}
	return s;
}

static bool
one(const char *a, const char *b)
{
	struct source x = of(a), y = of(b);

	return memcmp(&x, &y, sizeof x) == 0;
}

Test(source, two)
{
	cr_assert_not(one("192.0.2.1", "192.0.2.2"));
	cr_assert_not(one("192.0.2.1", "192.0.3.1"));
	cr_assert_not(one("2001:db8:0:1::1", "2001:db8:0:2::1"));
	cr_assert_not(one("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
	/* The same bytes, of another family; no mapped address. */
	cr_assert_not(one("192.0.2.1", "c000:201::"));
	cr_assert_not(one("::fffe:192.0.2.1", "192.0.2.1"));
	cr_assert_not(one("::192.0.2.1", "192.0.2.1"));
}

Test(source, one)
{
	cr_assert(one("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"));
	cr_assert(one("::ffff:192.0.2.1", "192.0.2.1"));
}
