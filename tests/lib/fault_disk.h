/* fault_disk: writes to files that fail, stop half-way or end the process.
 *
 * This stands before libc's pwrite, writev and fdatasync in every test
 * binary, and lets all through until armed.  Only regular files count. */
#ifndef TESTS_LIB_FAULT_DISK_H
#define TESTS_LIB_FAULT_DISK_H

enum fault {
	FAULT_NONE,
	FAULT_ERROR, /* returns -1 with the given errno */
	FAULT_SHORT, /* writes half of it, and says so */
	FAULT_KILL, /* kill -9 before the call */
	FAULT_TEAR, /* writes half of it, then kill -9 */
};

/* fault_arm makes calls number `nth` (from 1, counted from now on) to
 * `nth + times - 1` fail; `error` is for FAULT_ERROR. */
void fault_arm(enum fault what, int error, unsigned nth, unsigned times);
/* fault_calls disarms and tells how many calls there were since. */
unsigned fault_calls(void);

#endif
