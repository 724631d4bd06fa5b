"""What the doctor has seen, and what it says of that, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from llmux.server._disk_use import DiskUse


class Verdict(StrEnum):
    """What one finding comes to."""

    FINE = "fine"
    NOTE = "note"  # works, and is worth knowing
    LACKING = "lacking"  # something that llmux is for does not work here


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    """A stable name for programs: `criu.version`."""
    verdict: Verdict
    seen: str
    mend: str = ""
    """The flag, the package or the command that mends it."""


@dataclass(frozen=True)
class Port:
    """A port that llmux or an engine is to listen on."""

    field: str
    """The configuration's field that says so."""
    host: str
    port: int


@dataclass(frozen=True)
class Wanted:
    """What is looked at: what a configuration says, or its defaults."""

    criu_path: str = "criu"
    cuda_plugin_dir: str | None = None
    cuda_checkpoint_path: str | None = None
    images_dir: str = "/var/lib/llmux/checkpoints"
    log_dir: str = "/var/log/llmux"
    state_dir: str = "/var/lib/llmux/state"
    checkpoints: DiskUse = DiskUse.WANTED
    """Whether some model sleeps to disk."""
    trial: bool = True
    """CRIU is to dump and restore a small process."""
    speed_bytes: int = 256 << 20
    """How much is written and read to measure the disk; 0: it is not measured."""
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Something that was tried and did not work."""

    reason: str
    hint: str = ""


@dataclass(frozen=True)
class Platform:
    """The machine and the container."""

    machine: str
    kernel: str
    container: str
    """`docker`, `podman`, another kind, or empty where there is none."""


@dataclass(frozen=True)
class Rights:
    """What this process may do (/proc/self/status and what is beside it)."""

    user: int
    effective: int
    bounding: int
    seccomp: int
    """0 none, 1 strict, 2 a filter."""
    apparmor: str
    """The profile that confines it; empty where none does."""
    ptrace_scope: int
    """kernel.yama.ptrace_scope; 0 where there is no Yama."""
    pid_namespaces: int
    mount_namespaces: int
    """How many may be made (/proc/sys/user)."""


@dataclass(frozen=True)
class Criu:
    """CRIU and what goes with it."""

    path: str
    found: bool
    version: tuple[int, ...] = ()
    said: str = ""
    """What it printed where that is no version."""
    oldest: tuple[int, ...] = ()
    """What llmux needs."""
    check: Failure | None = None
    """What `criu check` complained of."""
    pycriu: Failure | None = None
    hook: Failure | None = None


@dataclass(frozen=True)
class Trial:
    """A small process that CRIU was to dump, and then to restore. Times in seconds."""

    dump: Failure | None = None
    restore: Failure | None = None
    dump_seconds: float | None = None
    restore_seconds: float | None = None


@dataclass(frozen=True)
class Speed:
    """What a disk was measured to do, in bytes a second."""

    bytes: int
    write: float
    read: float


@dataclass(frozen=True)
class Directory:
    """A directory that llmux writes to; of one that is not there yet, the nearest one above it."""

    role: str
    """The configuration's field."""
    path: str
    there: bool
    """It exists."""
    nearest: str = ""
    owner: int = 0
    mode: int = 0o755
    file_system: str = ""
    free: int = 0
    problem: str = ""
    """Why nothing can be written there."""
    speed: Speed | None = None


@dataclass(frozen=True)
class GpuUser:
    """A process that is none of llmux's engines and has memory of a GPU."""

    pid: int
    name: str
    """Empty where it is not seen from here."""
    memory: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU; None is what the driver does not tell."""

    index: int
    name: str = ""
    uuid: str = ""
    memory: int = 0
    mig: bool | None = None
    mig_pending: bool | None = None
    """What it is once the GPU has been reset."""
    persistence: bool | None = None
    users: tuple[GpuUser, ...] | None = None
    problem: str = ""
    """Why it does not answer."""


@dataclass(frozen=True)
class Gpus:
    """NVIDIA's GPUs, and what checkpoints of processes that use them need."""

    each: tuple[Gpu, ...] = ()
    none_because: str = ""
    driver: str = ""
    cuda: str = ""
    checkpoint_api: bool = False
    """libcuda has the calls by which a process's GPU memory is moved out (driver 570 and newer)."""
    plugin: str = ""
    """CRIU's plugin for CUDA, where there is one."""
    cuda_checkpoint: str = ""
    """The program, where there is one."""


@dataclass(frozen=True)
class Taken:
    """A port that somebody has who is neither llmux nor an engine of one."""

    port: Port
    pid: int | None = None
    """None where the process is not seen from here."""
    name: str = ""


@dataclass(frozen=True)
class Need:
    """Something without which models of the configuration cannot start: an engine's program, or the path that a model is read from."""

    topic: str
    """Of its finding: `engine.vllm`, `model.NAME`."""
    place: str
    models: tuple[str, ...]
    """Which."""
    missing: Failure | None = None
    """That it is not there."""


@dataclass(frozen=True)
class Configuration:
    """The configuration that was looked at."""

    path: str
    there: bool = True
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    sleepers: str = ""
    """Which of its models a lack of CRIU keeps from sleeping as they are configured to, and why: then it cannot be served here at all."""
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything."""

    wanted: Wanted
    platform: Platform
    rights: Rights
    criu: Criu
    sandbox: Failure | None
    """Why no sandbox could be made here."""
    last_pid: Failure | None
    """Why the ids of new processes cannot be set in one."""
    directories: tuple[Directory, ...]
    shm: Directory
    memory: str
    """How much there is, and what bounds it."""
    processor_flags: frozenset[str]
    gpus: Gpus
    control_groups: int
    """Their version; 0 where none are mounted."""
    configuration: Configuration | None = field(default=None)
    taken: tuple[Taken, ...] = ()
    trial: Trial | None = None
    """None: not tried, or what must be there for it is not."""
