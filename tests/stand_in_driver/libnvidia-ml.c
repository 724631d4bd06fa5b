/* A STAND-IN for NVIDIA's libnvidia-ml.so.1, for tests: no GPU, no driver, nothing of NVIDIA's is in it.
 *
 * It has as much of NVML as llmux asks, with the results that NVIDIA documents (docs.nvidia.com, NVML API Reference Guide). What it shows
 * is that its callers keep to that documentation; it shows nothing about a GPU.
 *
 * What the machine has is said by the file that LLMUX_STAND_IN_NVML names, read anew at each call, a fact in a line:
 *   driver VERSION                the driver's version
 *   cuda NUMBER                   the same of CUDA, as 13000
 *   delay MILLISECONDS            what each question about a GPU takes
 *   no-events                     events are not supported
 *   gpu NUMBER UUID BYTES USED    a GPU, by its index from 0 on
 *   mig NUMBER ON                 0 or 1; without this line the GPU knows no MIG
 *   persistence NUMBER ON         0 or 1; without this line it is on
 *   process NUMBER PID BYTES      a process on the GPU; BYTES may be -, which is not told
 *   no-processes NUMBER           the GPU does not tell its processes, as under MIG
 *   lost NUMBER                   the GPU has fallen off the bus
 *   xid NUMBER XID                a critical error: an event each, in their order, for whoever waits for it
 * Without the file the driver is not loaded.
 *
 * On top of what is USED comes what the stand-in driver has given to processes, where LLMUX_STAND_IN_CUDA names its directory (cuda.h).
 */
#define _GNU_SOURCE
#include "files.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn;
typedef void *Device;

enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	TIMEOUT = 10,
	GPU_IS_LOST = 15,
};

#define NOT_AVAILABLE UINT64_MAX
#define XID_CRITICAL_ERROR 0x8ULL
#define GPUS 16

struct memory { unsigned long long total, free, used; };
struct process { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; };
struct event { Device device; unsigned long long type, data; unsigned int gpu_instance, compute_instance; };
struct event_set { int taken; };

static int initialized;

/* ---- the file ---- */

/* Calls `each` with every line that begins with this word, and what follows it; -1 where there is no file. */
static int lines(const char *word, int (*each)(const char *rest, void *data), void *data)
{
	const char *path = getenv("LLMUX_STAND_IN_NVML");
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[512];
	size_t length = strlen(word);

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, word, length) && strchr(" \n", line[length]) && each(line + length, data))
			break;
	fclose(file);
	return 0;
}

struct number { long of; long value; int found; };

static int take_number(const char *rest, void *data)
{
	struct number *wanted = data;
	long of = 0, value = 0;

	if (wanted->of < 0)
		wanted->found = sscanf(rest, "%ld", &wanted->value) == 1 || !*rest || *rest == '\n';
	else if (sscanf(rest, "%ld %ld", &of, &value) >= 1 && of == wanted->of)
		wanted->value = value, wanted->found = 1;
	return wanted->found;
}

static int number(const char *word, long of, long otherwise)
{
	struct number wanted = { of, otherwise, 0 };

	lines(word, take_number, &wanted);
	return wanted.value;
}

static int said(const char *word, long of)
{
	struct number wanted = { of, 0, 0 };

	lines(word, take_number, &wanted);
	return wanted.found;
}

struct gpu { long number; char uuid[80]; unsigned long long total, used; int found; };

static int take_gpu(const char *rest, void *data)
{
	struct gpu *wanted = data, seen = { 0 };

	if (sscanf(rest, "%ld %79s %llu %llu", &seen.number, seen.uuid, &seen.total, &seen.used) != 4)
		return 0;
	if (seen.number == wanted->number)
		*wanted = seen, wanted->found = 1;
	return wanted->found;
}

static int take_count(const char *rest, void *data)
{
	++*(unsigned int *)data;
	return 0;
}

static nvmlReturn gpu_of(Device device, struct gpu *gpu)
{
	*gpu = (struct gpu){ .number = (long)(intptr_t)device - 1 };
	if (!initialized)
		return UNINITIALIZED;
	rest(number("delay", -1, 0));
	lines("gpu", take_gpu, gpu);
	if (!gpu->found)
		return INVALID_ARGUMENT;
	return said("lost", gpu->number) ? GPU_IS_LOST : SUCCESS;
}

/* ---- the system ---- */

nvmlReturn nvmlInitWithFlags(unsigned int flags)
{
	unsigned int count = 0;

	if (lines("gpu", take_count, &count) < 0)
		return DRIVER_NOT_LOADED;
	initialized++;
	return SUCCESS;
}

nvmlReturn nvmlShutdown(void)
{
	if (!initialized)
		return UNINITIALIZED;
	initialized--;
	return SUCCESS;
}

const char *nvmlErrorString(nvmlReturn result)
{
	return "an error of the stand-in";
}

static int take_text(const char *rest, void *data)
{
	return sscanf(rest, "%79s", (char *)data) == 1;
}

nvmlReturn nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	char text[80] = "580.0.0";

	lines("driver", take_text, text);
	snprintf(version, length, "%s", text);
	return SUCCESS;
}

nvmlReturn nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	*version = number("cuda", -1, 13000);
	return SUCCESS;
}

/* ---- a GPU ---- */

nvmlReturn nvmlDeviceGetCount_v2(unsigned int *count)
{
	*count = 0;
	if (!initialized)
		return UNINITIALIZED;
	lines("gpu", take_count, count);
	return SUCCESS;
}

