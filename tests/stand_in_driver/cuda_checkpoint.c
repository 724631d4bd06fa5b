/* The checkpoint API. */
#define _GNU_SOURCE
#include "cuda.h"
#include "files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int zeroed(const void *bytes, size_t size)
{
	for (size_t index = 0; index < size; index++)
		if (((const char *)bytes)[index])
			return 0;
	return 1;
}

CUresult cuCheckpointProcessGetState(int pid, int *state)
{
	int id = innermost(pid), found = state_of(id);
	CUresult result;

	if (!initialized)
		return NOT_INITIALIZED;
	if (found == NONE)
		return INVALID_VALUE;
	if ((result = told("get-state", id)) >= 0)
		return result;
	*state = found;
	return SUCCESS;
}

CUresult cuCheckpointProcessGetRestoreThreadId(int pid, int *tid)
{
	if (!initialized)
		return NOT_INITIALIZED;
	if (state_of(innermost(pid)) == NONE)
		return INVALID_VALUE;
	*tid = pid;
	return SUCCESS;
}

CUresult cuCheckpointProcessLock(int pid, struct lock_args *args)
{
	int id = innermost(pid);
	unsigned int waited = 0;
	char text[8];

	if (args && (args->reserved0 || !zeroed(args->reserved1, sizeof(args->reserved1))))
		return INVALID_VALUE;
	for (; state_of(id) == RUNNING && !read_file(text, sizeof(text), "%d.busy", id); waited += 5) {
		if (args && args->timeout_ms && waited >= args->timeout_ms)
			return done("lock", id, NOT_READY);
		rest(5);
	}
	return step("lock", pid, RUNNING, LOCKED);
}

CUresult cuCheckpointProcessCheckpoint(int pid, struct plain_args *args)
{
	char gpus[4096];
	CUresult result;

	if (args && !zeroed(args, sizeof(*args)))
		return INVALID_VALUE;
	if ((result = step("checkpoint", pid, LOCKED, CHECKPOINTED)) == SUCCESS && !read_file(gpus, sizeof(gpus), "gpus"))
		write_file(gpus, O_TRUNC, "%d.had", innermost(pid));
	return result;
}

static void hexadecimal(const unsigned char *uuid, char *text)
{
	for (int index = 0; index < 16; index++)
		snprintf(text + 2 * index, 3, "%02x", uuid[index]);
}

/* Say whether the pairs have every GPU that was there at the checkpoint: those that the process did not see too. */
static int all_mapped(int id, const struct restore_args *args)
{
	char text[4096] = "", old[33], *rest = text;

	read_file(text, sizeof(text), "%d.had", id);
	for (char *line; (line = strsep(&rest, "\n"));) {
		unsigned int index = 0;

		for (; *line && index < args->count; index++) {
			hexadecimal(args->pairs[index].old, old);
			if (!strcmp(line, old))
				break;
		}
		if (*line && index == args->count)
			return 0;
	}
	return 1;
}

/* Give the process the GPU that the pairs say; the new one must be here. */
static CUresult remap(int id, const struct restore_args *args)
{
	char has[33] = "", old[33], new[33];

	read_file(has, sizeof(has), "%d.gpu", id);
	if (!all_mapped(id, args))
		return INVALID_VALUE;
	for (unsigned int index = 0; index < args->count; index++) {
		hexadecimal(args->pairs[index].old, old);
		hexadecimal(args->pairs[index].new, new);
		if (!strcmp(has, old) && known_gpu(new)) {
			write_file(new, O_TRUNC, "%d.gpu", id);
			return SUCCESS;
		}
	}
	return INVALID_VALUE;
}

CUresult cuCheckpointProcessRestore(int pid, struct restore_args *args)
{
	int id = innermost(pid);

	if (args && (!zeroed(args->reserved, sizeof(args->reserved)) || args->reserved1))
		return INVALID_VALUE;
	if (args && args->count && state_of(id) == CHECKPOINTED && remap(id, args) != SUCCESS)
		return done("restore", id, INVALID_VALUE);
	return step("restore", pid, CHECKPOINTED, LOCKED);
}

CUresult cuCheckpointProcessUnlock(int pid, struct plain_args *args)
{
	if (args && !zeroed(args, sizeof(*args)))
		return INVALID_VALUE;
	return step("unlock", pid, LOCKED, RUNNING);
}
