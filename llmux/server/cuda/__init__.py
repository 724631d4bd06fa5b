"""The CUDA state of other processes: moved into host memory and back by NVIDIA's driver.

__main__.py      llmux-cuda-checkpoint, which speaks cuda-checkpoint's command line; only there is the driver's library loaded
_suspend.py      the processes of one engine, all or none, by that program or NVIDIA's
"""
