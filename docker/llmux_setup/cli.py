"""The set-up's commands."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import time
from pathlib import Path

from . import clients, debian, images, python, stand_in
from . import engine as engines
from .paths import CACHE, ENGINE, PYCRIU, ROOT, VENV
from .shell import SetupError, environment, exclusively, hand_over, say, step

_LOCK = CACHE / "set-up.lock"
# Left by the tools of `make lint` and `make unit`.
_TOOLS_LEAVINGS = (
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    ".import_linter_cache",
    ".coverage",
    "dist",
)


def main() -> int:
    options = _parser().parse_args()
    # Ends like Ctrl-C: what was begun is taken back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    CACHE.mkdir(exist_ok=True)
    begin = time.monotonic()
    try:
        code = _COMMANDS[options.command](options)
    except SetupError as error:
        print(f"\nset-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.command != "run":
        say(f"    in all {time.monotonic() - begin:.1f} s")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="docker/setup.py", description="Set llmux up; each step is done once."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in {"all", "image", "run"}:
            command.add_argument(
                "--engine", choices=images.VARIANTS, default="tiny", help="what the image serves with"
            )
        if name == "image":
            _add_gpu_base(command)
        if name in {"all", "run"}:
            command.add_argument(
                "--programs",
                action="store_true",
                help="what only tests need, too: real programs that they dump, stand-ins for NVIDIA's libraries, "
                "programs of others that look at llmux",
            )
        if name == "run":
            command.add_argument("argv", nargs="+", metavar="COMMAND")
    return parser


def _add_gpu_base(command: argparse.ArgumentParser) -> None:
    for_gpus = command.add_argument_group("for --engine vllm-gpu")
    for_gpus.add_argument(
        "--base", default=images.OFFICIAL_VLLM, metavar="IMAGE", help="an image that has vLLM (%(default)s)"
    )
    for_gpus.add_argument(
        "--criu-source", default="", metavar="URL", help="a tar of CRIU's release; its own on GitHub, 4.2"
    )
    for_gpus.add_argument(
        "--criu-sha256", default="", metavar="DIGITS", help="that tar's checksum, required with --criu-source"
    )


def _have_python() -> None:
    if not VENV.exists():
        say("Set-up: some minutes the first time; its whole output is in .cache/setup.log")
    with exclusively(_LOCK):
        python.make_venv()
        python.fetch_pycriu()
        python.put_on_path(PYCRIU, VENV)


def _dev(_options: argparse.Namespace) -> int:
    _have_python()
    with exclusively(_LOCK):
        stand_in.build()
    return 0


def _have_environment(options: argparse.Namespace) -> None:
    if options.programs:
        _dev(options)
    else:
        _have_python()


def _all(options: argparse.Namespace) -> int:
    _have_environment(options)
    with engines.engine() as engine:
        _fill(engine, options)
    return 0


def _fill(engine: engines.Engine, options: argparse.Namespace) -> None:
    say(engines.describe(engine))
    with exclusively(_LOCK):
        images.build(engine, options.engine)
        images.make_models(engine, options.engine)
        if options.programs:
            images.build(engine, "programs")


def _image(options: argparse.Namespace) -> int:
    gpu_base = images.GpuBase(options.base, options.criu_source, options.criu_sha256)
    if options.engine != "vllm-gpu" and gpu_base != images.GpuBase():
        raise SetupError(
            "--base, --criu-source and --criu-sha256 are for --engine vllm-gpu", hint="say it too"
        )
    with engines.engine() as engine, exclusively(_LOCK):
        python.make_venv()
        images.build(engine, options.engine, gpu_base)
    return 0


def _run(options: argparse.Namespace) -> int:
    _have_environment(options)
    if shutil.which("ss") is None:
        debian.install("iproute2", why="ss, with which the proof looks at sockets,")
    if options.programs:
        _have_programs_of_others()
    with engines.engine() as engine:
        _fill(engine, options)
        return hand_over(options.argv, environment(engine.env))


def _have_programs_of_others() -> None:
    """Have what the tests look at llmux with."""
    if shutil.which("promtool") is None:
        debian.install("prometheus", why="Prometheus, which is to read llmux's metrics,")
    if shutil.which("chromium") is None:
        debian.install("chromium", why="Chromium, which is to show llmux's page,")
    with exclusively(_LOCK):
        clients.install()


def _start(_options: argparse.Namespace) -> int:
    found = engines.keep()
    say(engines.describe(found))
    if found.private:
        say(f"    export DOCKER_HOST={found.host}")
    return 0


def _stop(_options: argparse.Namespace) -> int:
    with step("private Docker engine: stopping"):
        engines.stop()
    return 0


def _lock(_options: argparse.Namespace) -> int:
    python.write_locks()
    return 0


def _clean(_options: argparse.Namespace) -> int:
    with contextlib.suppress(SetupError):
        found = engines.running()
        if found is not None and not found.private:
            images.remove_all(found)
    engines.stop()
    for path in (ENGINE, CACHE, VENV, *(ROOT / name for name in _TOOLS_LEAVINGS), *_bytecode()):
        _remove(path)
    say("==> removed all that the set-up made; packages that it installed with apt stay")
    return 0


def _bytecode() -> list[Path]:
    return [path for top in ("docker", "llmux", "tests") for path in (ROOT / top).rglob("__pycache__")]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise SetupError(
                f"cannot remove {path}: {error}", hint="containers write as root: repeat as root"
            ) from error
    else:
        path.unlink(missing_ok=True)


_COMMANDS = {
    "dev": _dev,
    "all": _all,
    "image": _image,
    "run": _run,
    "start": _start,
    "stop": _stop,
    "lock": _lock,
    "clean": _clean,
}
_HELP = {
    "dev": "the virtual environment, pycriu and a stand-in for NVIDIA's driver library: enough for the unit tests and linters",
    "all": "all that the demo needs (--programs: that the tests need, too)",
    "image": "rebuild the image after a change of the code",
    "run": "all that the demo needs, then COMMAND with DOCKER_HOST set, then stop the private engine if nobody else uses it",
    "start": "start the engine and leave it running",
    "stop": "stop the private engine",
    "lock": "resolve the dependencies anew",
    "clean": "remove everything that the set-up made",
}
