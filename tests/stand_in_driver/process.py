"""A process with CUDA state, of the stand-in driver. It prints its id once it is ready, and ends with its stdin."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("engine")))
import sitecustomize  # noqa: F401 - has it come about

sys.stdout.write(f"{os.getpid()}\n")
sys.stdout.flush()
sys.stdin.read()
