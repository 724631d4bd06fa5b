"""What is so on this machine and in this container, read from /proc: mounts, processor, kernel, ids, ports, abstract names."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from llmux.criu_images._facts import Inode, MountPoint, Port, Processor
from llmux.criu_images._linux import extended_stat
from llmux.criu_images._mount_namespaces import lasting_name
from llmux.criu_images._origin import ContainerStart
from llmux.criu_images._paths import RawPath

PRIVATE_MOUNTS_VARIABLE = "LLMUX_PRIVATE_MOUNT_NAMESPACE"
"""Names the mount namespace that belongs to one tree alone, as readlink(1) of /proc/self/ns/mnt prints it. Whoever makes
such a namespace sets it; the value is compared, so a variable inherited elsewhere proves nothing wrong."""

_PROC = Path("/proc")
_ENGINES_MARKS = ("/.dockerenv", "/run/.containerenv")
_OCTAL = re.compile(rb"\\([0-7]{3})")
# A name may hold newlines, so it ends where the next socket's line, or the file, does.
_SOCKET_NAME = re.compile(
    rb"^[0-9a-f]+: (?:[0-9A-F]+ ){5} *[0-9]+ ([@/].*?)\n(?=[0-9a-f]+: [0-9A-F]{8} |\Z)",
    re.MULTILINE | re.DOTALL,
)
_TCP_LISTEN = "0A"
_IPPROTO = {
    "tcp": socket.IPPROTO_TCP,
    "tcp6": socket.IPPROTO_TCP,
    "udp": socket.IPPROTO_UDP,
    "udp6": socket.IPPROTO_UDP,
}

# Features that a compiler or a library dispatches on; the rest of /proc/cpuinfo's flags are the kernel's own notes.
_INSTRUCTIONS = re.compile(
    r"(mmx|3dnow|sse|ssse|pni|avx|amx|fma|f16c|bmi|sha|gfni|vaes|vpclmul|aes\Z|pclmul|popcnt|lzcnt|abm\Z|adx\Z|movbe|movdir|"
    r"enqcmd|rdrand|rdseed|rdpid|rdtscp|fsgsbase|cx16|cx8|clwb|clflush|serialize|waitpkg|xsave|xgetbv|cldemote|lahf|tbm\Z|"
    r"xop\Z|erms|fsrm|prefetchwt1|"
    r"asimd|sve|sme(?!p)|fp(?!u)|crc32|atomics|lrcpc|dcp|flagm|i8mm|bf16|jscvt|fcma|pmull|sm3|sm4|uscat|paca|pacg|ssbs|bti|rng|mte|frint|"
    r"svei8mm|svebf16|ilrcpc|dgh|sb\Z)"
)


def read_mounts(pid: int | None = None) -> tuple[MountPoint, ...]:
    """Return the mounts that process `pid` sees (this process by default); raises OSError."""
    data = (_PROC / str(pid or "self") / "mountinfo").read_bytes()
    return tuple(_parse_mount(line) for line in data.splitlines())


def read_mounts_at(root: Path) -> tuple[MountPoint, ...]:
    """Return the mounts that this process sees, as they are in the tree below `root`: those outside are at its `/`. Raises OSError."""
    prefix = os.fsencode(root.resolve()).rstrip(b"/")
    return tuple(
        replace(mount, mountpoint=RawPath(_below(prefix, mount.mountpoint) or b"/"))
        for mount in read_mounts()
    )


def _below(prefix: bytes, path: RawPath) -> bytes:
    return path.removeprefix(prefix) if path.startswith(prefix + b"/") else b""


def _parse_mount(line: bytes) -> MountPoint:
    """Parse one line of proc_pid_mountinfo(5), whose optional fields end with a lone hyphen."""
    fields = line.split(b" ")
    end = fields.index(b"-", 6)
    return MountPoint(
        id=int(fields[0]),
        parent=int(fields[1]),
        device=fields[2].decode(),
        root=_unoctal(fields[3]),
        mountpoint=_unoctal(fields[4]),
        fstype=fields[end + 1].decode(),
        source=_unoctal(fields[end + 2]),
        shared=any(field.startswith(b"shared:") for field in fields[6:end]),
    )


def _unoctal(text: bytes) -> RawPath:
    return RawPath(_OCTAL.sub(lambda match: bytes([int(match.group(1), 8)]), text))


def read_processor() -> Processor:
    """Return the first processor's model and instruction-set features; raises OSError."""
    fields = dict(_cpuinfo_fields((_PROC / "cpuinfo").read_text(errors="replace")))
    words = (fields.get("flags") or fields.get("Features") or "").split()
    model = fields.get("model name") or fields.get("CPU implementer") or ""
    return Processor(model, frozenset(word for word in words if _INSTRUCTIONS.match(word)))


def _cpuinfo_fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n\n", 1)[0].splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()


