"""What NVML tells while llmux runs: memory of each GPU and engine, and GPUs that are hurt or lost.

attach(app, indexes, gone)  these GPUs are watched as long as the application lives; app[GPUS] is then what to ask
await app[GPUS].seen()      how they are: not older than some seconds, unless NVML does not answer
users_of(gpu)               who uses one, for whoever looks once, and may block

Nothing else here blocks the event loop, and nothing waits for NVML without an end: each of its calls is made in a thread of its own.
"""

from __future__ import annotations

from llmux.server.gpus._devices import users_of
from llmux.server.gpus._gpus import GPUS, Gpus, attach
from llmux.server.gpus._seen import Sight, User

__all__ = ["GPUS", "Gpus", "Sight", "User", "attach", "users_of"]