nvmlReturn nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device *device)
{
	struct gpu gpu;

	*device = (Device)(intptr_t)(index + 1);
	return gpu_of(*device, &gpu);
}

nvmlReturn nvmlDeviceGetUUID(Device device, char *uuid, unsigned int length)
{
	struct gpu gpu;
	nvmlReturn result = gpu_of(device, &gpu);

	if (result == SUCCESS || result == GPU_IS_LOST)
		snprintf(uuid, length, "%s", gpu.uuid);
	return result == GPU_IS_LOST ? SUCCESS : result;
}

nvmlReturn nvmlDeviceGetName(Device device, char *name, unsigned int length)
{
	struct gpu gpu;

	snprintf(name, length, "A stand-in");
	return gpu_of(device, &gpu);
}

struct given { const char *uuid; unsigned long long bytes; };

/* Say whether a process of the stand-in driver has this GPU: its file has the UUID without what nvidia-smi puts in. */
static int has_gpu(int id, const char *uuid)
{
	char text[33] = "";
	int place = 0;

	read_file(text, sizeof(text), "%d.gpu", id);
	for (uuid += strncmp(uuid, "GPU-", 4) ? 0 : 4; *uuid; uuid++)
		if (*uuid != '-' && text[place++] != *uuid)
			return 0;
	return place && !text[place];
}

static void add(const struct allocation *allocation, void *more)
{
	struct given *given = more;
	long bytes = has_gpu(allocation->owner, given->uuid) ? bytes_held(allocation) : 0;

	given->bytes += bytes > 0 ? bytes : 0;
}

static unsigned long long given_to_processes(const char *uuid)
{
	struct given given = { uuid, 0 };

	each_allocation(0, "memory", add, &given);
	return given.bytes;
}

nvmlReturn nvmlDeviceGetMemoryInfo(Device device, struct memory *memory)
{
	struct gpu gpu;
	nvmlReturn result = gpu_of(device, &gpu);

	gpu.used += given_to_processes(gpu.uuid);
	*memory = (struct memory){ gpu.total, gpu.total - gpu.used, gpu.used };
	return result;
}

nvmlReturn nvmlDeviceGetMigMode(Device device, unsigned int *current, unsigned int *pending)
{
	struct gpu gpu;
	nvmlReturn result = gpu_of(device, &gpu);

	*current = *pending = number("mig", gpu.number, 0);
	return result != SUCCESS || said("mig", gpu.number) ? result : NOT_SUPPORTED;
}

nvmlReturn nvmlDeviceGetPersistenceMode(Device device, unsigned int *mode)
{
	struct gpu gpu;
	nvmlReturn result = gpu_of(device, &gpu);

	*mode = number("persistence", gpu.number, 1);
	return result;
}

struct listed { long number; struct process *into; unsigned int room, count; };

static int take_process(const char *rest, void *data)
{
	struct listed *listed = data;
	struct process process = { .used = NOT_AVAILABLE, .gpu_instance = -1, .compute_instance = -1 };
	long number;

	if (sscanf(rest, "%ld %u %llu", &number, &process.pid, &process.used) < 2 || number != listed->number)
		return 0;
	if (listed->count < listed->room)
		listed->into[listed->count] = process;
	listed->count++;
	return 0;
}

nvmlReturn nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned int *count, struct process *processes)
{
	struct gpu gpu;
	nvmlReturn result = gpu_of(device, &gpu);
	struct listed listed = { gpu.number, processes, processes ? *count : 0, 0 };

	if (result != SUCCESS)
		return result;
	if (said("no-processes", gpu.number))
		return NOT_SUPPORTED;
	lines("process", take_process, &listed);
	*count = listed.count;
	return listed.count > listed.room ? INSUFFICIENT_SIZE : SUCCESS;
}

/* ---- events ---- */

nvmlReturn nvmlDeviceGetSupportedEventTypes(Device device, unsigned long long *types)
{
	struct gpu gpu;

	*types = said("no-events", -1) ? 0 : XID_CRITICAL_ERROR;
	return gpu_of(device, &gpu);
}

nvmlReturn nvmlEventSetCreate(struct event_set **set)
{
	if (!initialized)
		return UNINITIALIZED;
	*set = calloc(1, sizeof(**set));
	return SUCCESS;
}

nvmlReturn nvmlDeviceRegisterEvents(Device device, unsigned long long types, struct event_set *set)
{
	struct gpu gpu;
	nvmlReturn result = gpu_of(device, &gpu);

	return result == SUCCESS && said("no-events", -1) ? NOT_SUPPORTED : result;
}

struct awaited { int skip; struct event *event; int found; };

static int take_event(const char *rest, void *data)
{
	struct awaited *awaited = data;
	long number, xid;

	if (sscanf(rest, "%ld %ld", &number, &xid) != 2 || awaited->skip-- > 0)
		return 0;
	*awaited->event = (struct event){ (Device)(intptr_t)(number + 1), XID_CRITICAL_ERROR, xid, -1, -1 };
	return awaited->found = 1;
}

nvmlReturn nvmlEventSetWait_v2(struct event_set *set, struct event *event, unsigned int timeout)
{
	unsigned int waited;

	for (waited = 0; waited <= timeout; waited += 10) {
		struct awaited awaited = { set->taken, event, 0 };

		lines("xid", take_event, &awaited);
		if (awaited.found) {
			set->taken++;
			return SUCCESS;
		}
		rest(10);
	}
	return TIMEOUT;
}

nvmlReturn nvmlEventSetFree(struct event_set *set)
{
	free(set);
	return SUCCESS;
}
