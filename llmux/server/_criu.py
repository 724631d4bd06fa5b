"""criu: what it is called with, what must be there for it, and what its failures mean.

Interface:
    CriuSettings(criu_path, cuda_plugin_dir=None, cuda_checkpoint_path=None, log_dir=, ...)
    await check(settings) -> CriuVersion        raises CriuMissing, CriuTooOld, PycriuMissing, NotPermitted
    clean_work_directories(run_dir)
    await dump(settings, sandbox, pid, directory) -> DumpStats       raises DumpFailed; the tree then runs on
    await restore(settings, sandbox, directory, max_id=) -> Child    raises RestoreFailed, having undone what was rebuilt

criu runs inside the model's sandbox, in the engine's own PID and mount namespaces, so the images hold neither, and the
restored root becomes the child of the sandbox's init.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmux.criu_images import PRIVATE_MOUNTS_VARIABLE, check_pycriu, errors
from llmux.server._criu_log import Diagnosis, diagnose, duration_of, version_of
from llmux.server._effect_errors import (
    DOCKER_OPTIONS,
    CriuMissing,
    CriuTooOld,
    DumpFailed,
    EffectError,
    NotPermitted,
    ProgramMissing,
    PycriuMissing,
    RestoreFailed,
)
from llmux.server._locks import Lock, remove_unlocked
from llmux.server._process import run
from llmux.server._sandbox import Child, Sandbox
from llmux.server._taking_back import take_back

OLDEST_CRIU = (4, 2)
"""Earlier ones cannot dump on kernel 6.16 and newer: `Can't get 1:16 opt: Operation not supported` (SO_PASSCRED)."""

_CHECK_TIMEOUT = 30.0
_LOG_LIMIT = 64 << 20
_LEAST_ROOM = 1 << 20
"""Bytes: criu fails to write a page's worth of an image while there is still this little left."""
_WORK_PREFIX = "criu-"
_HOOK = "llmux-criu-hook"
STAGES = Path(__file__).with_name("criu_stages.sh")
"""criu's action script: calls the hook, whose path is in HOOK_VARIABLE, at the stages that need it."""
HOOK_VARIABLE = "LLMUX_CRIU_HOOK"
_OUR_CUDA_CHECKPOINT = Path(__file__).with_name("cuda") / "bin"
_PYTHON_VARIABLE = "LLMUX_PYTHON"

# linux/capability.h. CAP_SYS_ADMIN includes CAP_CHECKPOINT_RESTORE.
_CAPABILITIES = {12: "CAP_NET_ADMIN", 19: "CAP_SYS_PTRACE", 21: "CAP_SYS_ADMIN"}
_DOCKER_HINT = f"In Docker: {DOCKER_OPTIONS}"

_BOTH = (
    "--no-default-config",  # a file of the machine's must not change what a checkpoint is
    "-v3",  # with time stamps, which tell criu's lines from the hook's
    "--display-stats",
    # Connections between the processes of one engine live on; both their ends are in the tree.
    "--tcp-established",
    # A peer outside the tree of a datagram socket (a logger) is connected to again by its path.
    "--ext-unix-sk",
    # Locks of a process on its own files are otherwise refused at the dump and lost at the restore.
    "--file-locks",
    # The other container has cgroups of its own; which, is the container engine's business.
    "--manage-cgroups=ignore",
)
_DUMP = (
    # sem_open's files: opened under a name that is gone, alive under another. The hook carries the links.
    "--link-remap",
    # By default firewall rules stop packets from peers outside; a restore that fails leaves them behind in the network
    # namespace, which may be the host's. Peers inside the tree are frozen together, so nothing needs stopping.
    "--network-lock",
    "skip",
    # A connection that nobody has accepted yet is its client's to make again.
    "--skip-in-flight",
    # Deleted files that are still open go into the images up to this size; criu's own limit is 1 MiB.
    "--ghost-limit",
    "1G",
)
_RESTORE = (
    # The restored root becomes the init's child, which can wait for it and which the kernel kills it with.
    "--restore-detached",
    "--restore-sibling",
)


