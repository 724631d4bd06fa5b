"""Real programs, dumped with the hook in container A and restored in container B: what they say of their state is what they said."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proof._commands import CommandError
from proof.containers import Container, Mount, Run, check_image, started

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

IMAGE = "llmux:programs"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
SCRIPTS = Path(__file__).with_name("programs")
HOOK = "--action-script /usr/local/bin/llmux-criu-hook"
ASK = "python3 /programs/ask.py"
REDIS = "redis-cli -s /srv/redis/socket"
PSQL = "psql -U postgres -h /srv/postgres -Atc"
DBUS = "dbus-send --bus=unix:path=/srv/dbus/bus --print-reply=literal --dest=org"
# CRIU without CAP_SYS_RESOURCE may read the limits of its own user's tasks only, so it runs as that user; the dropped
# ones are those that Docker's --cap-add=ALL may lack.
AS_POSTGRES = (
    "setpriv --reuid=postgres --regid=postgres --clear-groups"
    " --inh-caps=+all,-sys_resource,-perfmon,-bpf,-checkpoint_restore"
    " --ambient-caps=+all,-sys_resource,-perfmon,-bpf,-checkpoint_restore"
)

Step = tuple[str, str]
"""A command in the container, and the words that it prints."""


@dataclass(frozen=True)
class Program:
    """A program of `programs/NAME.sh`, and how a new client puts it in a state and finds it so again."""

    name: str
    ready: Step
    """The first step, repeated until the program is there."""
    before: tuple[Step, ...]
    after: tuple[Step, ...]
    same: tuple[str, ...] = ()
    """Commands that print the same before the dump and after the restore."""
    launcher: str = ""
    dumper: str = "criu dump"
    proves: tuple[str, ...] = ()
    """Demands whose fulfilment the program shows."""

    def __str__(self) -> str:
        return self.name


PROGRAMS = (
    Program(
        "redis",
        proves=("unix-listen", "file-append", "threads"),
        ready=(f"{REDIS} ping", "PONG"),
        before=((f"{REDIS} set name llmux", "OK"), (f"{REDIS} rpush list 1 2 3", "3")),
        same=(f"{REDIS} get name", f"{REDIS} info server | grep -E 'run_id|process_id'"),
        after=(
            (f"{REDIS} rpush list 4", "4"),
            (f"{REDIS} lrange list 0 -1", "1 2 3 4"),
            ("redis-check-aof /srv/redis/appendonlydir/appendonly.aof.1.incr.aof | grep -c 'is valid$'", "1"),
            ("grep -c rpush /srv/redis/appendonlydir/appendonly.aof.1.incr.aof", "2"),
            (f"{REDIS} bgrewriteaof", "Background append only file rewriting started"),
        ),
    ),
    Program(
        "nginx",
        proves=("tcp-listen", "unix-listen", "file-append"),
        ready=(f"{ASK} http localhost:8080 /", "1"),
        before=((f"{ASK} http localhost:8080 /", "2"),),
        same=(f"for i in $(seq 50); do {ASK} http localhost:8080 /worker; done | sort -u",),
        after=(
            (f"{ASK} http localhost:8080 /", "3"),
            ("grep -c 'GET / ' /srv/nginx/access.log", "3"),
            ("cat /srv/nginx/error.log", ""),
        ),
    ),
    Program(
        "memcached",
        ready=(rf"{ASK} line /srv/memcached/socket 'version\r\n' | cut -d' ' -f1", "VERSION"),
        before=(
            (rf"{ASK} line /srv/memcached/socket 'set number 0 0 2\r\n41\r\n'", "STORED"),
            (rf"{ASK} line /srv/memcached/socket 'set other 0 0 5\r\nllmux\r\n'", "STORED"),
        ),
        after=(
            (rf"{ASK} line /srv/memcached/socket 'incr number 1\r\n'", "42"),
            (rf"{ASK} line /srv/memcached/socket 'get other\r\n'", "VALUE other 0 5"),
        ),
    ),
    Program(
        "postgres",
        proves=("sysv", "posix-shm"),
        ready=(f"{PSQL} 'select 1'", "1"),
        before=(
            (f"{PSQL} 'create table numbers (n int)'", "CREATE TABLE"),
            (f"{PSQL} 'insert into numbers values (1), (2)'", "INSERT 0 2"),
        ),
        same=(
            f"{PSQL} 'select sum(n) from numbers'",
            f"{PSQL} 'select pg_postmaster_start_time()'",
            f"{PSQL} 'select pg_walfile_name(pg_current_wal_lsn())'",
        ),
        after=(
            (f"{PSQL} 'insert into numbers values (3)'", "INSERT 0 1"),
            (f"{PSQL} 'checkpoint'", "CHECKPOINT"),
            (f"{PSQL} 'select sum(n) from numbers'", "6"),
        ),
        # Of its System V segment CRIU dumps only one of the tree's own IPC namespace.
        launcher="unshare --ipc setpriv --reuid=postgres --regid=postgres --clear-groups",
        dumper=f"{AS_POSTGRES} criu dump --unprivileged",
    ),
    Program(
        "dbus",
        proves=("unix-listen", "unix-accepted"),
        ready=(f"{DBUS}.example.Counter / org.example.Ask", "uint32 1"),
        before=((f"{DBUS}.example.Counter / org.example.Ask", "uint32 2"),),
        same=(
            f"{DBUS}.freedesktop.DBus / org.freedesktop.DBus.GetNameOwner string:org.example.Counter",
            f"{DBUS}.freedesktop.DBus / org.freedesktop.DBus.GetId",
        ),
        after=((f"{DBUS}.example.Counter / org.example.Ask", "uint32 3"),),
    ),
    Program(
        "multiprocessing",
        proves=("posix-shm", "semaphore", "unix-listen"),
        ready=(f"{ASK} pool /srv/multiprocessing/socket 3", "1 6 2"),
        before=((f"{ASK} pool /srv/multiprocessing/socket 4", "2 14 2"),),
        after=(
            (f"{ASK} pool /srv/multiprocessing/socket 5", "3 24 2"),
            ("od -An -N1 -tu1 /dev/shm/pool-numbers", "24"),
        ),
    ),
    Program(
        "node",
        ready=(f"{ASK} http /srv/node/socket /", "1"),
        before=((f"{ASK} http /srv/node/socket /", "2"),),
        after=((f"{ASK} http /srv/node/socket /", "3"), (f"{ASK} http /srv/node/socket /", "4")),
    ),
    Program(
        "xvfb",
        ready=("xwininfo -display :7 -name the-clock | grep -c 'Map State: IsViewable'", "1"),
        before=(("xprop -display :7 -root -f llmux 8s -set llmux asleep", ""),),
        same=(
            "xwininfo -display :7 -root -tree",
            "xprop -display :7 -root llmux",
            "xwd -display :7 -root | sha256sum",
        ),
        after=(
            ("xprop -display :7 -root -f llmux 8s -set llmux awake", ""),
            ("xprop -display :7 -root llmux", 'llmux(STRING) = "awake"'),
        ),
    ),
    Program(
        "jvm",
        proves=("threads", "unix-listen"),
        ready=(f"{ASK} line /srv/jvm/socket 5", "1 5"),
        before=((f"{ASK} line /srv/jvm/socket 6", "2 11"),),
        after=(
            (f"{ASK} line /srv/jvm/socket 7", "3 18"),
            ("jcmd Counter GC.run | tail -n 1", "Command executed successfully"),
        ),
    ),
    Program(
        "celery",
        ready=("PYTHONPATH=/programs python3 /programs/tasks.py 1 1 | cut -d' ' -f1", "2"),
        before=(),
        same=("PYTHONPATH=/programs python3 /programs/tasks.py 3 4",),
        after=(("PYTHONPATH=/programs python3 /programs/tasks.py 5 6 | cut -d' ' -f1", "11"),),
    ),
)


@dataclass(frozen=True)
class Dumped:
    """What container A, which is gone, has left."""

    mounts: tuple[Mount, ...]
    said: dict[str, list[str]]
    """By a program's name, what its commands of `same` printed."""
    failures: dict[str, str]
    """By a program's name, how its steps or CRIU failed."""


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory, nothing_left_behind: None) -> Dumped:
    """Dump every program of one container, which is removed then."""
    check_image(IMAGE)
    shared, volume = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("postgres")
    mounts = (
        Mount(SCRIPTS, "/programs", read_only=True),
        Mount(shared, "/images"),
        Mount(volume, "/srv/postgres"),
    )
    made = Dumped(mounts, {}, {})
    with started(Run(IMAGE, mounts, command=REAPS), "a") as a:
        shell(a, "chown postgres:postgres /srv/postgres")
        for number, program in enumerate(PROGRAMS, 1):
            shell(a, f"sh /programs/launch {program.name} {number * 1000} {program.launcher}")
        for program in PROGRAMS:
            try:
                made.said[program.name] = put_in_state(a, program)
                shell(a, dump_of(program))
            except (AssertionError, CommandError, RuntimeError) as error:
                made.failures[program.name] = str(error)
    return made


