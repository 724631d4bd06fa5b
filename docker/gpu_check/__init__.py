"""What a machine with an NVIDIA GPU can prove of llmux: `make gpu-check`, or `PYTHONPATH=docker python3 -m gpu_check`.

_facts.py      what there is on a machine, as records; what each case needs
_plan.py       facts -> which cases run, and why the others cannot        pure
_results.py    what came of a case, and the verdict on all of them        pure
_table.py      the table, and the same as JSON                            pure
_look.py       this machine's facts
_nvml.py       NVML by its library alone
_children.py   processes: those that are run, and those that hold memory on a GPU
_suspending.py, _tiny.py, _served.py, _dumping.py, _containers.py   the cases
programs/      what runs as a process of its own, with the driver's library alone or torch

Python's standard library is enough to begin; a case that needs more says so where that is missing.
"""
