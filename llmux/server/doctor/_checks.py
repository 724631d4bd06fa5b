"""Facts to findings: a small function for each thing, which knows what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from llmux.server._disk_use import DiskUse
from llmux.server._effect_errors import DOCKER_OPTIONS
from llmux.server.doctor._check_gpus import of_gpus
from llmux.server.doctor._facts import Configuration, Directory, Facts, Finding, Verdict
from llmux.server.doctor._units import size

_FINE, _NOTE, _LACKING = Verdict.FINE, Verdict.NOTE, Verdict.LACKING

# linux/capability.h
_NEEDED = {12: "NET_ADMIN", 19: "SYS_PTRACE", 21: "SYS_ADMIN"}
"""What CRIU and the sandboxes cannot do without; CAP_SYS_ADMIN includes CAP_CHECKPOINT_RESTORE."""
_USEFUL = {0: "CHOWN", 1: "DAC_OVERRIDE", 3: "FOWNER", 5: "KILL", 6: "SETGID", 7: "SETUID", 18: "SYS_CHROOT"}
"""What a restore gives processes and files back with."""
_SMALL_SHM = 1 << 30
_SLOW = 200e6
_LITTLE_ROOM = 10 << 30
_OTHERS_WRITE = 0o022
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_OF_THE_CONTAINER = frozenset({"overlay", "aufs"})
_PTRACE_NEVER = 3
"""The kernel's Documentation/admin-guide/LSM/Yama.rst: no process may attach, and it cannot be set back."""


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Return everything that was looked at, in the order in which it is best mended."""
    return (
        *_platform(facts),
        *_rights(facts),
        *_namespaces(facts),
        *_criu(facts),
        *(finding for each in facts.directories for finding in _directory(each, facts)),
        *_memory(facts),
        *_processor(facts),
        *of_gpus(facts.gpus),
        *_ports(facts),
        *_configuration(facts),
    )


def _flag(facts: Facts, docker: str, otherwise: str) -> str:
    """Return what mends a container: a flag of `docker run` in one, else something to do on the machine."""
    if not facts.platform.container:
        return otherwise
    return f"{docker} (of {'podman' if facts.platform.container == 'podman' else 'docker'} run)"


# ---- the machine, and what the container lets through ----


def _platform(facts: Facts) -> Iterator[Finding]:
    platform = facts.platform
    where = f"{platform.machine}, Linux {platform.kernel}" + (
        f", in a container ({platform.container})" if platform.container else ""
    )
    if platform.machine == "x86_64":
        yield Finding("machine", _FINE, where)
    elif platform.machine == "aarch64":
        yield Finding("machine", _NOTE, where, "Sleeps to disk have been tried on x86_64 only")
    else:
        yield Finding("machine", _LACKING, where, "Run llmux on x86_64; it knows no other processor well")
    if facts.control_groups == 0:
        yield Finding("cgroups", _NOTE, "no control groups are mounted: memory limits cannot be seen")
    else:
        yield Finding("cgroups", _FINE, f"version {facts.control_groups}")


def _rights(facts: Facts) -> Iterator[Finding]:
    rights = facts.rights
    if rights.user != 0:
        yield Finding("user", _LACKING, f"user {rights.user}", _flag(facts, "--user 0", "Run llmux as root"))
    else:
        yield Finding("user", _FINE, "root")
    yield _capabilities(facts)
    if rights.seccomp:
        seen = "a seccomp filter is on, and so engines' own filters cannot be read"
        mend = _flag(facts, "--security-opt seccomp=unconfined", "Take SystemCallFilter= out of llmux's unit")
        yield Finding("seccomp", _LACKING, seen, mend)
    else:
        yield Finding("seccomp", _FINE, "no filter")
    if rights.apparmor:
        seen = f"confined by the profile {rights.apparmor}"
        mend = _flag(facts, "--security-opt apparmor=unconfined", "Take AppArmorProfile= out of llmux's unit")
        yield Finding("apparmor", _LACKING, seen, mend)
    else:
        yield Finding("apparmor", _FINE, "not confined")
    if rights.ptrace_scope >= _PTRACE_NEVER:
        seen = "kernel.yama.ptrace_scope is 3: nobody may look into a process, CRIU neither"
        yield Finding("ptrace", _LACKING, seen, "Set kernel.yama.ptrace_scope to 2 or less, and reboot")
    else:
        yield Finding("ptrace", _FINE, f"kernel.yama.ptrace_scope is {rights.ptrace_scope}")


def _capabilities(facts: Facts) -> Finding:
    rights = facts.rights
    lacking = [name for bit, name in _NEEDED.items() if not rights.effective >> bit & 1]
    missed = [name for bit, name in _USEFUL.items() if not rights.effective >> bit & 1]
    if not lacking and not missed:
        return Finding("capabilities", _FINE, "all that are needed")
    names = [*lacking, *missed]
    held_back = [name for bit, name in (_NEEDED | _USEFUL).items() if not rights.bounding >> bit & 1]
    by_flags = " ".join(f"--cap-add {name}" for name in names)
    otherwise = f"CapabilityBoundingSet= of llmux's unit holds back {', '.join(held_back)}"
    mend = _flag(facts, by_flags, otherwise if held_back else "Run llmux as root")
    return Finding("capabilities", _LACKING if lacking else _NOTE, f"without {', '.join(names)}", mend)


def _namespaces(facts: Facts) -> Iterator[Finding]:
    rights = facts.rights
    for topic, name, count in (
        ("namespaces.pid", "max_pid_namespaces", rights.pid_namespaces),
        ("namespaces.mount", "max_mnt_namespaces", rights.mount_namespaces),
    ):
        if count == 0:
            yield Finding(topic, _LACKING, f"user.{name} is 0", f"sysctl -w user.{name}=10000 (on the host)")
    systempaths = _flag(
        facts, "--security-opt systempaths=unconfined", "Mount /proc as a whole, and writable"
    )
    if facts.sandbox:
        mend = facts.sandbox.hint
        if "/proc" in facts.sandbox.reason:
            mend = systempaths
        yield Finding("sandbox", _LACKING, facts.sandbox.reason, mend)
        return
    yield Finding("sandbox", _FINE, "PID and mount namespaces with a /proc and a /dev/shm of their own")
    if facts.last_pid:
        yield Finding("ns_last_pid", _LACKING, facts.last_pid.reason, systempaths)
    else:
        yield Finding("ns_last_pid", _FINE, "ids of new processes can be set")


# ---- CRIU ----


_NOT_NEEDED: dict[DiskUse, str] = {
    DiskUse.WHERE_IT_CAN: "not needed: without it models that sleep in memory are ended where their room is wanted, instead of going to disk",
    DiskUse.NEVER: "not needed: no model of the configuration sleeps on disk",
}


def _criu(facts: Facts) -> Iterator[Finding]:
    """Tell how CRIU is; what is lacking of it is worth a note only where no model was configured to sleep by it."""
    not_needed = _NOT_NEEDED.get(facts.wanted.checkpoints)
    for finding in _looked_at(facts):
        if not_needed and finding.verdict is _LACKING:
            mend = "" if facts.wanted.checkpoints is DiskUse.NEVER else finding.mend
            yield replace(finding, verdict=_NOTE, seen=f"{finding.seen} ({not_needed})", mend=mend)
        else:
            yield finding


def _looked_at(facts: Facts) -> Iterator[Finding]:
    yield from _program(facts)
    for topic, problem, fine in (
        ("criu.pycriu", facts.criu.pycriu, "reads CRIU's images"),
        ("criu.hook", facts.criu.hook, "llmux-criu-hook is installed"),
    ):
        if problem:
            yield Finding(topic, _LACKING, problem.reason, problem.hint)
        else:
            yield Finding(topic, _FINE, fine)
    yield from _trial(facts)


def _trial(facts: Facts) -> Iterator[Finding]:
    """Tell what CRIU said itself. What it needs can be known in part only; what it does, it has done."""
    trial = facts.trial
    if trial is None:
        return
    for topic, done, failure, seconds in (
        ("criu.dump", "dumped", trial.dump, trial.dump_seconds),
        ("criu.restore", "restored", trial.restore, trial.restore_seconds),
    ):
        if failure:
            yield Finding(
                topic,
                _LACKING,
                f"a small process cannot be {done}: {failure.reason}",
                failure.hint or _all_rights(facts),
            )
        elif seconds is not None:
            yield Finding(topic, _FINE, f"a small process was {done} in {seconds:.2f} s")


def _all_rights(facts: Facts) -> str:
    """Return what mends whatever CRIU is kept from."""
    otherwise = "Run llmux as root with all capabilities, and outside any filter of system calls"
    return _flag(facts, DOCKER_OPTIONS, otherwise)


def _program(facts: Facts) -> Iterator[Finding]:
    criu = facts.criu
    version, needed = (".".join(map(str, parts)) for parts in (criu.version, criu.oldest))
    install = (
        f"CRIU {needed} or newer: Debian testing has it (criu, python3-pycriu); what this system's apt has may be older; "
        "the images llmux:tiny and llmux:vllm have it. checkpoint.criu_path names one elsewhere"
    )
    if not criu.found:
        yield Finding("criu.version", _LACKING, f"there is no {criu.path}", install)
        return
    if not criu.version:
        yield Finding("criu.version", _LACKING, f"{criu.path} tells no version: {criu.said!r}", install)
    elif criu.version < criu.oldest:
        yield Finding("criu.version", _LACKING, f"{version}, and llmux needs {needed}", install)
    else:
        yield Finding("criu.version", _FINE, f"{version} ({criu.path})")
    if criu.check:
        mend = criu.check.hint or _all_rights(facts)
        yield Finding("criu.check", _LACKING, f"`criu check`: {criu.check.reason}", mend)
    else:
        yield Finding("criu.check", _FINE, "`criu check` is content with the kernel")


# ---- directories ----


def _directory(directory: Directory, facts: Facts) -> Iterator[Finding]:
    topic, path = directory.role, directory.path
    if directory.problem:
        mend = _flag(facts, f"--volume HOST_PATH:{path}", f"mkdir -p {path}, or set {topic} to another")
        yield Finding(topic, _LACKING, f"{path}: {directory.problem}", mend)
        return
    if directory.there and directory.owner != facts.rights.user:
        seen = f"{path} belongs to user {directory.owner}, and llmux runs as user {facts.rights.user}"
        yield Finding(topic, _LACKING, seen, f"chown {facts.rights.user} {path}")
    elif directory.there and directory.mode & _OTHERS_WRITE and not directory.mode & 0o1000:
        seen = f"others may write to {path} (mode {directory.mode:04o})"
        yield Finding(topic, _LACKING, seen, f"chmod go-w {path}")
    else:
        there = "" if directory.there else " (will be made)"
        seen = f"{path}{there}: {size(directory.free)} free on {directory.file_system}"
        yield Finding(topic, _FINE, seen)
    if topic == "checkpoint.images_dir" and facts.wanted.checkpoints is not DiskUse.NEVER:
        yield from _place_of_checkpoints(directory, facts)


def _place_of_checkpoints(directory: Directory, facts: Facts) -> Iterator[Finding]:
    topic, path = f"{directory.role}.kind", directory.path
    if directory.file_system in _IN_MEMORY:
        seen = f"{path} is in memory ({directory.file_system}): a checkpoint there takes the memory that a sleep gives back"
        yield Finding(topic, _NOTE, seen, _flag(facts, f"--volume HOST_PATH:{path}", "Set it to a disk"))
    elif facts.platform.container and directory.file_system in _OF_THE_CONTAINER:
        seen = (
            f"{path} is the container's own: checkpoints go with it, and no other container wakes from them"
        )
        yield Finding(topic, _NOTE, seen, f"--volume HOST_PATH:{path} (of docker run)")
    if directory.free < _LITTLE_ROOM:
        seen = f"{size(directory.free)} are free at {path}; a checkpoint is about as large as its engine's memory"
        yield Finding(f"{directory.role}.room", _NOTE, seen, "Make room, or set it to a larger disk")
    if speed := directory.speed:
        seen = f"writes {_rate(speed.write)}, reads {_rate(speed.read)} (measured with {size(speed.bytes)})"
        slow = min(speed.write, speed.read) < _SLOW
        minutes = (10 << 30) / min(speed.write, speed.read) / 60
        mend = f"10 GiB take {minutes:.1f} minutes; a local NVMe disk is made for this" if slow else ""
        yield Finding(f"{directory.role}.speed", _NOTE if slow else _FINE, seen, mend)


# ---- memory, processor ----


def _memory(facts: Facts) -> Iterator[Finding]:
    yield Finding("memory", _FINE, facts.memory)
    shm = facts.shm
    if shm.problem:
        yield Finding("shm", _LACKING, f"{shm.path}: {shm.problem}", f"mount -t tmpfs tmpfs {shm.path}")
    elif shm.free < _SMALL_SHM:
        seen = f"{shm.path} has {size(shm.free)}; it counts only for models with isolation.shm false"
        yield Finding(
            "shm", _NOTE, seen, _flag(facts, "--shm-size 16g", f"mount -o remount,size=16g {shm.path}")
        )
    else:
        yield Finding("shm", _FINE, f"{shm.path} has {size(shm.free)}")


def _processor(facts: Facts) -> Iterator[Finding]:
    if "amx_tile" not in facts.processor_flags:
        yield Finding("processor", _FINE, "no AMX, which CRIU could not restore")
    elif facts.gpus.each:
        yield Finding("processor", _FINE, "AMX, which engines on GPUs do not use")
    else:
        seen = "AMX: an engine that uses it cannot be restored, CRIU restores no permission for it"
        yield Finding("processor", _NOTE, seen, "Give vLLM on this processor --dtype float32 in extra_args")


# ---- ports ----


def _ports(facts: Facts) -> Iterator[Finding]:
    for taken in facts.taken:
        port, field = taken.port.port, taken.port.field
        if taken.pid is None:
            seen = f"{field}: somebody listens on {port} whose process is not seen from here"
            mend = f"Unless that is llmux itself: end it (`ss -ltnp` on the host says who it is), or change {field}"
        else:
            seen = f"{field}: {taken.name or 'a program'} (process {taken.pid}) listens on {port}"
            mend = f"End it, or change {field}"
        yield Finding(f"port.{port}", _NOTE, seen, mend)
    if facts.wanted.ports and not facts.taken:
        ports = ", ".join(str(each.port) for each in facts.wanted.ports)
        yield Finding("ports", _FINE, f"nobody but llmux and its engines listens on {ports}")


# ---- the configuration ----


def _configuration(facts: Facts) -> Iterator[Finding]:
    found = facts.configuration
    if found is None or not found.there:
        where = f"there is no {found.path}; " if found else ""
        writes = f"`llmux init --output {found.path}` writes one" if found else "`llmux init` writes one"
        mend = f"{writes}; --config names yours"
        yield Finding("configuration", _NOTE, f"{where}defaults were looked at", mend)
        return
    for need in found.needs:
        if lack := need.missing:
            yield Finding(need.topic, _LACKING, lack.reason, lack.hint)
        else:
            yield Finding(need.topic, _FINE, need.place)
    for fault in found.faults:
        yield Finding("configuration", _LACKING, fault, f"Change {found.path}")
    for remark in found.remarks:
        yield Finding("configuration", _NOTE, remark)
    if not found.faults:
        yield _served(found, facts)


def _served(found: Configuration, facts: Facts) -> Finding:
    """Tell what all that comes to; what is lacking by its own finding is not counted as lacking once more."""
    if found.sleepers:
        told_above = any(each.verdict is _LACKING for each in (*_rights(facts), *_criu(facts)))
        seen = f"{found.path} cannot be served here: {found.sleepers}"
        mend = f"Mend what is lacking{' above' if told_above else ''}, or change {found.path}"
        return Finding("configuration", _NOTE if told_above else _LACKING, seen, mend)
    if stopped := dict.fromkeys(name for need in found.needs if need.missing for name in need.models):
        seen = f"{found.path} can be served here, but {', '.join(stopped)} cannot start"
        return Finding("configuration", _NOTE, seen, "Mend what is lacking above")
    return Finding("configuration", _FINE, f"{found.path} can be served here")


def _rate(rate: float) -> str:
    return f"{rate / 1e9:.2f} GB/s" if rate >= 1e9 else f"{rate / 1e6:.0f} MB/s"