@pytest.fixture(scope="module")
def b(dumped: Dumped) -> Iterator[Container]:
    with started(Run(IMAGE, dumped.mounts, command=REAPS), "b") as container:
        yield container


@pytest.fixture(scope="module")
def bare(dumped: Dumped) -> Iterator[Container]:
    with started(Run(IMAGE, dumped.mounts, command=REAPS), "bare") as container:
        yield container


def shell(container: Container, script: str, within: float = 60) -> str:
    """Return what a script prints, its words one space apart."""
    done = container.attempt("sh", "-c", script, timeout=within)
    if done.code != 0:
        raise RuntimeError(f"{script}\n{done.output}{done.errors}")
    return " ".join(done.output.split())


def put_in_state(container: Container, program: Program) -> list[str]:
    wait_until(container, program.ready)
    check(container, program.before)
    return [shell(container, command) for command in program.same]


def check(container: Container, steps: tuple[Step, ...]) -> None:
    said = [(command, shell(container, command)) for command, _ in steps]
    assert said == list(steps)


def wait_until(container: Container, step: Step) -> None:
    deadline = time.monotonic() + 60
    command, words = step
    while (done := container.attempt("sh", "-c", command)).output.split() != words.split():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{command}\n{done.output}{done.errors}")
        time.sleep(0.1)