@dataclass(frozen=True)
class CriuVersion:
    """A version such as 4.2.1."""

    parts: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))


@dataclass(frozen=True)
class CriuSettings:
    """How to run criu. Times in seconds."""

    criu_path: str = "criu"
    cuda_plugin_dir: str | None = None
    """Used where it exists and holds a plugin; criu looks into its own default directory otherwise."""
    plugins: bool = True
    """Whether criu may load plugins: where not, it looks for them in its work directory, which holds none."""
    cuda_checkpoint_path: str | None = None
    """The plugin finds `cuda-checkpoint` by PATH: its directory is put first there."""
    hook_path: str = str(Path(sys.executable).with_name(_HOOK))
    log_dir: Path = Path("/var/log/llmux")
    """MODEL.dump.log (of a dump that failed; a good one's is dump.log in the checkpoint) and MODEL.restore.log."""
    run_dir: Path = Path("/run/llmux")
    freeze_timeout: int = 60
    """How long stopping all threads may take, locking the accelerator's work included."""
    dump_timeout: float = 1800.0
    restore_timeout: float = 1800.0
    extra_dump: tuple[str, ...] = ()
    extra_restore: tuple[str, ...] = ()


@dataclass(frozen=True)
class DumpStats:
    """What a dump took, in seconds: `frozen` is how long the engine stood still before it was ended."""

    seconds: float
    frozen: float | None


async def check(settings: CriuSettings) -> CriuVersion:
    """Find out now what would make every dump fail later.

    Raises CriuMissing, CriuTooOld, PycriuMissing, NotPermitted.
    """
    await asyncio.to_thread(_check_rights_here)
    version = await _check_version(settings)
    await asyncio.to_thread(_check_library, settings)
    checked = await run([settings.criu_path, "check"], timeout=_CHECK_TIMEOUT)
    if checked.code != 0:
        found = diagnose((checked.stdout + checked.stderr).decode("utf-8", "replace"))
        raise NotPermitted(
            f"`{settings.criu_path} check` says: {found.reason}", hint=found.hint or _DOCKER_HINT
        )
    return version


async def dump(
    settings: CriuSettings, sandbox: Sandbox, pid: int, directory: Path, name: str | None = None
) -> DumpStats:
    """Dump the tree of `pid`, an id inside `sandbox`, into `directory`; the tree is gone afterwards.

    `name` is for the log's file name; by default the directory's parent's, which in the store is the model's.
    Raises DumpFailed: the tree then runs on, and `directory` holds nothing that can be restored.
    """
    log = directory / "dump.log"  # where the hook looks for criu's version
    began = time.monotonic()
    async with _work_directory(settings) as work:
        argv = await asyncio.to_thread(dump_arguments, settings, pid, directory, work)
        env = _environment(settings, sandbox)
        kept = settings.log_dir / f"{name or directory.parent.name}.dump.log"
        try:
            code = await sandbox.run(argv, log=log, timeout=settings.dump_timeout, env=env)
        except EffectError as error:
            await asyncio.to_thread(_move, log, kept)
            raise DumpFailed(error.what(), (), str(kept), hint=error.hint) from error
    text = await asyncio.to_thread(_read_log, log)
    if code != 0:
        full = await asyncio.to_thread(_full_disk, directory)
        await asyncio.to_thread(_move, log, kept)
        found = full or diagnose(text)
        raise DumpFailed(found.reason, found.errors, str(kept), hint=found.hint)
    return DumpStats(time.monotonic() - began, duration_of(text, "Frozen time"))


