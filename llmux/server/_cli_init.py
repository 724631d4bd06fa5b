"""`llmux init`: a first configuration of what is found here, which is checked before it is written.

Exit codes: 0 written; 1 there is nothing to serve, or the file is there already; 2 wrong use.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import NoReturn

import click

from llmux.server import _model_files, _node, _starter, config
from llmux.server._capacity import size
from llmux.server._model_files import ModelFiles
from llmux.server._printable import printable
from llmux.server._starter import Found
from llmux.server.config import CheckpointConfig, Config
from llmux.server.doctor import processor_flags

_CANNOT = 1
_MIB = 1 << 20
_HOST: str = Config.model_fields["host"].default
_FIRST_PORT: int = Config.model_fields["port"].default
_FIRST_ENGINE_PORT = 8001
_SUFFIXES = (".yaml", ".yml", ".json")


@click.command("init", short_help="Write a first configuration of the models found here.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=Path("config.yaml"),
    show_default=True,
    help="Where to write it, as YAML or JSON; - for standard output.",
)
@click.option(
    "--models",
    "directories",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    multiple=True,
    help="A directory that is a model, has some right below it, or is a Hugging Face cache; may be given several times.",
)
@click.option("--no-cache", is_flag=True, help="Leave the Hugging Face cache out.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def init_command(*, output: Path, directories: tuple[Path, ...], no_cache: bool, force: bool) -> None:
    """Write a configuration of the models that are found in the Hugging Face cache and in the directories given."""
    to_stdout = str(output) == "-"
    if not to_stdout and output.suffix not in _SUFFIXES:
        raise click.BadParameter(f"{output} ends in none of {', '.join(_SUFFIXES)}", param_hint="--output")
    if not (to_stdout or force) and os.path.lexists(output):
        _stop(f"{output} is there already; --force replaces it")
    hub = _model_files.cache_dir()
    cached = () if no_cache else tuple(_model_files.in_cache(hub))
    models = (*cached, *chain.from_iterable(map(_model_files.in_directory, directories)))
    if not models:
        where = ", ".join(map(str, [*directories, *([] if no_cache else [hub])])) or "nowhere"
        _stop(
            f"no model was found (looked at: {where}); name a directory of models, or another cache, with --models"
        )
    found = _look(models)
    text, settings = _written(found, ".json" if output.suffix == ".json" else ".yaml")
    if to_stdout:
        click.echo(text, nl=False)
    else:
        _write(output, text, force=force)
        _tell(found, settings, hub if cached else None)
    if settings.port != _FIRST_PORT:
        _warn(
            f"port {_FIRST_PORT} is taken, so port {settings.port} was chosen; "
            f"other commands find llmux there by LLMUX_HOST=localhost:{settings.port}"
        )
    if not to_stdout:
        click.echo(
            f"{output} is written. Next: llmux doctor --config {output}; llmux serve --config {output}"
        )


def _look(models: tuple[ModelFiles, ...]) -> Found:
    defaults = CheckpointConfig()
    node = _node.look(defaults.images_dir)
    criu = shutil.which(defaults.criu_path) is not None and os.geteuid() == 0
    return Found(models, node.gpus, criu, "amx_tile" in processor_flags())


def _free_ports() -> Iterator[int]:
    """Yield a port for llmux, then ports for engines, that nobody listens on now."""
    own = next(filter(_is_free, count(_FIRST_PORT)))
    yield own
    yield from (port for port in count(_FIRST_ENGINE_PORT) if port != own and _is_free(port))


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("", port)):
            return True
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        return False


def _written(found: Found, suffix: str) -> tuple[str, Config]:
    """Return the configuration's text, and what llmux reads it as."""
    text = config.render(_starter.document(found, _HOST, _free_ports()), suffix)
    settings = config.parse(text, f"config{suffix}")
    return text if suffix == ".json" else _head(settings) + text, settings


def _head(settings: Config) -> str:
    lines = [
        f"Written by llmux init {version('llmux')}. Every field: docs/configuration.md, or `llmux validate --schema`.",
        f"By the host {_HOST} other machines reach llmux too (docs/access.md), by 127.0.0.1 this one alone.",
    ]
    if settings.port != _FIRST_PORT:
        lines.append(f"Port {_FIRST_PORT} was taken when this was written.")
    return "".join(f"# {line}\n" for line in lines)


def _write(output: Path, text: str, *, force: bool) -> None:
    """Write it whole or not at all; without `force` never over anything, a link neither."""
    draft = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8"
        ) as file:
            file.write(text)
        if force:
            _keep_mode(draft, output)
            draft.replace(output)
        else:
            os.link(draft, output)
    except FileExistsError:
        _stop(f"{output} is there already; --force replaces it")
    except OSError as error:
        _stop(f"cannot write {output}: {error.strerror or error}")
    finally:
        draft.unlink(missing_ok=True)


def _keep_mode(draft: Path, output: Path) -> None:
    """Let a file that hides what is in it (keys) go on doing so."""
    if output.is_file():
        draft.chmod(stat.S_IMODE(output.stat().st_mode))


def _tell(found: Found, settings: Config, hub: Path | None) -> None:
    """Say what was found, and where llmux will read and write; `hub` is the cache that some models are in."""
    for model in found.models:
        click.echo(printable(f"found {model.source} ({_weights(model.weights)} of weights)"))
    gpus = ", ".join(f"GPU {index} ({size(memory)})" for index, memory in found.gpus.items())
    click.echo(gpus or "no GPU was found")
    if not found.criu:
        click.echo(
            "no CRIU that could be used was found: models sleep in memory, or are stopped (llmux doctor)"
        )
    if hub:
        click.echo(printable(f"models that are named are read from {hub} (HF_HUB_CACHE, HF_HOME)"))
    click.echo(
        f"checkpoints will lie in {settings.checkpoint.images_dir}, state in {settings.state_dir}, logs in "
        f"{settings.log_dir} (checkpoint.images_dir, state_dir, log_dir)"
    )


def _weights(amount: int) -> str:
    """Return how large they are; a demo's are less than a MiB."""
    return f"{amount / _MIB:.2f} MiB" if _MIB > amount >= _MIB // 100 else size(amount)


def _warn(what: str) -> None:
    click.echo(f"llmux: {printable(what)}", err=True)


def _stop(why: str) -> NoReturn:
    _warn(why)
    raise SystemExit(_CANNOT)
