"""llama.cpp's own server, as the package xllamacpp has it, started by the options of `llama-server` that the tests use."""

from __future__ import annotations

import argparse
import signal

import xllamacpp

parser = argparse.ArgumentParser()
for option in ("--model", "--host", "--alias", "--slot-save-path"):
    parser.add_argument(option, default="")
for option in ("--port", "--ctx-size", "--parallel", "--threads"):
    parser.add_argument(option, type=int, default=1)
options = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = options.model
params.model_alias = {options.alias}
params.hostnames = [options.host]
params.port = options.port
params.n_ctx = options.ctx_size
params.n_parallel = options.parallel
params.slot_save_path = options.slot_save_path
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
params.warmup = False
server = xllamacpp.Server(params)
signal.pause()