async def restore(
    settings: CriuSettings, sandbox: Sandbox, directory: Path, *, max_id: int, name: str | None = None
) -> Child:
    """Restore the checkpoint in `directory` into `sandbox`, a fresh one; return its root, running.

    `max_id` is the highest id in the checkpoint: criu's own ids and all later ones then lie above those of the tree.
    Raises RestoreFailed, having taken back what was made for it; the sandbox is then to be closed.
    """
    log = settings.log_dir / f"{name or directory.parent.name}.restore.log"
    await asyncio.to_thread(_begin_log, log)
    try:
        async with _work_directory(settings) as work:
            return await _restore(settings, sandbox, directory, max_id, work, log)
    except RestoreFailed as failed:
        failed.left = await take_back(sandbox, directory, log, _environment(settings, sandbox))
        raise
    except BaseException:  # llmux is told to stop, most likely
        await take_back(sandbox, directory, log, _environment(settings, sandbox))
        raise


async def _restore(  # noqa: PLR0913, PLR0917 - what one run of criu is told
    settings: CriuSettings, sandbox: Sandbox, directory: Path, max_id: int, work: Path, log: Path
) -> Child:
    """Run criu once, and leave behind what it leaves behind. Raises RestoreFailed."""
    pidfile = work / "pid"
    argv = await asyncio.to_thread(restore_arguments, settings, directory, work, pidfile)
    env = _environment(settings, sandbox)
    try:
        code = await sandbox.run(argv, log=log, timeout=settings.restore_timeout, last_pid=max_id, env=env)
        if code == 0:
            return sandbox.adopt(int(await asyncio.to_thread(pidfile.read_text, "ascii")))
    except EffectError as error:
        raise RestoreFailed(error.what(), (), str(log), hint=error.hint) from error
    except (OSError, ValueError) as error:
        raise RestoreFailed(f"criu named no root task: {error}", (), str(log)) from error
    found = diagnose(await asyncio.to_thread(_read_log, log))
    raise RestoreFailed(found.reason, found.errors, str(log), hint=found.hint)


def dump_arguments(settings: CriuSettings, pid: int, directory: Path, work: Path) -> tuple[str, ...]:
    """Return the command line of a dump."""
    return (
        *(settings.criu_path, "dump", "--tree", str(pid)),
        *_common_arguments(settings, directory, work),
        *_DUMP,
        *("--timeout", str(settings.freeze_timeout)),
        *settings.extra_dump,
    )


def restore_arguments(settings: CriuSettings, directory: Path, work: Path, pidfile: Path) -> tuple[str, ...]:
    """Return the command line of a restore."""
    return (
        *(settings.criu_path, "restore"),
        *_common_arguments(settings, directory, work),
        *_RESTORE,
        *("--pidfile", str(pidfile)),
        *settings.extra_restore,
    )


def _common_arguments(settings: CriuSettings, directory: Path, work: Path) -> tuple[str, ...]:
    # Statistics and pidfile go to the work directory: the images may be read-only, and shared by containers.
    places = ("--images-dir", str(directory), "--work-dir", str(work), "--action-script", str(STAGES))
    plugins = _plugin_arguments(settings.cuda_plugin_dir) if settings.plugins else ("--libdir", str(work))
    return (*places, *_BOTH, *plugins)


def _plugin_arguments(directory: str | None) -> tuple[str, ...]:
    if directory and any(Path(directory).glob("*.so")):
        return ("--libdir", directory)
    return ()


