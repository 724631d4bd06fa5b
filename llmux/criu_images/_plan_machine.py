"""What of the machine stands in a restore's way: ids, ports, abstract names, the processor, GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images._actions import Conflict
from llmux.criu_images._facts import Facts, Port
from llmux.criu_images._messages_sockets import BIND_TAKEN, PORT_TAKEN
from llmux.criu_images._messages_tasks import PID_TAKEN, TID_TAKEN
from llmux.criu_images._paths import escape
from llmux.criu_images._plan_nvidia import gpu_conflicts, gpu_warnings
from llmux.criu_images.manifest import Manifest, PortEntry

_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound
_INET6 = 10
"""AF_INET6 of Linux."""


def machine_conflicts(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    """Yield a conflict for each thing that only one tree can have, for a lesser processor, and for GPUs of another kind."""
    yield from _ids(manifest, facts)
    yield from _ports(manifest, facts)
    yield from _abstract_names(manifest, facts)
    yield from _processor(manifest, facts)
    yield from gpu_conflicts(manifest, facts)


def machine_warnings(manifest: Manifest, facts: Facts) -> Iterator[str]:
    """Yield what is unlike the dump's machine and may yet work."""
    if facts.kernel != manifest.host.kernel:
        yield f"this kernel is {facts.kernel}, the dump was made on {manifest.host.kernel}"
    if "amx_tile" in manifest.host.cpu_features:
        yield (
            "the dump's processor has AMX, and CRIU does not restore the permission to use it:"
            " a process that computed with it dies of SIGILL (keep oneDNN off it with float32)"
        )
    yield from gpu_warnings(manifest, facts)


def _ids(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    threads = frozenset(manifest.threads)
    for number in manifest.ids:
        if number in facts.ids:
            yield Conflict(
                f"id {number}",
                f"in use by {facts.ids[number]}",
                TID_TAKEN.say() if number in threads else PID_TAKEN.say(pid=number),
                "Restore in a PID namespace of its own, with ns_last_pid above the dump's ids.",
            )


def _ports(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    for entry in manifest.ports:
        if any(_clash(entry, port) for port in facts.ports):
            yield Conflict(
                f"port {entry.port}",
                f"taken on {entry.address}",
                PORT_TAKEN.say(),
                "Stop whatever listens there, or restore in a network namespace of its own.",
            )


def _clash(entry: PortEntry, port: Port) -> bool:
    if entry.port == 0 or (entry.protocol, entry.port) != (port.protocol, port.port):
        return False
    if entry.family == port.family:
        return entry.address == port.address or bool(_WILDCARDS & {entry.address, port.address})
    # An IPv6 socket on the wildcard takes the port for IPv4 too, unless it is IPv6 only; of the one that is
    # here we cannot see that, and take it for both.
    if entry.family == _INET6:
        return entry.address == "::" and not entry.v6only
    return port.address == "::"


def _abstract_names(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    names = {
        socket.name
        for socket in manifest.sockets
        if socket.abstract and not (socket.external or socket.own_network)
    }
    for name in sorted(names):
        if name.replace(b"\0", b"@") in facts.socket_names:
            yield Conflict(
                f"abstract socket {escape(name)}",
                "taken",
                BIND_TAKEN.say(name=""),
                "Stop whoever has it, or restore in a network namespace of its own.",
            )


def _processor(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    lacking = sorted(set(manifest.host.cpu_features) - facts.processor.features)
    if lacking:
        yield Conflict(
            "processor",
            f"lacks {', '.join(lacking)} of the dump's {manifest.host.cpu_model or 'processor'}",
            None,
            "Restore on a machine whose processor has them: the programs chose their code by them.",
        )
