"""Sleep in one container, wake in another: the promise of the project, kept or broken before your eyes.

`python docker/success_test.py --engine tiny|vllm` (or `make demo`): a model is served in container A and put to sleep; A is
removed; container B of the same image wakes it. B shares the checkpoint directory and the model cache with A, nothing else.
Ends with a table and PASS (exit code 0) or FAIL (1); 2 where the machine lacks what the test runs on.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from proof._commands import CommandError
from proof.bench import (
    CHECKPOINTS,
    ENGINE_FIELDS,
    ENGINE_PORT,
    MODEL,
    PORT,
    Bench,
    Model,
    Node,
    Settings,
    bench,
)
from proof.client import RefusedError
from proof.containers import UnreadyError, check_image
from proof.dialing import is_taken
from proof.story import Sleeper, WrongError, check_restored, checkpoint_of
from proof.table import Row, render
from proof.traces import Traces

ROOT = Path(__file__).resolve().parents[1]
IMAGES = f"{CHECKPOINTS}/{MODEL}/images"
RESTORE_LOG = f"/var/log/llmux/{MODEL}.restore.log"

SLOWEST_WAKE = 0.1
"""The most that a wake of vLLM to its first answer may take, as a part of its cold start.

The tiny engine starts in a second, so there is little to win; its ratio is shown all the same.
"""
SLOWEST_PART = 1.0
"""Seconds: the most that `show`, and the capture while the engine is frozen, may take for vLLM."""

START_A = "A: docker run, until llmux answers"
COLD = "A: cold start to first answer"
SLEEP = "A: sleep, until the checkpoint is made"
FROZEN = "A:   of it, the engine frozen (criu dump)"
CAPTURE = "A:     of it, the capture of what B lacks"
START_B = "B: docker run, until llmux answers"
SHOW = "B: show every file and socket of the dump"
WAKE = "B: wake"
RESTORE = "B:   of it, criu restore"
FIRST = "B: wake to first answer"


@dataclass
class Clock:
    """Says what happens as it happens, and keeps how long each part took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def measure(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[what] = time.monotonic() - began
        print(f"{self.seconds[what]:8.2f} s  {what}", flush=True)


def tell(here: Bench, settings: Settings, network: str, clock: Clock, flags: tuple[str, ...] = ()) -> None:
    """Tell the story once, the clock running; `flags` are more of `docker run`'s.

    Raises WrongError where it goes another way than promised, RefusedError, CommandError, TimeoutError and OSError where it stops.
    """
    with ExitStack() as a_lives:
        with clock.measure(START_A):
            a = a_lives.enter_context(here.node("a", settings, network=network, flags=flags))
        sleeper = serve_and_sleep(a, clock)
    read_dump_log(clock, (here.checkpoints / MODEL / "images" / "dump.log").read_text(errors="replace"))
    print("            A is removed", flush=True)
    with ExitStack() as b_lives:
        with clock.measure(START_B):
            b = b_lives.enter_context(here.node("b", settings, network=network, flags=flags))
        with clock.measure(SHOW):
            b.container.exec("/opt/llmux/bin/python", "-m", "llmux.criu_images", "show", IMAGES)
        wake_and_answer(b, clock, sleeper)
        clock.seconds[RESTORE] = statistic(b.container.exec("cat", RESTORE_LOG), "Restore time")


def serve_and_sleep(a: Node, clock: Clock) -> Sleeper:
    """Serve a first answer, then sleep."""
    with clock.measure(COLD):
        answer = a.llmux.chat(MODEL)
    identity = a.identity()
    print(f"            the answer: {answer!r}")
    print(f"            the engine: instance {identity.instance}, started at {identity.start_time:.2f}")
    with clock.measure(SLEEP):
        slept = a.llmux.sleep(MODEL)
    return Sleeper(MODEL, identity, answer, checkpoint_of(slept))


def wake_and_answer(b: Node, clock: Clock, sleeper: Sleeper) -> None:
    """Wake, ask the same, and compare. Raises WrongError."""
    with clock.measure(FIRST):
        with clock.measure(WAKE):
            b.llmux.wake(MODEL)
        b.llmux.chat(MODEL)
    check_restored(b, sleeper)
    print("            restored: the same instance, the same start time, the same answer")


def read_dump_log(clock: Clock, log: str) -> None:
    """Keep how long the engine stood still, and for how much of that the capture was at work.

    CRIU writes its inventory when all other images are written, then runs the hook, then unfreezes.
    """
    clock.seconds[FROZEN] = statistic(log, "Frozen time")
    clock.seconds[CAPTURE] = stamp(log, "Unfreezing tasks") - stamp(log, "Writing image inventory")


def statistic(log: str, name: str) -> float:
    """Return the seconds that `--display-stats` names. Raises WrongError where CRIU's log has none."""
    return _found(log, rf"^{name}: (\d+) us$") / 1e6


def stamp(log: str, line: str) -> float:
    """Return the second of a line's time stamp. Raises WrongError where CRIU's log has no such line."""
    return _found(log, rf"^\(0*(\d+\.\d+)\) {line}")


def _found(log: str, pattern: str) -> float:
    match = re.search(pattern, log, re.MULTILINE)
    if match is None:
        raise WrongError(f"CRIU's log has no line like {pattern}")
    return float(match[1])


def rows(clock: Clock, here: Bench) -> list[Row]:
    """Lay out what was measured, in the order of the story."""
    sizes = {SLEEP: bytes_on_disk(here.checkpoints)}
    told = (START_A, COLD, SLEEP, FROZEN, CAPTURE, START_B, SHOW, WAKE, RESTORE, FIRST)
    share = Row("wake to first answer / cold start", note=f"{clock.seconds[FIRST] / clock.seconds[COLD]:.1%}")
    return [*(Row(what, clock.seconds[what], sizes.get(what)) for what in told), share]


def bytes_on_disk(directory: Path) -> int:
    """Return what the files below a directory take up, holes not counted."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def check_speed(clock: Clock) -> None:
    """Raise WrongError if vLLM's wake, capture or `show` took longer than they may."""
    if clock.seconds[FIRST] > SLOWEST_WAKE * clock.seconds[COLD]:
        raise WrongError(f"the wake took more than {SLOWEST_WAKE:.0%} of the cold start")
    for part in (CAPTURE, SHOW):
        if clock.seconds[part] > SLOWEST_PART:
            raise WrongError(f"it took more than {SLOWEST_PART:g} s: {part}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=sorted(ENGINE_FIELDS), default="tiny")
    parser.add_argument("--image", help="default: llmux:ENGINE")
    parser.add_argument(
        "--model-cache", type=Path, help="a Hugging Face home; default: what `make setup` made"
    )
    parser.add_argument(
        "--network", default="host", help="host (default), none, or the name of a Docker network"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"llmux's port (default {PORT})")
    parser.add_argument("--engine-port", type=int, default=ENGINE_PORT, help=f"default {ENGINE_PORT}")
    parser.add_argument(
        "--gpu-bytes",
        type=int,
        metavar="N",
        help="the tiny engine's weights on a GPU, with N bytes of ballast",
    )
    options = parser.parse_args()
    if options.gpu_bytes and options.engine != "tiny":
        parser.error("--gpu-bytes is for the tiny engine")
    return options


def model(options: argparse.Namespace) -> Model:
    on_gpu = ["--device", "cuda", "--device-bytes", str(options.gpu_bytes)]
    return Model(port=options.engine_port, fields={"extra_args": on_gpu} if options.gpu_bytes else {})


def prove(options: argparse.Namespace) -> None:
    """Tell the story and judge it. Raises UnreadyError, and what `tell` raises."""
    image = options.image or f"llmux:{options.engine}"
    cache = options.model_cache or ROOT / ".cache" / "models" / options.engine
    settings = Settings(options.engine, (model(options),), options.port)
    check_image(image)
    if not cache.is_dir():
        raise UnreadyError(f"there is no model cache at {cache}", "run `make setup`")
    if options.network == "host" and (
        taken := [port for port in (options.port, options.engine_port) if is_taken(port)]
    ):
        raise UnreadyError(
            f"port {taken[0]} is taken",
            "stop what listens there (another llmux?), or say others: make demo OPTIONS='--port 3001 --engine-port 8101'",
        )
    before, clock = Traces.seen(), Clock()
    with bench(image, cache.resolve()) as here:
        tell(here, settings, options.network, clock, ("--gpus", "all") if options.gpu_bytes else ())
        print(f"\n{render(rows(clock, here))}\n")
    if options.engine == "vllm":
        check_speed(clock)
    if left := Traces.seen() - before:
        raise WrongError(f"left behind: {left}")


def main() -> int:
    # Ends like Ctrl-C: containers and directories are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prove(arguments())
    except KeyboardInterrupt:
        return 130
    except UnreadyError as error:
        print(error, file=sys.stderr)
        return 2
    except (
        WrongError,
        RefusedError,
        CommandError,
        TimeoutError,
        OSError,
        http.client.HTTPException,
    ) as error:
        print(f"\n{type(error).__name__}: {error}\nFAIL", file=sys.stderr)
        return 1
    print("PASS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
