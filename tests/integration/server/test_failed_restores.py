"""A restore that ends after all was made for it, by criu's failure, by the end of llmux, or by both: nothing of it is left."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from proof.bench import LLMUX, MODEL, MODEL_CACHE, UNDER_A_SHELL, Bench, Node, Settings
from proof.client import RefusedError
from proof.containers import Mount
from proof.story import check_restored, wake_and_check

pytestmark = pytest.mark.docker

SETTINGS = Settings()
WRAPPED = Settings(checkpoint={"criu_path": "/wrap/criu"})

# The real criu, with one more action script: at post-restore the whole tree stands, sockets bound and files open, and not yet resumed.
CRIU = """#!/bin/sh
[ "$1" = restore ] || exec /usr/local/bin/criu "$@"
exec /usr/local/bin/criu "$@" --action-script /wrap/stage
"""
STAGE = """#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-restore ] && [ -e /wrap/what ] || exit 0
touch /run/reached
exec $(cat /wrap/what)
"""
FAIL, HANG = "false", "sleep 600"

PLACES = ("/tmp", "/dev/shm", "/run/llmux", "/root/.cache", "/var/tmp")
"""Where the engine's files lie, and llmux's own. Checkpoints and model caches are mounts: find does not enter them."""


@contextmanager
def spoiled(desk: Bench, what: str, **options: object) -> Iterator[tuple[Node, Path]]:
    """Run llmux in B with a criu that does `what` in the end, and no model that an engine could be started with."""
    wrap = desk.directory / "wrap"
    wrap.mkdir()
    for name, text in (("criu", CRIU), ("stage", STAGE)):
        (wrap / name).write_text(text)
        (wrap / name).chmod(0o755)
    (wrap / "what").write_text(what)
    cache = desk.directory / "cache"
    cache.mkdir()
    with desk.node("b", WRAPPED, mounts=(Mount(wrap, "/wrap"), Mount(cache, MODEL_CACHE)), **options) as b:
        yield b, wrap / "what"


def mended(desk: Bench, what: Path) -> None:
    what.unlink()
    shutil.copytree(desk.cache, desk.directory / "cache", dirs_exist_ok=True, symlinks=True)


def files(node: Node) -> set[str]:
    """Return what lies where the engine's files lie, sockets and journals too; beside those llmux keeps notes of its own."""
    mine = ("-path", "/run/llmux/journals*", "!", "-name", "*.json")
    return set(
        node.container.exec("find", *PLACES, "-xdev", "-mindepth", "1", "!", "(", *mine, ")").splitlines()
    )


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_a_restore_that_fails_in_the_end_leaves_nothing_and_can_be_tried_again(
    desk: Bench, asleep_on
) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with spoiled(desk, FAIL) as (b, what):
        before = files(b)
        with pytest.raises(RefusedError):
            b.llmux.wake(MODEL)
        b.container.exec("test", "-e", "/run/reached")
        assert files(b) == before
        assert b.llmux.status(MODEL)["state"] == "asleep"
        assert not b.sandboxed()
        mended(desk, what)
        wake_and_check(b, sleeper)


@pytest.mark.parametrize("number", ["TERM", "KILL"])
def test_a_restore_that_the_end_of_llmux_cuts_short_leaves_nothing(
    desk: Bench, asleep_on, number: str
) -> None:
    """By SIGTERM llmux takes back what was made before it ends; after SIGKILL its next start does."""
    sleeper = asleep_on(desk, SETTINGS)
    with spoiled(desk, HANG, command=UNDER_A_SHELL) as (b, what):
        before = files(b)
        waking = threading.Thread(target=wake_in_vain, args=(b,))
        waking.start()
        until(lambda: b.container.attempt("test", "-e", "/run/reached").code == 0)
        assert files(b) - before
        mended(desk, what)
        end_llmux(b, number)
        waking.join()
        b.llmux.wait_until_it_answers()
        assert files(b) == before
        assert not b.sandboxed()
        b.llmux.wake(MODEL)
        check_restored(b, sleeper)


def wake_in_vain(node: Node) -> None:
    with suppress(OSError, RefusedError):
        node.llmux.wake(MODEL)


def end_llmux(node: Node, number: str) -> None:
    pids = [pid for pid, line in node.processes().items() if LLMUX in line and "sh -c" not in line]
    node.container.exec("sh", "-c", 'kill -s "$0" "$@"', number, *map(str, pids))


def test_a_stopped_container_ends_in_good_order_and_soon(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        wake_and_check(b, sleeper)
        assert b.container.stop() < 5
        assert b.container.exit_code == 0
