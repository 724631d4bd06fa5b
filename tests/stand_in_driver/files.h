/* The files by which tests tell the stand-in driver what there is, and see what it has done: in the directory that LLMUX_STAND_IN_CUDA names.
 * The stand-in for NVML looks there too: what processes have on GPUs is the same for both.
 */
#pragma once
#include <stddef.h>

#pragma GCC visibility push(hidden) /* two libraries of this may be in one process */

/* The directory, or NULL where there is none: then there is no driver. */
const char *directory(void);

/* Each `format` gives a name in the directory. -1: there is no such file. */
int read_file(char *text, size_t size, const char *format, ...);
void write_file(const char *text, int flags, const char *format, ...);
void rename_file(const char *from, const char *to);

/* The number that a file has; `otherwise` where it is not there. */
long number_in(const char *name, long otherwise);

/* Call for each file of allocations of this process (0: of any process) that is called `kind`. */
struct allocation { const char *path; int owner, number; };
void each_allocation(int id, const char *kind, void (*with)(const struct allocation *, void *), void *more);

/* The bytes of an allocation; -1 where its process has ended, in whatever PID namespace that was: its lock is gone with it. */
long bytes_held(const struct allocation *allocation);

/* Take so much time. */
void rest(long milliseconds);

#pragma GCC visibility pop