def read_ids(of: int | None = None) -> Mapping[int, str]:
    """Return the ids in use in this PID namespace (PIDs, TIDs, and PGIDs and SIDs whose leader may be gone), with a holder's name.

    This process is left out: it is gone before the restore forks. Processes that vanish meanwhile are not in use. `of` is the restored root
    task, where CRIU has made it already: it holds its own id, and a PID namespace that is its own holds no others.
    """
    ids: dict[int, str] = {}
    if of is not None and (_PROC / f"{of}/ns/pid").readlink() != (_PROC / "self/ns/pid").readlink():
        return ids
    for process in _PROC.iterdir():
        if process.name.isdecimal() and int(process.name) not in {os.getpid(), of}:
            with suppress(OSError):
                _add_ids(ids, process)
    return ids


def _add_ids(ids: dict[int, str], process: Path) -> None:
    # The name is in parentheses and may hold any character, parentheses too.
    head, _, tail = (process / "stat").read_text(errors="replace").rpartition(")")
    name = head.partition("(")[2]
    state_ppid_pgid_sid = tail.split()[:4]
    for thread in (process / "task").iterdir():
        ids[int(thread.name)] = name
    for number, role in zip(map(int, state_ppid_pgid_sid[2:]), ("process group", "session"), strict=True):
        ids.setdefault(number, f"{name} (its {role})")


def is_alive(pid: int) -> bool:
    """Tell whether this PID namespace has the process, and not only its zombie."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}


def read_ports(of: int | None = None) -> tuple[Port, ...]:
    """Return the listening TCP and the bound UDP ports of this, or of process `of`'s, network namespace; raises OSError."""
    return tuple(port for table in _IPPROTO for port in _read_port_table(of, table))


def _read_port_table(of: int | None, table: str) -> Iterator[Port]:
    try:
        lines = (_PROC / str(of or "self") / "net" / table).read_text().splitlines()[1:]
    except FileNotFoundError:  # a kernel without IPv6
        return
    for line in lines:
        fields = line.split()
        if table.startswith("udp") or fields[3] == _TCP_LISTEN:
            address, _, port = fields[1].partition(":")
            family, text = _parse_address(address)
            yield Port(family, _IPPROTO[table], text, int(port, 16))


def _parse_address(text: str) -> tuple[int, str]:
    """Parse an address of /proc/net: 32-bit words in hex, each as this machine holds it."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    family = socket.AF_INET if len(text) == 8 else socket.AF_INET6
    return family, socket.inet_ntop(family, b"".join(words))


def read_socket_names(of: int | None = None) -> frozenset[bytes]:
    """Return the names of the Unix sockets of this, or of process `of`'s, network namespace; raises OSError.

    They are as the kernel prints them: paths as they were bound, abstract names with each NUL as '@'.
    """
    return frozenset(_SOCKET_NAME.findall((_PROC / str(of or "self") / "net" / "unix").read_bytes()))


def has_private_mounts() -> bool:
    """Tell whether a mount made here stays out of the container's main mount namespace.

    So it is if this is not PID 1's mount namespace, or if whoever made it says that it is one tree's own
    (`PRIVATE_MOUNTS_VARIABLE`).
    """
    here = str((_PROC / "self/ns/mnt").readlink())
    if os.environ.get(PRIVATE_MOUNTS_VARIABLE) == here:
        return True
    with suppress(OSError):
        return str((_PROC / "1/ns/mnt").readlink()) != here
    return False


def find_in_mounts(namespace: str) -> int | None:
    """Return a process that lives in the mount namespace of this `lasting_name`, or None."""
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or may not be looked at
            if lasting_name(process.name) == namespace:
                return int(process.name)
    return None


def is_held(fd: int) -> bool | None:
    """Tell whether anybody else has the regular file `fd` open or mapped, in whatever namespace; None where that can't be told.

    The kernel grants a write lease to a file's only user alone (F_SETLEASE of fcntl(2)), so we ask for one and give it back.
    """
    try:
        # Should somebody open the file in between, the kernel sends a signal: one that is ignored by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def find_container_start(root: Inode, mount: MountPoint) -> ContainerStart:
    """Find out when this container was created; `root` is its root directory, `mount` what that lies on.

    On overlayfs the root directory's birth is that of the writable layer, made with the container once its image is complete, and it outlives a
    stop and start. Elsewhere: the mark that the engine leaves in the root, or the start of PID 1, which is the machine's on a host.
    """
    if mount.fstype == "overlay" and root.birth_ns is not None:
        return ContainerStart(root.birth_ns, "birth of the overlay's writable layer")
    for mark in _ENGINES_MARKS:
        with suppress(OSError):
            birth = _birth(mark)
            if birth:  # a root made by a tool rather than by the kernel has births of 0
                return ContainerStart(birth, f"birth of {mark}")
    return ContainerStart(_start_of_init(), "start of PID 1")


def _birth(path: str) -> int | None:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return extended_stat(fd).birth_ns
    finally:
        os.close(fd)


def _start_of_init() -> int:
    ticks = int((_PROC / "1" / "stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    boot = int(_field(_PROC / "stat", "btime"))
    return boot * 10**9 + ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def _field(file: Path, name: str) -> str:
    return next(line.split()[1] for line in file.read_text().splitlines() if line.startswith(f"{name} "))
