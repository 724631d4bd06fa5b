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
 *
 * cuda_devices.c      cuInit, the GPUs, a process's context and the results' names
 * cuda_memory.c       allocations, what becomes of them at a checkpoint, copies
 * cuda_states.c       the state of each process, and the answers that a test wants
 * cuda_checkpoint.c   the checkpoint API; a driver without it has been linked without this file
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

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

#pragma GCC visibility push(hidden) /* two libraries of this may be in one process */

extern const char *const STATES[];
enum { RUNNING, LOCKED, CHECKPOINTED, FAILED, NONE = -1 };

extern int initialized;

/* The id that a process has in its own PID namespace, or 0 where there is none. */
int innermost(int pid);
int state_of(int id);
void become(int id, const char *state);

/* Log a call; return its result. */
CUresult done(const char *call, int id, CUresult result);
/* Take the time that a test wants, and give the answer that it wants; -1: the one that is due. */
CUresult told(const char *call, int id);
/* Take a process from one state to another, and its memory with it. */
CUresult step(const char *call, int pid, int from, int to);

/* Return how many GPUs there are; the UUID of one of them goes into `uuid`, where that is wanted. */
int gpus(int wanted, char uuid[33]);
int known_gpu(const char *uuid);

/* What comes of a state: its memory is on the GPU or it is not. */
void move_memory(int id, int from, int to);
/* Forget the memory of an earlier process of this id. */
void forget_memory(int id);

#pragma GCC visibility pop

/* Of the driver's API, what these files ask of one another. */
CUresult cuCtxSynchronize(void);
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device);
