/* A STAND-IN for NVIDIA's libcuda.so.1, for tests: no GPU, no driver, nothing of NVIDIA's is in it.
 *
 * It has the checkpoint API's states, errors, delays and the locks' semantics as NVIDIA documents them
 * (docs.nvidia.com, CUDA Driver API, "CUDA Checkpointing"), and as much of the rest as a test's process needs to have CUDA state.
 * What it shows is that its callers keep to that documentation; it shows nothing about a GPU.
 *
 * All is kept in files of the directory that LLMUX_STAND_IN_CUDA names, each beginning with a process's id in its own
 * PID namespace (the innermost, since callers may be outside of it), so that tests read and change it:
 *   ID.state            running, locked, checkpointed, failed: there once the process has a context
 *   ID.gpu              the UUID of its GPU, 32 hexadecimal digits
 *   ID.had              the UUIDs of the GPUs that were there at its checkpoint, a line each
 *   ID.busy             while it is there the GPU is at work, and a lock waits
 *   ID.fail-CALL        a CUresult that CALL (get-state, lock, checkpoint, restore, unlock) answers with, and, after a blank, the state
 *                       that the process has then
 *   ID.delay-CALL       milliseconds that CALL takes
 *   ID.memory-N         the bytes of its allocation N, on its GPU, locked (flock) while it lives; they may be changed there, as by a bad restore
 *   ID.kept-N           the same while it is checkpointed: in host memory
 *   ID.lose, lose       bytes that its restores lose, or everybody's: each beginning of an allocation of that many is zeroed
 *   gpus                the UUIDs of the GPUs, a line each; one of zeros where it is not there
 *   gpu-bytes           what each GPU has; 8 GiB where it is not there
 *   version             what cuDriverGetVersion says; 13000 where it is not there
 *   init                what cuInit answers; 0 where it is not there
 *   log                 what has been done, a line each: CALL ID RESULT
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int CUresult;

enum {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	NO_DEVICE = 100,
	ILLEGAL_STATE = 401,
	NOT_READY = 600,
};

struct lock_args { unsigned int timeout_ms, reserved0; uint64_t reserved1[7]; };
struct gpu_pair { unsigned char old[16], new[16]; };
struct restore_args { struct gpu_pair *pairs; unsigned int count; char reserved[44]; uint64_t reserved1; };
struct plain_args { uint64_t reserved[8]; };

_Static_assert(sizeof(struct lock_args) == 64, "64 bytes, as documented");
_Static_assert(sizeof(struct restore_args) == 64, "64 bytes, as documented");
_Static_assert(sizeof(struct plain_args) == 64, "64 bytes, as documented");

static const char *const STATES[] = { "running", "locked", "checkpointed", "failed" };
enum { RUNNING, LOCKED, CHECKPOINTED, FAILED, NONE = -1 };

static int initialized;

static void rest(long milliseconds)
{
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

/* ---- the files ---- */

static int path_of(char *path, size_t size, const char *format, va_list list)
{
	const char *directory = getenv("LLMUX_STAND_IN_CUDA");
	int length;

	if (!directory)
		return -1;
	length = snprintf(path, size, "%s/", directory);
	vsnprintf(path + length, size - length, format, list);
	return 0;
}

static int read_file(char *text, size_t size, const char *format, ...)
{
	char path[4096];
	va_list list;
	ssize_t length;
	int fd, failed;

	va_start(list, format);
	failed = path_of(path, sizeof(path), format, list);
	va_end(list);
	if (failed || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	length = read(fd, text, size - 1);
	close(fd);
	text[length < 0 ? 0 : length] = '\0';
	return length < 0 ? -1 : 0;
}

static void write_file(const char *text, int flags, const char *format, ...)
{
	char path[4096];
	va_list list;
	int fd, failed;

	va_start(list, format);
	failed = path_of(path, sizeof(path), format, list);
	va_end(list);
	if (failed || (fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666)) < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

static long number_in(const char *name, long otherwise)
{
	char text[64];

	return read_file(text, sizeof(text), "%s", name) ? otherwise : strtol(text, NULL, 10);
}

/* ---- the processes ---- */

/* Return the id that a process has in its own PID namespace, or 0 where there is none. */
static int innermost(int pid)
{
	char path[64], line[256];
	int id = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!(file = fopen(path, "re")))
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "NSpid:", 6))
			for (char *word = strtok(line + 6, "\t \n"); word; word = strtok(NULL, "\t \n"))
				id = atoi(word);
	fclose(file);
	return id;
}

