/* Allocations: files that are locked while their process lives. Checkpointed ones have another name, and count for no GPU. */
#define _GNU_SOURCE
#include "cuda.h"
#include "files.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the files of any process ---- */

static void forget(const struct allocation *allocation, void *more)
{
	unlink(allocation->path);
}

void forget_memory(int id)
{
	each_allocation(id, "memory", forget, NULL);
	each_allocation(id, "kept", forget, NULL);
}

static void rename_to(const struct allocation *allocation, void *more)
{
	char new[4096];

	snprintf(new, sizeof(new), "%s/%d.%s-%d", directory(), allocation->owner, (const char *)more, allocation->number);
	rename_file(allocation->path, new);
}

static void lose(const struct allocation *allocation, void *more)
{
	char zeros[4096] = "";
	long bytes = *(long *)more;
	int fd = open(allocation->path, O_WRONLY | O_CLOEXEC);

	if (pwrite(fd, zeros, bytes < (long)sizeof(zeros) ? bytes : (long)sizeof(zeros), 0) < 0)
		perror(allocation->path);
	close(fd);
}

/* What a process had that has ended is nobody's. */
static void add(const struct allocation *allocation, void *more)
{
	long bytes = bytes_held(allocation);

	if (bytes < 0)
		unlink(allocation->path);
	else
		*(unsigned long *)more += bytes;
}

void move_memory(int id, int from, int to)
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

/* ---- those of this process ---- */

/* Allocation N is at (N + 1) << 40. */
enum { ADDRESS_BITS = 40, MOST_ALLOCATIONS = 1024 };
static int allocations, files[MOST_ALLOCATIONS];

static void path_of_allocation(char *path, size_t size, int number)
{
	snprintf(path, size, "%s/%d.memory-%d", directory(), innermost(getpid()), number);
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
