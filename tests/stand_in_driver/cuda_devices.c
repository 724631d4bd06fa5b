/* cuInit, the GPUs, a process's context, and the results' names. */
#define _GNU_SOURCE
#include "cuda.h"
#include "files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int initialized;

static const char ZEROS[] = "00000000000000000000000000000000";

int gpus(int wanted, char uuid[33])
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

int known_gpu(const char *uuid)
{
	char each[33] = "";
	int count = gpus(0, NULL);

	for (int index = 0; index < count; index++)
		if (gpus(index, each) && !strcmp(each, uuid))
			return 1;
	return 0;
}

CUresult cuInit(unsigned int flags)
{
	long result = number_in("init", SUCCESS);

	if (flags)
		return INVALID_VALUE;
	if (!directory())
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

CUresult cuDevicePrimaryCtxRetain(void **context, int device)
{
	char gpu[33] = "";
	int id = innermost(getpid());

	if (!initialized)
		return NOT_INITIALIZED;
	gpus(device, gpu);
	write_file(gpu, O_TRUNC, "%d.gpu", id);
	forget_memory(id);
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

CUresult cuGetErrorName(CUresult result, const char **name)
{
	*name = result == SUCCESS ? "CUDA_SUCCESS" :
		result == INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE" :
		result == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" :
		result == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" :
		result == ILLEGAL_STATE ? "CUDA_ERROR_ILLEGAL_STATE" : "a result that the stand-in does not name";
	return SUCCESS;
}