static int state_of(int id)
{
	char text[64];

	if (!id || read_file(text, sizeof(text), "%d.state", id))
		return NONE;
	for (int state = RUNNING; state <= FAILED; state++)
		if (!strncmp(text, STATES[state], strlen(STATES[state])))
			return state;
	return NONE;
}

/* By a rename: others read it all the time. */
static void become(int id, const char *state)
{
	const char *directory = getenv("LLMUX_STAND_IN_CUDA");
	char new[4096], path[4096];

	write_file(state, O_TRUNC, "%d.state.new", id);
	snprintf(new, sizeof(new), "%s/%d.state.new", directory ? directory : "", id);
	snprintf(path, sizeof(path), "%s/%d.state", directory ? directory : "", id);
	if (rename(new, path))
		perror(path);
}

static CUresult done(const char *call, int id, CUresult result)
{
	char line[128];

	snprintf(line, sizeof(line), "%s %d %d\n", call, id, result);
	write_file(line, O_APPEND, "log");
	return result;
}

/* Take the time that a test wants, and give the answer that it wants; -1: the one that is due. */
static CUresult told(const char *call, int id)
{
	char text[64], name[64], *state;
	CUresult result;

	snprintf(name, sizeof(name), "%d.delay-%s", id, call);
	rest(number_in(name, 0));
	if (read_file(text, sizeof(text), "%d.fail-%s", id, call))
		return -1;
	result = (CUresult)strtol(text, &state, 10);
	if (*state == ' ')
		become(id, state + 1);
	return result;
}

static void move_memory(int id, int from, int to);

static CUresult step(const char *call, int pid, int from, int to)
{
	int id = innermost(pid), state = state_of(id);
	CUresult result;

	if (!initialized)
		return NOT_INITIALIZED;
	if (state == NONE)
		return done(call, id, INVALID_VALUE);
	if ((result = told(call, id)) >= 0)
		return done(call, id, result);
	if (state != from)
		return done(call, id, ILLEGAL_STATE);
	move_memory(id, from, to);
	become(id, STATES[to]);
	return done(call, id, SUCCESS);
}

static int zeroed(const void *bytes, size_t size)
{
	for (size_t index = 0; index < size; index++)
		if (((const char *)bytes)[index])
			return 0;
	return 1;
}

/* ---- GPUs and their memory ---- */

static const char ZEROS[] = "00000000000000000000000000000000";

/* Return how many GPUs there are; the UUID of one of them goes into `uuid`, where that is wanted. */
static int gpus(int wanted, char uuid[33])
{
	char text[4096], *rest = text;
	int count = 0;

	if (read_file(text, sizeof(text), "gpus"))
		strcpy(text, ZEROS);
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (strlen(line) != 32)
			continue;
		if (uuid && count == wanted)
			memcpy(uuid, line, 33);
		count++;
	}
	return count;
}

/* Call for each file of allocations of this process (0: of any process) that is called `kind`. */
static void each_allocation(int id, const char *kind, void (*with)(const char *, int, const char *, void *), void *more)
{
	const char *directory = getenv("LLMUX_STAND_IN_CUDA");
	DIR *files = directory ? opendir(directory) : NULL;
	char path[4096], format[32];
	int owner, number;

	if (!files)
		return;
	snprintf(format, sizeof(format), "%%d.%s-%%d", kind);
	for (struct dirent *file; (file = readdir(files));) {
		if (sscanf(file->d_name, format, &owner, &number) != 2 || (id && owner != id))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, file->d_name);
		with(path, owner, strchr(file->d_name, '-') + 1, more);
	}
	closedir(files);
}

