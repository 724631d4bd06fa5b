"""The worker process: holds the weights, runs the sequences, answers utility calls. It blocks while there is nothing to do."""

import logging
import signal
import time
from dataclasses import dataclass
from math import ceil
from multiprocessing.process import parent_process
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import zmq

from llmux.tiny_engine._device import Device, Facts, Host
from llmux.tiny_engine._endpoints import Endpoints
from llmux.tiny_engine._gpu import CudaDevice
from llmux.tiny_engine._log import log_to_file
from llmux.tiny_engine._lora import LoraLimits
from llmux.tiny_engine._messages import (
    Add,
    Call,
    End,
    Finish,
    Output,
    Reply,
    Status,
    decode_call,
    decode_request,
    encode,
)
from llmux.tiny_engine._model import Model
from llmux.tiny_engine._ring import RingReader
from llmux.tiny_engine._scheduler import Scheduler
from llmux.tiny_engine.errors import AdapterNotFoundError, DeviceError, TinyEngineError

_LOG = logging.getLogger("llmux.tiny_engine.worker")


@dataclass(frozen=True)
class DeviceSettings:
    """What the network runs with; `ballast` is how many bytes a GPU is to hold beside the weights."""

    cuda: bool = False
    ballast: int = 0


@dataclass(frozen=True)
class WorkerSettings:
    """All the worker is told at its start; `token_delay` in seconds."""

    model: Path
    cache: Path
    log: Path
    token_delay: float
    lora: LoraLimits
    device: DeviceSettings
    endpoints: Endpoints
    ring: str
    free: Semaphore


