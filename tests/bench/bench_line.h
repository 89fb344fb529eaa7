/* bench_line: one measurement, as one JSON object on one line. */
#ifndef TESTS_BENCH_BENCH_LINE_H
#define TESTS_BENCH_BENCH_LINE_H

#include <stdio.h>

/* {"name","value","unit":"us","floor","ratio"}: ratio = floor / value. */
void bench_line_time(
    FILE *json, const char *name, double value_us, double floor_us);
/* The same with unit "1/s": ratio = value / floor.  Both ways 1.0 is the
 * limit, and less is what could be gained. */
void bench_line_rate(
    FILE *json, const char *name, double per_second, double floor);

/* bench_table shows such lines to people.  The text is consumed. */
void bench_table(FILE *to, char *lines);

/* Microseconds of CLOCK_MONOTONIC. */
double bench_now_us(void);

#endif
