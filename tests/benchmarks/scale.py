"""How `show` and `graph` grow with a dump: seconds and peak memory at several sizes, against what we promise.

    make bench

makes dumps of many open files and Unix sockets with CRIU's own message types and runs each command on them in a process of its own. The exit code
is 1 where the promise is broken: `show` and `show --json` of 100,000 references and 10,000 sockets in under 3 seconds of processor time and 300 MB.
Processor time is what counts, so that what else runs on the machine does not; the clock's is printed beside it. No test asks for either. "times the
half" is the time without the start of Python against that of half the size: 2 is linear.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmux.criu_images._wire import load_schema

ROOT = Path(__file__).parents[2]
SIZES = (12_500, 25_000, 50_000, 100_000)
SOCKETS_PER_REFERENCE = 0.1
MOST_SECONDS, MOST_MEGABYTES = 3.0, 300.0
FILES_OF_A_TASK = 5_000
PROMISED = {"show", "show --json"}
COMMANDS = {
    "import": ("-c", "import llmux.criu_images"),
    "show": ("-m", "llmux.criu_images", "show", "DIR"),
    "show --json": ("-m", "llmux.criu_images", "show", "DIR", "--json"),
    "show --why": ("-m", "llmux.criu_images", "show", "DIR", "--why", "/srv/data/file-000100"),
    "show --tree": ("-m", "llmux.criu_images", "show", "DIR", "--tree"),
    "graph": ("-m", "llmux.criu_images", "graph", "DIR"),
    "graph svg": ("-m", "llmux.criu_images", "graph", "DIR", "--format", "svg"),
}

_OWNER = {"uid": 0, "euid": 0, "signum": 0, "pid_type": 0, "pid": 0}
_OPTIONS = dict.fromkeys(
    ("so_sndbuf", "so_rcvbuf", "so_snd_tmo_sec", "so_snd_tmo_usec", "so_rcv_tmo_sec", "so_rcv_tmo_usec"), 0
)
_BOUNDS = (
    "start_code end_code start_data end_data start_stack start_brk brk arg_start arg_end env_start env_end"
)
_MM = dict.fromkeys((f"mm_{name}" for name in _BOUNDS.split()), 0)


def make_dump(directory: Path, references: int, sockets: int) -> None:
    """Write a dump in which `references` files are open or mapped, and `sockets` Unix sockets listen or are pairs."""
    files = [_reg(1, "/", 0o40755), _reg(2, "/usr/bin/program", 0o100755)]
    files += (_reg(3 + number, f"/srv/data/file-{number:06}", 0o100644) for number in range(references))
    first = 3 + references
    files += (_unix(first + number, number) for number in range(sockets))
    _write(directory, "files.img", "FILES", "file_entry", files)
    _write(
        directory,
        "inventory.img",
        "INVENTORY",
        "inventory_entry",
        [{"img_version": 2, "fdinfo_per_id": True}],
    )
    numbers = range(3, first + sockets)
    shares = [numbers[at : at + FILES_OF_A_TASK] for at in range(0, len(numbers), FILES_OF_A_TASK)]
    pids = range(1000, 1000 + len(shares))
    tree = (
        {"pid": pid, "ppid": 0 if pid == 1000 else 1000, "pgid": 1000, "sid": 1000, "threads": [pid]}
        for pid in pids
    )
    _write(directory, "pstree.img", "PSTREE", "pstree_entry", tree)
    for pid, share in zip(pids, shares, strict=True):
        _write_task(directory, pid, share)


def _write_task(directory: Path, pid: int, files: range) -> None:
    task = {
        "task_state": 1,
        "exit_code": 0,
        "personality": 0,
        "flags": 0,
        "blk_sigset": 0,
        "comm": b"program",
    }
    _write(directory, f"core-{pid}.img", "CORE", "core_entry", [{"mtype": 1, "tc": task}])
    ids = {"vm_id": pid, "files_id": pid, "fs_id": pid, "sighand_id": pid}
    _write(directory, f"ids-{pid}.img", "IDS", "task_kobj_ids_entry", [ids])
    _write(directory, f"fs-{pid}.img", "FS", "fs_entry", [{"cwd_id": 1, "root_id": 1}])
    vmas = [_vma(at, file) for at, file in enumerate(files[::10]) if file % 10 == 3]
    _write(directory, f"mm-{pid}.img", "MM", "mm_entry", [_MM | {"exe_file_id": 2, "vmas": vmas}])
    opened = ({"id": file, "flags": 0, "type": 1, "fd": fd} for fd, file in enumerate(files))
    _write(directory, f"fdinfo-{pid}.img", "FDINFO", "fdinfo_entry", opened)


def _reg(number: int, name: str, mode: int) -> dict[str, Any]:
    fields = {"id": number, "flags": 0o100000, "pos": 0, "fown": _OWNER, "name": name.encode(), "size": 4096}
    return {"type": 1, "id": number, "reg": fields | {"mode": mode}}


def _unix(number: int, index: int) -> dict[str, Any]:
    """Every third listens, the others are pairs."""
    listens = index % 3 == 0
    peer = 0 if listens else 10**6 + (index + 1 if index % 3 == 1 else index - 1)
    fields = {
        "id": number,
        "ino": 10**6 + index,
        "type": 1,
        "state": 10 if listens else 1,
        "flags": 2,
        "uflags": 0,
    }
    fields |= {"backlog": 0, "peer": peer, "fown": _OWNER, "opts": _OPTIONS}
    return {
        "type": 5,
        "id": number,
        "usk": fields | {"name": f"/run/socket-{index:06}\0".encode() if listens else b""},
    }


def _vma(at: int, file: int) -> dict[str, Any]:
    start = 0x7F0000000000 + at * 8192
    vma = {"start": start, "end": start + 4096, "pgoff": 0, "shmid": file, "prot": 1, "flags": 2}
    return vma | {"status": 1 << 6, "fd": -1}


def _write(directory: Path, name: str, magic: str, message: str, entries: Iterable[dict[str, Any]]) -> None:
    schema = load_schema()
    make = schema.message(message)
    words = [] if magic == "INVENTORY" else [schema.magics["IMG_COMMON"]]
    with (directory / name).open("wb") as file:
        file.write(b"".join(struct.pack("=I", word) for word in (*words, schema.magics[magic])))
        for fields in entries:
            data = make(**fields).SerializeToString()
            file.write(struct.pack("=I", len(data)) + data)


@dataclass(frozen=True)
class Cost:
    seconds: float
    """Of the processor."""
    clock: float
    megabytes: float


def measure(command: tuple[str, ...], directory: Path) -> Cost:
    """Run one command, its output thrown away; its peak memory is what the kernel counted (getrusage(2))."""
    arguments = [sys.executable, *(str(directory) if part == "DIR" else part for part in command)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    pid = os.posix_spawn(sys.executable, arguments, environment, file_actions=nowhere)
    _, status, usage = os.wait4(pid, 0)
    clock = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(arguments)}: exit code {os.waitstatus_to_exitcode(status)}")
    return Cost(usage.ru_utime + usage.ru_stime, clock, usage.ru_maxrss / 1024)


@contextmanager
def compiled() -> Iterator[None]:
    """Keep what Python compiles out of the measurements, as an installed package is compiled: by a first run of each command."""
    with tempfile.TemporaryDirectory(prefix="llmux-scale-") as name:
        os.environ["PYTHONPYCACHEPREFIX"] = f"{name}/compiled"
        dump = Path(name, "dump")
        dump.mkdir()
        make_dump(dump, 200, 20)
        for command in COMMANDS.values():
            measure(command, dump)
        yield


def measure_all(sizes: Iterable[int]) -> Iterator[tuple[str, int, Cost]]:
    for references in sizes:
        with tempfile.TemporaryDirectory(prefix="llmux-scale-") as name:
            # By a process of its own: a child's peak memory starts with its parent's.
            measure((__file__, "--make", "DIR", str(references)), Path(name))
            for title, command in COMMANDS.items():
                yield title, references, measure(command, Path(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help=f"references; {SIZES} by default")
    parser.add_argument("--make", type=Path, metavar="DIR", help="make one dump there and measure nothing")
    options = parser.parse_args()
    if options.make is not None:
        make_dump(options.make, options.sizes[0], int(options.sizes[0] * SOCKETS_PER_REFERENCE))
    else:
        with compiled():
            kept = _report(options.sizes)
        sys.exit(not kept)


def _report(sizes: Iterable[int]) -> bool:
    """Print a line for each measurement; return whether the promise is kept."""
    costs: dict[tuple[str, int], Cost] = {}
    tell(
        f"{'command':<12} {'references':>10} {'sockets':>8} {'seconds':>8} {'clock':>6} {'MB':>5}  times the half"
    )
    for title, references, cost in measure_all(sizes):
        costs[title, references] = cost
        half, start = costs.get((title, references // 2)), costs["import", references]
        ratio = "" if half is None or title == "import" else f"{_ratio(cost, half, start):.2f}"
        size = f"{references:>10} {int(references * SOCKETS_PER_REFERENCE):>8}"
        tell(f"{title:<12} {size} {cost.seconds:>8.2f} {cost.clock:>6.2f} {cost.megabytes:>5.0f}  {ratio}")
    broken = [f"{title} at {size}" for (title, size), cost in costs.items() if _breaks(title, size, cost)]
    tell(
        f"promise ({MOST_SECONDS} s, {MOST_MEGABYTES:.0f} MB): {f'broken by {broken}' if broken else 'kept'}"
    )
    return not broken


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _ratio(cost: Cost, half: Cost, start: Cost) -> float:
    return (cost.seconds - start.seconds) / (half.seconds - start.seconds)


def _breaks(title: str, references: int, cost: Cost) -> bool:
    within = title in PROMISED and references <= 100_000
    return within and (cost.seconds > MOST_SECONDS or cost.megabytes > MOST_MEGABYTES)


if __name__ == "__main__":
    main()