def run_worker(settings: WorkerSettings) -> None:
    """Serve until the API process ends it, or ends. An interrupt from the terminal is the API process's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_to_file(settings.log)
    try:
        model = Model(settings.model, settings.cache, settings.lora, _device(settings.device))
    except TinyEngineError as error:
        _LOG.error("%s", error)
        raise SystemExit(1) from error
    _LOG.info("loaded %s; step compiled at %s", settings.model, model.compiled.path)
    worker = _Worker(model, settings)
    worker.serve()
    settings.endpoints.unlink()
    worker.close()


def _device(settings: DeviceSettings) -> Device:
    if not settings.cuda:
        return Host()
    device = CudaDevice(settings.ballast)
    _LOG.info("on %s", device.facts())
    return device


@dataclass(frozen=True)
class _Sleep:
    """A sleep that waits for running sequences, and who asked for it."""

    caller: bytes
    call: Call


class _Worker:
    def __init__(self, model: Model, settings: WorkerSettings) -> None:
        self._model = model
        self._scheduler = Scheduler(model, settings.token_delay, settings.lora.loras)
        self._grown: list[bytes] = []
        self._ring = RingReader(settings.ring, settings.free)
        self._pending: _Sleep | None = None
        self._context = zmq.Context()
        self._requests = self._context.socket(zmq.PULL)
        self._requests.connect(settings.endpoints.requests)
        self._outputs = self._context.socket(zmq.PUSH)
        self._outputs.set_hwm(0)
        self._outputs.bind(settings.endpoints.outputs)
        self._utility = self._context.socket(zmq.ROUTER)
        self._utility.bind(settings.endpoints.utility)

    def serve(self) -> None:
        """Loop until the API process is gone: its end of multiprocessing's pipe then closes, however it ended."""
        parent = parent_process()
        if parent is None:
            raise RuntimeError("the worker is to be started by multiprocessing")
        poller = zmq.Poller()
        for source in (self._requests, self._utility, parent.sentinel):
            poller.register(source, zmq.POLLIN)
        while True:
            wait = self._scheduler.wait(time.monotonic())
            ready = dict(poller.poll(None if wait is None else ceil(wait * 1000)))
            if parent.sentinel in ready:
                return
            if self._requests in ready:
                self._take_requests()
            if self._utility in ready:
                caller, data = self._utility.recv_multipart()
                self._answer(caller, decode_call(data))
            self._step()
            self._sleep_if_drained()

    def close(self) -> None:
        self._ring.close()
        self._context.destroy(linger=0)

    def _take_requests(self) -> None:
        while self._requests.poll(0):
            match decode_request(self._requests.recv()):
                case Add() as add:
                    self._add(add)
                case End(request, aborted):
                    self._scheduler.end(request, aborted=aborted)

    def _add(self, add: Add) -> None:
        prompt = self._ring.take(add.slot, add.length)
        try:
            self._scheduler.add(add, prompt, time.monotonic())
        except TinyEngineError as error:
            self._emit([Output(add.request, finish=Finish.ERROR, message=error.message, hint=error.hint)])

    def _step(self) -> None:
        try:
            outputs = self._scheduler.step(time.monotonic())
        except DeviceError as error:
            _LOG.error("%s", error)
            outputs = self._scheduler.fail_all(error)
        self._emit(outputs)

    def _emit(self, outputs: list[Output]) -> None:
        for output in outputs:
            self._outputs.send(encode(output))

    def _answer(self, caller: bytes, call: Call) -> None:
        try:
            if call.method == "sleep":
                self._begin_sleep(_Sleep(caller, call))
                return
            if call.method == "embed":
                self._reply(caller, call, vector=tuple(self._model.embed(call.tokens).tolist()))
                return
            if call.method == "look":
                self._model.check(thorough=True)
                self._reply(caller, call, device=self._model.device.facts())
                return
            self._perform(call)
        except TinyEngineError as error:
            self._reply(caller, call, error)
        else:
            self._reply(caller, call)

    def _perform(self, call: Call) -> None:
        match call.method:
            case "load_adapter" if call.adapter is not None:
                self._model.adapters.load(call.adapter)
            case "unload_adapter" if call.adapter is not None:
                self._model.adapters.unload(call.adapter.name)
            case "slow":
                self._scheduler.token_delay = call.amount
            case "grow":
                self._grown.append(b"x" * int(call.amount))
            case "wake_up":
                self._wake(call.tags)
            case "reload_weights":
                try:
                    self._model.weights.reload()
                finally:
                    self._resume_if_ready()
                _LOG.info("weights reloaded")
            case "check":
                self._model.check(thorough=False)
            case "reset_prefix_cache":
                self._model.prefixes.clear()
            case "status":
                pass
            case _:
                raise TinyEngineError(f"the worker has no method {call.method!r}", "reload_weights is one")

    def _wake(self, tags: tuple[str, ...]) -> None:
        if "weights" in tags:
            self._model.weights.wake()
        if "kv_cache" in tags:
            self._model.prefixes.wake()
        self._resume_if_ready()
        _LOG.info("woke %s", ", ".join(tags))

    def _resume_if_ready(self) -> None:
        self._scheduler.paused = bool(self._asleep()) or not self._model.weights.loaded

    def _begin_sleep(self, sleep: _Sleep) -> None:
        match sleep.call.mode:
            case "abort":
                self._emit(self._scheduler.abort_all())
            case "keep":
                self._scheduler.paused = True
            case "wait":
                pass
        self._pending = sleep
        self._sleep_if_drained()

    def _sleep_if_drained(self) -> None:
        if self._pending is None or (len(self._scheduler) and not self._scheduler.paused):
            return
        sleep, self._pending = self._pending, None
        if sleep.call.level == 1:
            self._model.weights.offload()
        else:
            self._model.weights.drop()
            self._model.adapters.drop()
        self._model.prefixes.sleep()
        self._scheduler.paused = True
        _LOG.info("asleep at level %d", sleep.call.level)
        self._reply(sleep.caller, sleep.call)

    def _asleep(self) -> tuple[str, ...]:
        asleep = {"weights": self._model.weights.asleep, "kv_cache": self._model.prefixes.asleep}
        return tuple(tag for tag, sleeps in asleep.items() if sleeps)

    def _status(self) -> Status:
        prefixes = self._model.prefixes
        return Status(
            asleep=self._asleep(),
            weights_loaded=self._model.weights.loaded,
            weight_bytes=self._model.weights.resident_bytes,
            cached_prefixes=len(prefixes),
            prefix_queries=prefixes.queries,
            prefix_hits=prefixes.hits,
            running=len(self._scheduler),
            aborted=self._scheduler.aborted,
            generated_tokens=self._scheduler.generated,
            adapters=self._model.adapters.names,
        )

    def _reply(
        self,
        caller: bytes,
        call: Call,
        error: TinyEngineError | None = None,
        vector: tuple[float, ...] = (),
        device: Facts | None = None,
    ) -> None:
        refusal = (error.message, error.hint) if error else ("", "")
        missing = isinstance(error, AdapterNotFoundError)
        reply = Reply(
            call.call, self._status(), *refusal, missing=missing, vector=vector, device=device or {}
        )
        self._utility.send_multipart([caller, encode(reply)])
