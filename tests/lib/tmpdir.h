/* tmpdir: a fresh folder for one test, removed at its end. */
#ifndef TESTS_LIB_TMPDIR_H
#define TESTS_LIB_TMPDIR_H

/* tmpdir_new returns a new folder's path (the caller frees it). */
char *tmpdir_new(void);
/* tmpdir_remove deletes it with all that is inside, and frees the path. */
void tmpdir_remove(char *path);

#endif
