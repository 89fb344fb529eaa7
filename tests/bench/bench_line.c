#include <string.h>
#include <time.h>

#include <jansson.h>

#include "tests/bench/bench_line.h"

static void
line(FILE *json, const char *name, double value, const char *unit, double floor,
    double ratio)
{
	(void)fprintf(json,
	    "{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"%s\","
	    "\"floor\":%.1f,\"ratio\":%.3f}\n",
	    name, value, unit, floor, ratio);
}

void
bench_line_time(FILE *json, const char *name, double value_us, double floor_us)
{
	line(json, name, value_us, "us", floor_us, floor_us / value_us);
}

void
bench_line_rate(FILE *json, const char *name, double per_second, double floor)
{
	line(json, name, per_second, "1/s", floor, per_second / floor);
}

void
bench_table(FILE *to, char *lines)
{
	char *rest = lines;

	(void)fprintf(to, "%-42s %10s %-4s %10s %6s\n", "", "measured", "unit",
	    "floor", "ratio");
	for (char *one; (one = strtok_r(rest, "\n", &rest)) != NULL;) {
		const char *name, *unit;
		double value, floor, ratio;
		json_t *o = json_loads(one, 0, NULL);

		if (json_unpack(o, "{s:s,s:F,s:s,s:F,s:F}", "name", &name,
			"value", &value, "unit", &unit, "floor", &floor,
			"ratio", &ratio) == 0)
			(void)fprintf(to, "%-42s %10.1f %-4s %10.1f %6.2f\n",
			    name, value, unit, floor, ratio);
		json_decref(o);
	}
}

double
bench_now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
