"""Start, run and end of an engine: port, ring, worker, API, and back."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final
from uuid import uuid4

from aiohttp import web

from llmux.tiny_engine._app import Instance, Offers, make_app
from llmux.tiny_engine._client import EngineClient, EngineParts
from llmux.tiny_engine._config import load_shape
from llmux.tiny_engine._endpoints import new_endpoints
from llmux.tiny_engine._log import log_from_loop
from llmux.tiny_engine._lora import LoraLimits
from llmux.tiny_engine._model import CONFIG, TOKENIZER
from llmux.tiny_engine._protocol import Limits
from llmux.tiny_engine._ring import SLOT_TOKENS, RingWriter
from llmux.tiny_engine._tokenizer import load_tokenizer
from llmux.tiny_engine._worker import DeviceSettings, WorkerSettings, run_worker
from llmux.tiny_engine.errors import PortTakenError, WorkerDiedError

_LOG = logging.getLogger("llmux.tiny_engine.api")
# For how long /health says 503 after the worker's death, in seconds: one look of whoever watches.
_LAST_WORDS: Final = 1.0
_CLOSING: Final = 2.0


@dataclass(frozen=True)
class ServeSettings:
    """A parsed command line; `token_delay` in seconds."""

    model: Path
    name: str
    host: str
    port: int
    log: Path
    cache: Path
    token_delay: float
    lora: LoraLimits
    device: DeviceSettings
    offers: Offers


def serve(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ModelDamagedError, PortTakenError, WorkerDiedError."""
    shape = load_shape(settings.model / CONFIG)
    tokenizer = load_tokenizer(settings.model / TOKENIZER)
    with _bound(settings.host, settings.port) as listener, log_from_loop(settings.log):
        ring = RingWriter()
        endpoints = new_endpoints()
        process = _start_worker(
            WorkerSettings(
                settings.model,
                settings.cache,
                settings.log,
                settings.token_delay,
                settings.lora,
                settings.device,
                endpoints,
                ring.name,
                ring.free,
            )
        )
        limits = Limits(settings.name, min(shape.max_model_len, SLOT_TOKENS))
        try:
            parts = EngineParts(process, endpoints, ring, tokenizer, settings.device.cuda)
            asyncio.run(_run(listener, parts, limits, settings.offers))
        finally:
            process.kill()
            process.join()
            ring.close()
            endpoints.unlink()


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port before anything costly; it listens only when the engine can answer."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTakenError(host, port, str(error)) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise PortTakenError(host, port, error.strerror or str(error)) from error
        yield listener


def _start_worker(settings: WorkerSettings) -> SpawnProcess:
    process = get_context("spawn").Process(target=run_worker, args=(settings,), name="worker", daemon=True)
    process.start()
    return process


async def _run(listener: socket.socket, parts: EngineParts, limits: Limits, offers: Offers) -> None:
    """Run the API until a signal, or the worker's death, which is raised as WorkerDiedError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = EngineClient(parts)
    sentinel = parts.process.sentinel

    def worker_ended() -> None:
        loop.remove_reader(sentinel)
        engine.worker_died()
        _LOG.error("%s", engine.dead)
        loop.call_later(_LAST_WORDS, stop.set)

    loop.add_reader(sentinel, worker_ended)
    try:
        async with asyncio.TaskGroup() as group:
            receiver = group.create_task(engine.receive())
            started = group.create_task(_start_api(listener, engine, parts, limits, offers))
            await stop.wait()
            loop.remove_reader(sentinel)
            started.cancel()
            engine.abort_all()
            if started.done() and not started.cancelled() and (runner := started.result()) is not None:
                await runner.cleanup()
            receiver.cancel()
    finally:
        engine.close()
    if engine.dead is not None:
        raise engine.dead


async def _start_api(
    listener: socket.socket, engine: EngineClient, parts: EngineParts, limits: Limits, offers: Offers
) -> web.AppRunner | None:
    """Listen as soon as the worker has loaded the model; None if it died instead."""
    instance = Instance(uuid4().hex, time.time(), parts.process.pid, parts.on_gpu)
    try:
        await engine.call("status")
        app = await make_app(engine, parts.tokenizer, limits, instance, offers)
    except WorkerDiedError:
        return None
    # A client that goes away cancels its handler, and so its request in the worker.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=_CLOSING, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
    except OSError as error:
        host, port, *_ = listener.getsockname()
        raise PortTakenError(host, port, error.strerror or str(error)) from error
    _LOG.info("instance %s serves %s at %s", instance.instance_id, limits.model, listener.getsockname())
    return runner