static void forget(const char *path, int owner, const char *number, void *more)
{
	unlink(path);
}

static void rename_to(const char *path, int owner, const char *number, void *more)
{
	char new[4096];

	snprintf(new, sizeof(new), "%s/%d.%s-%s", getenv("LLMUX_STAND_IN_CUDA"), owner, (const char *)more, number);
	if (rename(path, new))
		perror(new);
}

static void lose(const char *path, int owner, const char *number, void *more)
{
	char zeros[4096] = "";
	long bytes = *(long *)more;
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (pwrite(fd, zeros, bytes < (long)sizeof(zeros) ? bytes : (long)sizeof(zeros), 0) < 0)
		perror(path);
	close(fd);
}

/* What a process had that has ended is nobody's: its lock is gone, in whatever PID namespace it was. */
static void add(const char *path, int owner, const char *number, void *more)
{
	struct stat facts;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		unlink(path);
	else if (!fstat(fd, &facts))
		*(unsigned long *)more += facts.st_size;
	close(fd);
}

/* What comes of a state: its memory is on the GPU or it is not. */
static void move_memory(int id, int from, int to)
{
	char name[64];
	long lost;

	if (to == CHECKPOINTED)
		each_allocation(id, "memory", rename_to, "kept");
	if (from != CHECKPOINTED)
		return;
	each_allocation(id, "kept", rename_to, "memory");
	snprintf(name, sizeof(name), "%d.lose", id);
	if ((lost = number_in(name, number_in("lose", 0))))
		each_allocation(id, "memory", lose, &lost);
}

/* ---- the API that has CUDA state come about ---- */

CUresult cuInit(unsigned int flags)
{
	long result = number_in("init", SUCCESS);

	if (flags)
		return INVALID_VALUE;
	if (!getenv("LLMUX_STAND_IN_CUDA"))
		return NO_DEVICE;
	initialized = result == SUCCESS;
	return (CUresult)result;
}

CUresult cuDriverGetVersion(int *version)
{
	*version = (int)number_in("version", 13000);
	return SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
	*count = gpus(0, NULL);
	return initialized ? SUCCESS : NOT_INITIALIZED;
}

CUresult cuDeviceGet(int *device, int ordinal)
{
	*device = ordinal;
	return ordinal >= 0 && ordinal < gpus(0, NULL) ? SUCCESS : INVALID_VALUE;
}

CUresult cuDeviceGetName(char *name, int size, int device)
{
	snprintf(name, size, "STAND-IN, no GPU");
	return SUCCESS;
}

/* Of the GPU that this process has by now, where it has one. */
CUresult cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
	char text[33] = "";

	gpus(device, text);
	read_file(text, sizeof(text), "%d.gpu", innermost(getpid()));
	for (int index = 0; index < 16; index++)
		if (sscanf(text + 2 * index, "%2hhx", uuid + index) != 1)
			return INVALID_VALUE;
	return SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, int device)
{
	*bytes = number_in("gpu-bytes", 8L << 30);
	return SUCCESS;
}

static int known_gpu(const char *uuid)
{
	char each[33] = "";
	int count = gpus(0, NULL);

	for (int index = 0; index < count; index++)
		if (gpus(index, each) && !strcmp(each, uuid))
			return 1;
	return 0;
}

CUresult cuDevicePrimaryCtxRetain(void **context, int device)
{
	char gpu[33] = "";
	int id = innermost(getpid());

	if (!initialized)
		return NOT_INITIALIZED;
	gpus(device, gpu);
	write_file(gpu, O_TRUNC, "%d.gpu", id);
	each_allocation(id, "memory", forget, NULL); /* of an earlier process of this id */
	each_allocation(id, "kept", forget, NULL);
	become(id, STATES[RUNNING]);
	*context = &initialized;
	return SUCCESS;
}

/* As any call that would change something on a GPU, it waits until the process is neither locked nor checkpointed. */
CUresult cuCtxSynchronize(void)
{
	int state;

	while ((state = state_of(innermost(getpid()))) == LOCKED || state == CHECKPOINTED)
		rest(2);
	return state == RUNNING ? SUCCESS : ILLEGAL_STATE;
}