def dump_of(program: Program) -> str:
    directory = f"/images/{program.name}"
    owner = "postgres" if program.dumper != "criu dump" else "root"
    made = f"mkdir -m 700 {directory}; chown {owner} {directory}"
    return f"{made}; {program.dumper} --tree $(cat /tmp/{program.name}.pid) --images-dir {directory} --link-remap {HOOK}"


def restore_of(program: Program, hook: str) -> str:
    # Ids far from all of the programs.
    ids = "echo 30000 > /proc/sys/kernel/ns_last_pid"
    return f"{ids}; criu restore --restore-detached --images-dir /images/{program.name} --link-remap {hook}"


@pytest.mark.parametrize(
    "program",
    [pytest.param(program, marks=pytest.mark.demand(*program.proves)) for program in PROGRAMS],
    ids=str,
)
def test_a_new_client_finds_the_restored_program_as_it_was(
    program: Program, dumped: Dumped, b: Container
) -> None:
    assert dumped.failures.get(program.name) is None
    shell(b, restore_of(program, HOOK))
    assert [shell(b, command) for command in program.same] == dumped.said[program.name]
    check(b, program.after)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_without_the_hook_criu_says_what_is_missing(
    program: Program, dumped: Dumped, bare: Container
) -> None:
    assert dumped.failures.get(program.name) is None
    done = bare.attempt("sh", "-c", restore_of(program, ""))
    assert done.code != 0
    assert re.search(r"Can't (open file|bind id) .*: No such file or directory", done.errors)
