"""Looks at this machine: reads what can be read, and tries out what can be tried. Whatever goes wrong becomes a fact."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
from pathlib import Path

from llmux.criu_images import check_pycriu, errors
from llmux.server import _node
from llmux.server._capacity import size
from llmux.server._criu import OLDEST_CRIU, STAGES, CriuSettings
from llmux.server._criu_log import diagnose, version_of
from llmux.server._disk_use import DiskUse
from llmux.server._effect_errors import EffectError
from llmux.server._process import run
from llmux.server._sandbox import FIRST_ENGINE_PID, Isolation, Sandbox
from llmux.server.doctor import _disk, _gpu, _listeners
from llmux.server.doctor._facts import (
    Configuration,
    Criu,
    Directory,
    Facts,
    Failure,
    Gpus,
    Platform,
    Rights,
    Taken,
    Wanted,
)
from llmux.server.doctor._trial import dump_and_restore

_TIMEOUT = 30.0


async def observe(wanted: Wanted, configuration: Configuration | None = None) -> Facts:
    """Return what is seen of this machine; leaves nothing behind."""
    sandbox, last_pid = await _sandbox()
    criu = await _criu(wanted.criu_path)
    return Facts(
        wanted=wanted,
        platform=await asyncio.to_thread(_platform, Path("/")),
        rights=await asyncio.to_thread(_rights, Path("/")),
        criu=criu,
        sandbox=sandbox,
        last_pid=last_pid,
        directories=await asyncio.to_thread(_directories, wanted),
        shm=await asyncio.to_thread(_disk.look_at, "shm", Path("/dev/shm")),  # noqa: S108 - the place itself
        memory=await asyncio.to_thread(_memory, wanted),
        processor_flags=await asyncio.to_thread(processor_flags),
        gpus=await asyncio.to_thread(_gpus, wanted),
        control_groups=await asyncio.to_thread(_control_groups, Path("/sys/fs/cgroup")),
        configuration=configuration,
        taken=await asyncio.to_thread(_taken, wanted),
        trial=await dump_and_restore(wanted) if wanted.trial and _can_try(criu, sandbox) else None,
    )


def _can_try(criu: Criu, sandbox: Failure | None) -> bool:
    """Say whether a trial would tell anything new: without these it must fail."""
    return criu.version >= OLDEST_CRIU and not (criu.pycriu or criu.hook or sandbox)


def _platform(root: Path) -> Platform:
    found = platform.uname()
    return Platform(found.machine, found.release, _container(root))


def _container(root: Path) -> str:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    # systemd's own way to know (man 1 systemd-detect-virt): whoever starts a container's first process may name it.
    variables = _text(root / "proc/1/environ").split("\0")
    return next((each.partition("=")[2] for each in variables if each.startswith("container=")), "")


def _rights(root: Path) -> Rights:
    status = dict(
        line.split(":\t", 1) for line in _text(root / "proc/self/status").splitlines() if ":\t" in line
    )
    profile = _text(root / "proc/self/attr/apparmor/current") or _text(root / "proc/self/attr/current")
    return Rights(
        user=os.geteuid(),
        effective=int(status.get("CapEff", "0"), 16),
        bounding=int(status.get("CapBnd", "0"), 16),
        seccomp=int(status.get("Seccomp", "0")),
        apparmor=_confined(profile),
        ptrace_scope=_number(root / "proc/sys/kernel/yama/ptrace_scope", 0),
        pid_namespaces=_number(root / "proc/sys/user/max_pid_namespaces", 1),
        mount_namespaces=_number(root / "proc/sys/user/max_mnt_namespaces", 1),
    )


def _confined(profile: str) -> str:
    """Return the profile's name where it is one of AppArmor's that is enforced (man 2 aa_getcon)."""
    name, _, mode = profile.strip("\0\n ").rpartition(" (")
    return name if mode == "enforce)" else ""


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _number(path: Path, otherwise: int) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else otherwise


async def _sandbox() -> tuple[Failure | None, Failure | None]:
    """Make a sandbox and start a program with an id of our choice in it, as every start and every wake does."""
    directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="llmux-doctor-")
    try:
        sandbox = await Sandbox.create(Isolation())
        try:
            log = Path(directory) / "log"
            await sandbox.run(("true",), log=log, timeout=_TIMEOUT, last_pid=FIRST_ENGINE_PID)
        except EffectError as error:
            return None, Failure(error.what(), error.hint)
        finally:
            await sandbox.close()
    except EffectError as error:
        return Failure(error.what(), error.hint), None
    finally:
        await asyncio.to_thread(shutil.rmtree, directory)
    return None, None


async def _criu(path: str) -> Criu:
    pycriu, hook = await asyncio.to_thread(_pycriu), await asyncio.to_thread(_hook)
    if await asyncio.to_thread(shutil.which, path) is None:
        return Criu(path, found=False, oldest=OLDEST_CRIU, pycriu=pycriu, hook=hook)
    try:
        told = await run([path, "--version"], timeout=_TIMEOUT)
        checked = await run([path, "check"], timeout=_TIMEOUT)
    except EffectError as error:
        return Criu(path, found=True, said=error.what(), oldest=OLDEST_CRIU, pycriu=pycriu, hook=hook)
    said = told.stdout.decode("utf-8", "replace")
    complaint = None
    if checked.code:
        found = diagnose((checked.stdout + checked.stderr).decode("utf-8", "replace"))
        complaint = Failure(found.reason, found.hint)
    return Criu(
        path, found=True, version=version_of(said), said=said.strip()[:200], oldest=OLDEST_CRIU,
        check=complaint, pycriu=pycriu, hook=hook,
    )  # fmt: skip


def _pycriu() -> Failure | None:
    try:
        check_pycriu()
    except (errors.PycriuMissing, errors.PycriuIncompatible) as error:
        return Failure(error.what(), error.hint)
    return None


def _hook() -> Failure | None:
    for program in (CriuSettings().hook_path, str(STAGES)):
        if not os.access(program, os.X_OK):
            return Failure(f"{program} is no program", "Install llmux with its console scripts, as pip does")
    return None


def _directories(wanted: Wanted) -> tuple[Directory, ...]:
    speed = 0 if wanted.checkpoints is DiskUse.NEVER else wanted.speed_bytes
    return (
        _disk.look_at("checkpoint.images_dir", Path(wanted.images_dir), speed),
        _disk.look_at("log_dir", Path(wanted.log_dir)),
        _disk.look_at("state_dir", Path(wanted.state_dir)),
    )


def _memory(wanted: Wanted) -> str:
    found = _node.look(Path(wanted.images_dir)).host_memory
    return f"{size(found.amount)} ({found.source})"


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the names that the kernel gives what the processor can do."""
    lines = (line.partition(":") for line in _text(cpuinfo).splitlines())
    return next(
        (frozenset(flags.split()) for name, _, flags in lines if name.strip() == "flags"), frozenset()
    )


def _gpus(wanted: Wanted) -> Gpus:
    return _gpu.look_at(wanted.cuda_plugin_dir, wanted.cuda_checkpoint_path)


def _taken(wanted: Wanted) -> tuple[Taken, ...]:
    return tuple(_listeners.look_at(wanted.ports))


def _control_groups(mounts: Path) -> int:
    if (mounts / "cgroup.controllers").exists():
        return 2
    return 1 if (mounts / "memory").exists() else 0