CUresult cuCtxSetCurrent(void *context)
{
	return context ? SUCCESS : INVALID_VALUE;
}

/* Allocation N is at (N + 1) << 40. */
enum { ADDRESS_BITS = 40, MOST_ALLOCATIONS = 1024 };
static int allocations, files[MOST_ALLOCATIONS];

static void path_of_allocation(char *path, size_t size, int number)
{
	snprintf(path, size, "%s/%d.memory-%d", getenv("LLMUX_STAND_IN_CUDA"), innermost(getpid()), number);
}

/* Return the number of the allocation at this address, or -1. */
static int allocation_at(uint64_t address)
{
	int number = (int)(address >> ADDRESS_BITS) - 1;

	return number >= 0 && number < allocations && files[number] >= 0 ? number : -1;
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total)
{
	unsigned long used = 0;

	cuCtxSynchronize();
	each_allocation(0, "memory", add, &used);
	cuDeviceTotalMem_v2(total, 0);
	*free = used < *total ? *total - used : 0;
	return SUCCESS;
}

CUresult cuMemAlloc_v2(uint64_t *address, size_t size)
{
	size_t free, total;
	char path[4096];
	int fd;

	if (cuCtxSynchronize() != SUCCESS)
		return ILLEGAL_STATE;
	cuMemGetInfo_v2(&free, &total);
	if (!size)
		return INVALID_VALUE;
	if (size > free || allocations == MOST_ALLOCATIONS)
		return OUT_OF_MEMORY;
	path_of_allocation(path, sizeof(path), allocations);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || flock(fd, LOCK_EX) || ftruncate(fd, size)) {
		perror(path);
		return OUT_OF_MEMORY;
	}
	files[allocations++] = fd;
	*address = (uint64_t)allocations << ADDRESS_BITS;
	return SUCCESS;
}

CUresult cuMemFree_v2(uint64_t address)
{
	int number = allocation_at(address);
	char path[4096];

	if (cuCtxSynchronize() != SUCCESS)
		return ILLEGAL_STATE;
	if (number < 0)
		return INVALID_VALUE;
	path_of_allocation(path, sizeof(path), number);
	unlink(path);
	close(files[number]);
	files[number] = -1;
	return SUCCESS;
}

static CUresult copy(uint64_t address, char *to, const char *from, size_t size)
{
	off_t offset = address & ((1ULL << ADDRESS_BITS) - 1);
	int number = allocation_at(address);
	struct stat facts;
	ssize_t done;

	if (cuCtxSynchronize() != SUCCESS)
		return ILLEGAL_STATE;
	if (number < 0 || fstat(files[number], &facts) || offset + (off_t)size > facts.st_size)
		return INVALID_VALUE;
	for (size_t copied = 0; copied < size; copied += done) {
		done = to ? pread(files[number], to + copied, size - copied, offset + copied) :
			    pwrite(files[number], from + copied, size - copied, offset + copied);
		if (done <= 0)
			return INVALID_VALUE;
	}
	return SUCCESS;
}

CUresult cuMemcpyHtoD_v2(uint64_t address, const void *from, size_t size)
{
	return copy(address, NULL, from, size);
}

CUresult cuMemcpyDtoH_v2(void *to, uint64_t address, size_t size)
{
	return copy(address, to, NULL, size);
}

CUresult cuMemHostAlloc(void **memory, size_t size, unsigned int flags)
{
	return (*memory = malloc(size)) ? SUCCESS : OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *memory)
{
	free(memory);
	return SUCCESS;
}

CUresult cuGetErrorName(CUresult result, const char **name)
{
	*name = result == SUCCESS ? "CUDA_SUCCESS" :
		result == INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE" :
		result == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" :
		result == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" :
		result == ILLEGAL_STATE ? "CUDA_ERROR_ILLEGAL_STATE" : "a result that the stand-in does not name";
	return SUCCESS;
}

/* ---- the checkpoint API ---- */

#ifndef WITHOUT_CHECKPOINT_API

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

#endif