def _environment(settings: CriuSettings, sandbox: Sandbox) -> Mapping[str, str]:
    """Return llmux's own environment without what would configure criu behind our back, for a program in `sandbox`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CRIU_", "CRTOOLS_"))}
    # Lets a rebuild mount a copy over a file that has changed since the dump: nobody else sees this mount.
    env[PRIVATE_MOUNTS_VARIABLE] = sandbox.mount_namespace
    env[HOOK_VARIABLE] = settings.hook_path
    # The plugin looks for `cuda-checkpoint` along PATH: the configured one first, ours last.
    env["PATH"] = f"{env.get('PATH', os.defpath)}:{_OUR_CUDA_CHECKPOINT}"
    env[_PYTHON_VARIABLE] = sys.executable
    if settings.cuda_checkpoint_path and Path(settings.cuda_checkpoint_path).is_absolute():
        env["PATH"] = f"{Path(settings.cuda_checkpoint_path).parent}:{env['PATH']}"
    return env


@contextlib.asynccontextmanager
async def _work_directory(settings: CriuSettings) -> AsyncIterator[Path]:
    work, lock = await asyncio.to_thread(_make_work_directory, settings.run_dir)
    try:
        yield work
    finally:
        lock.close()
        await asyncio.to_thread(shutil.rmtree, work)


def _make_work_directory(run_dir: Path) -> tuple[Path, Lock]:
    """Make a directory for one run of criu; the lock keeps `clean_work_directories` of another llmux from it."""
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=run_dir))
    return work, Lock(work, fcntl.LOCK_SH)


def clean_work_directories(run_dir: Path) -> None:
    """Remove those of an llmux that was killed."""
    for work in run_dir.glob(f"{_WORK_PREFIX}*"):
        remove_unlocked(work)


async def _check_version(settings: CriuSettings) -> CriuVersion:
    needed = ".".join(map(str, OLDEST_CRIU))
    hint = (
        f"Install criu {needed} or newer (Debian testing, or from source) and set checkpoint.criu_path to it"
    )
    if await asyncio.to_thread(shutil.which, settings.criu_path) is None:
        raise CriuMissing(settings.criu_path, "there is no such program", hint=hint)
    try:
        told = await run([settings.criu_path, "--version"], timeout=_CHECK_TIMEOUT)
    except ProgramMissing as error:
        raise CriuMissing(settings.criu_path, error.reason, hint=hint) from error
    version = version_of(told.stdout.decode("utf-8", "replace"))
    if not version:
        said = (told.stdout + told.stderr).decode("utf-8", "replace").strip()[:200]
        raise CriuMissing(settings.criu_path, f"it tells no version: {said!r}", hint=hint)
    if version < OLDEST_CRIU:
        raise CriuTooOld(settings.criu_path, str(CriuVersion(version)), needed, hint=hint)
    return CriuVersion(version)


def _check_rights_here() -> None:
    _check_rights(Path("/proc/self/status").read_text("ascii"), os.geteuid())


def _check_rights(status: str, user: int) -> None:
    """Look at what this process may do; `status` is the text of /proc/self/status."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    effective = int(fields["CapEff"], 16)
    lacking = [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]
    if user != 0:
        raise NotPermitted(f"llmux runs as user {user}, not as root", hint="Run it as root")
    if lacking:
        raise NotPermitted(f"llmux lacks {', '.join(lacking)}", hint=_DOCKER_HINT)
    if int(fields.get("Seccomp", "0")) != 0:
        raise NotPermitted(
            "llmux runs under a seccomp filter, and so cannot read its engines' filters", hint=_DOCKER_HINT
        )


def _check_library(settings: CriuSettings) -> None:
    for program in (settings.hook_path, str(STAGES)):
        if not os.access(program, os.X_OK):
            hint = "Install llmux with its console scripts, as pip does"
            raise CriuMissing(program, "it does not exist or is no program", hint=hint)
    _check_pycriu()


def _check_pycriu() -> None:
    try:
        check_pycriu()
    except (errors.PycriuMissing, errors.PycriuIncompatible) as error:
        raise PycriuMissing(error.what(), hint=error.hint) from error


def _full_disk(directory: Path) -> Diagnosis | None:
    """Say so if the directory's file system is full: then criu's log, which is there too, is cut short or empty."""
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize >= _LEAST_ROOM:
        return None
    return diagnose(f"Error (llmux): Can't write to {directory}: No space left on device")


def _begin_log(log: Path) -> None:
    log.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    log.unlink(missing_ok=True)


def _read_log(log: Path) -> str:
    try:
        with log.open("rb") as file:
            return file.read(_LOG_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        return f"Error (llmux): the log cannot be read: {error}"


def _move(log: Path, place: Path) -> None:
    """Keep a failed dump's log: its directory will be removed. A log that is lost must not hide the failure itself."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a copy to another file system would be written through a link
        shutil.move(log, place)
