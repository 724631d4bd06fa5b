"""The command line: `llmux serve --config FILE`. Only this module prints and exits.

Exit codes: 0 stopped as told; 1 cannot serve here; 2 wrong use or a wrong configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import ssl
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click
from aiohttp import web

from llmux.server import (
    _app,
    _capacity,
    _homes_file,
    _listen,
    _node,
    _open_files,
    _unmet,
    config,
    gpus,
    metrics,
    tracing,
)
from llmux.server._certificates import Certificates
from llmux.server._cli_bench import bench_command
from llmux.server._cli_checkpoints import checkpoints_command
from llmux.server._cli_doctor import doctor_command
from llmux.server._cli_init import init_command
from llmux.server._cli_key import key_command
from llmux.server._cli_ruling import (
    drain_command,
    mode_command,
    pin_command,
    reload_command,
    undrain_command,
    unpin_command,
)
from llmux.server._cli_simulate import simulate_command, trace_command
from llmux.server._cli_status import status_command
from llmux.server._cli_streams import events_command, logs_command, requests_command
from llmux.server._cli_switch import sleep_command, switch_command, wake_command
from llmux.server._cli_validate import validate_command
from llmux.server._gate import Gate
from llmux.server._hooks import Hooks
from llmux.server._leaving import CLOSING, leave
from llmux.server._logs import LogFormat, log_to_stderr
from llmux.server._loop import Loop
from llmux.server._patience import Patience
from llmux.server._reload import ConfigFile, Prepare, Reloader
from llmux.server._secrets import Secrets
from llmux.server._setup import make_driver
from llmux.server._work import make_hands
from llmux.server.config import Config
from llmux.server.errors import ConfigInvalid, ConfigUnreadable, NodeUnfit, ServerError

log = logging.getLogger("llmux")

_CANNOT_SERVE = 1
_WRONG_USE = 2
_OPEN_REQUESTS_GRACE = 2.0
"""Seconds that answers still under way get when llmux has closed the driver; their engines are gone by then."""

_COLLECT_AFTER = 10_000
"""Objects made that are still there: a few dozen requests' worth, and most of what a request makes goes by itself."""

_LAST_WORDS = 1.0
"""Seconds that hooks get to be told of the last that has happened."""


class _Commands(click.Group):
    """The commands; where an option of theirs comes before them, it is said that it comes after."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            option = error.option_name
            having = [name for name, command in self.commands.items() if _has(command, option)]
            if not having:
                raise
            name = next((word for word in given if word in having), having[0])
            raise click.UsageError(
                f"{option} comes after the command: llmux {name} {option} ...", ctx
            ) from error


def _has(command: click.Command, option: str) -> bool:
    """Say whether it, or a command of its own, has this option."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return any(option in each.opts for each in command.params) or any(_has(each, option) for each in below)


@click.group(cls=_Commands)
@click.version_option(version("llmux"), prog_name="llmux")
@click.pass_context
def cli(context: click.Context) -> None:
    """Serve many language models on a few GPUs; put those that rest to sleep, on disk if need be."""
    if context.invoked_subcommand != "serve":  # an interrupted command has not done what it was told
        signal.signal(signal.SIGINT, signal.default_int_handler)


@cli.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    show_default="/etc/llmux/config.json, .yaml, .yml or .toml",
    help="The configuration.",
)
@click.option(
    "--log-format",
    type=click.Choice(LogFormat, case_sensitive=False),
    default=LogFormat.AUTO,
    envvar="LLMUX_LOG_FORMAT",
    show_default=True,
    show_envvar=True,
    help="Lines for people, JSON objects, or by whether stderr is a terminal.",
)
@click.option("--verbose", is_flag=True, help="Log more.")
def serve(path: Path | None, log_format: LogFormat, verbose: bool) -> None:  # noqa: FBT001 - click's way of a flag
    """Serve the configured models until SIGTERM or SIGINT."""
    log_to_stderr(log_format, verbose=verbose)
    _open_files.raise_limit()
    try:
        file = ConfigFile(path or config.find())
        log.info("llmux %s starts with %s", version("llmux"), file.path)
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_serve(file, file.load()))
    except (ConfigInvalid, ConfigUnreadable) as error:
        _exit(_WRONG_USE, error)
    except ServerError as error:
        _exit(_CANNOT_SERVE, error)


