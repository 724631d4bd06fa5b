"""Draw a dump as a graph: which process holds which end of what. The way in is `take_graph(dump)`."""

from __future__ import annotations

from llmux.criu_images._counted import counted
from llmux.criu_images._graph_files import add_files
from llmux.criu_images._graph_model import Graph, Part, Sketch
from llmux.criu_images._graph_pipes import add_pipes
from llmux.criu_images._graph_sockets import add_sockets
from llmux.criu_images._records import Dump, InetSocket, NetlinkSocket, PacketSocket, UnixSocket
from llmux.criu_images._users import users_of_files

EVERY_PART = frozenset(Part)


def take_graph(dump: Dump, parts: frozenset[Part] = EVERY_PART) -> Graph:
    """Work out the rows and links of the given parts."""
    sketch = Sketch(dump, users_of_files(dump))
    counts = {"pipe": 0, "shared file": 0}
    if Part.SOCKETS in parts:
        add_sockets(sketch)
        counts = _socket_counts(dump) | counts
    if Part.PIPES in parts:
        counts["pipe"] = add_pipes(sketch)
    if Part.FILES in parts:
        counts["shared file"] = add_files(sketch)
    processes = counted(len(dump.tasks), "process", "processes")
    summary = [processes, *(counted(number, name) for name, number in counts.items() if number)]
    return Graph(", ".join(summary), sketch.boxes(), tuple(sketch.links))


def _socket_counts(dump: Dump) -> dict[str, int]:
    kinds = {
        "Unix socket": UnixSocket,
        "inet socket": InetSocket,
        "netlink socket": NetlinkSocket,
        "packet socket": PacketSocket,
    }
    return {name: sum(isinstance(file, kind) for file in dump.files.values()) for name, kind in kinds.items()}
