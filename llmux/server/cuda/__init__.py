"""The CUDA state of other processes: moved into host memory and back by NVIDIA's driver.

suspend.py     the processes of one engine, all or none, by NVIDIA's cuda-checkpoint or ours
_calls.py      the calls of the driver by another process, ours for all or NVIDIA's for each
_plan.py       in which order several go and come
devices.py     the GPUs that an engine had, those that it is to have, and the map of the ones to the others; _here.py looks
_room.py       what is on GPUs, and whether host memory can take it
__main__.py    llmux-cuda-checkpoint, which speaks cuda-checkpoint's command line; it alone loads the driver's library, by _libcuda.py

Nothing is imported here: the program is to start fast.
"""