for _command in (
    status_command,
    sleep_command,
    wake_command,
    switch_command,
    pin_command,
    unpin_command,
    mode_command,
    drain_command,
    undrain_command,
    reload_command,
    requests_command,
    logs_command,
    events_command,
    checkpoints_command,
    init_command,
    key_command,
    validate_command,
    doctor_command,
    bench_command,
    simulate_command,
    trace_command,
):
    cli.add_command(_command)


async def _serve(file: ConfigFile, settings: Config) -> None:
    """Serve until a signal says stop. Raises NodeUnfit, StartRefused and AddressTaken."""
    told, doctor = _Told(), _unmet.doctor(file.path)
    await _listen.check_ports(settings)  # before the engines are taken that another llmux here may have
    node = await asyncio.to_thread(_node.look, settings.checkpoint.images_dir)
    for remark in (*config.remarks(settings), *config.exposure(settings), *_capacity.told(settings, node)):
        log.info("%s", remark)
    if faults := (*config.eviction_faults(settings), *_capacity.faults(settings, node)):
        raise NodeUnfit(faults, hint=doctor)
    for unmet in (await asyncio.to_thread(_unmet.find, settings, os.environ)).unmet:
        log.warning("%s", unmet)
    door = await asyncio.to_thread(_Door, settings)
    hooks = await Hooks.of(settings.hooks)
    make = partial(make_hands, hint=doctor)
    driver = make_driver(settings, await make(settings, _capacity.placement(settings, node)), node)
    remake = partial(make, starting=False)
    reloader = Reloader(driver, file, settings, node, remake, others=door.prepares)
    app = _app.build(driver, reloader, door.gate, settings.listen.largest_body)
    gpus.attach(app, node.gpus, node.lost)
    _homes_file.attach(app, settings.state_dir / "objects.jsonl")
    metrics.listen(app, settings.listen.metrics_host or settings.host, settings.metrics_port)
    await tracing.attach(app, settings.tracing)
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        shutdown_timeout=_OPEN_REQUESTS_GRACE,
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            await runner.setup()
            if not told.to_stop.done():  # by a signal during the start
                await _listen.open_all(runner, settings, door.context, stack)
            hooks.start(driver.bus, driver.spawn)
            driver.spawn(reloader.reload_when(told.to_reload))
            if settings.watch:
                driver.spawn(reloader.watch())
            if door.certificates:
                driver.spawn(door.certificates.watch())
            _settle_memory()
            await told.to_stop
            settings = reloader.settings
            sleep = settings.engines_at_exit == "sleep"
            await leave(driver, max(0.0, settings.shutdown_timeout - CLOSING), told.to_hurry, sleep=sleep)
            await hooks.settle(_LAST_WORDS)
        finally:
            await runner.cleanup()
    log.info("stopped")


def _settle_memory() -> None:
    """Have the collector of garbage look no more at what is there for good, and less often: each full look stands in the way of all answers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


class _Door:
    """What stands between clients and the models: who may do what, and the certificate."""

    def __init__(self, settings: Config) -> None:
        """Read keys and certificate from their files. Raises NodeUnfit."""
        self._secrets = Secrets(os.environ)
        listen = settings.listen
        patience = Patience(listen.body_timeout, listen.body_rate)
        self.gate = Gate(self._secrets.read(settings.access), patience, settings.admin_port)
        self.certificates = Certificates(settings.tls) if settings.tls else None

    @property
    def context(self) -> ssl.SSLContext | None:
        """Return what ports speak TLS with, where they do."""
        return self.certificates.context if self.certificates else None

    @property
    def prepares(self) -> tuple[Prepare, ...]:
        """Return what a reload is to read anew."""
        return (self._prepare, self.certificates.prepare) if self.certificates else (self._prepare,)

    def _prepare(self, wanted: Config) -> Callable[[], None]:
        return partial(self.gate.take, self._secrets.read(wanted.access))


class _Told:
    """What signals have said: the first says stop, the second hurry; SIGHUP says reload."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.to_stop: asyncio.Future[None] = loop.create_future()
        self.to_hurry: asyncio.Future[None] = loop.create_future()
        self.to_reload = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, self.to_reload.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if not self.to_stop.done():
            log.info("%s: stopping; once more makes haste", number.name)
            self.to_stop.set_result(None)
        elif not self.to_hurry.done():
            log.info("%s again: making haste", number.name)
            self.to_hurry.set_result(None)


def _exit(code: int, error: ServerError) -> None:
    click.echo(f"llmux: {error}", err=True)
    raise SystemExit(code)
