"""Each kind of image, of record and of what a record may be is in a real dump, or it is said here why it can't be."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from functools import cache

import pytest

from llmux.criu_images import _enums as enums
from llmux.criu_images import _formats as formats
from llmux.criu_images import _records as records
from llmux.criu_images._enums import (
    FileType,
    LsmType,
    MappingKind,
    NetDeviceType,
    SocketState,
    TaskState,
    TerminalType,
)

from . import live
from .live import dump_of

OLD = "CRIU no longer writes it"
NO_DEVICE = "a container is given no such device"
NO_MODULE = "the kernels that capture have no such security module"
NO_DESCRIPTOR = "no descriptor leads to a socket in this state"
PLUGIN = "only a plugin of CRIU writes it"
REFUSED = "CRIU refuses the dump here: the integration tests of kinds have its words"
LEFT_OUT = "left out of the fixtures: memory"
OF_THE_MACHINE = "registering one would change the machine that captures"

IMAGES = {
    formats.CREDS: OLD,
    formats.BPFMAP_DATA: REFUSED,
    formats.BINFMT_MISC: OF_THE_MACHINE,
    formats.PAGEMAP: LEFT_OUT,
    formats.LeftAlone.PAGES: LEFT_OUT,
}
RECORDS = {
    records.BinaryFormat: OF_THE_MACHINE,
    records.BpfMap: REFUSED,
    records.OtherFile: PLUGIN,
    records.ParentImages: "it takes memory tracking, which the kernels that capture lack",
    records.Unknown: "nothing in a dump of a known CRIU is unknown",
}
MEMBERS = {
    SocketState.SYN_RECV: NO_DESCRIPTOR,
    SocketState.TIME_WAIT: NO_DESCRIPTOR,
    TerminalType.UNKNOWN: NO_DEVICE,
    TerminalType.CONSOLE: NO_DEVICE,
    TerminalType.VT: NO_DEVICE,
    TerminalType.SERIAL: NO_DEVICE,
    NetDeviceType.EXTLINK: PLUGIN,
    NetDeviceType.VENET: "OpenVZ's kernels alone have it",
    NetDeviceType.SIT: "the kernels that capture have no such device",
    LsmType.SELINUX: NO_MODULE,
    LsmType.APPARMOR: NO_MODULE,
    MappingKind.ANONYMOUS_SHARED: "CRIU 4.2 dumps it as a memfd",
    MappingKind.HUGE_PAGES: REFUSED,
    MappingKind.PLUGIN: PLUGIN,
    TaskState.ZOMBIE: "CRIU writes a zombie as dead",
}


def kinds_of_images():
    known = [value for _, value in inspect.getmembers(formats) if isinstance(value, formats.ImageFormat)]
    return [*known, *formats.LeftAlone]


def kinds_of_records():
    return [value for _, value in inspect.getmembers(records, dataclasses.is_dataclass)]


def members():
    """List what a field may be; a file's type is told by its record."""
    kinds = [value for _, value in inspect.getmembers(enums, inspect.isclass)]
    return [
        member for kind in kinds if issubclass(kind, enum.Enum) and kind is not FileType for member in kind
    ]


@cache
def images():
    names = {path.name for name in live.NAMES for path in (live.IMAGES / name).iterdir()}
    found = {formats.reading_of(name) for name in names if name.endswith(".img")}
    return found | ({formats.STATS} if "stats-dump" in names else set())


@cache
def parts():
    """Collect the types of all records, and the enums' members, that the dumps have anywhere."""
    found = set()
    waiting = [dump_of(name) for name in live.NAMES]
    while waiting:
        match waiting.pop():
            case enum.Enum() as member:
                found.add(member)
            case dict() as by_id:
                waiting.extend(by_id.values())
            case tuple() as several:
                waiting.extend(several)
            case record if dataclasses.is_dataclass(record):
                found.add(type(record))
                waiting.extend(getattr(record, field.name) for field in dataclasses.fields(record))
    return found


@pytest.mark.parametrize("kind", kinds_of_images(), ids=lambda kind: str(getattr(kind, "magic", kind)))
def test_each_kind_of_image(kind):
    assert (kind in images()) != (kind in IMAGES), IMAGES.get(kind, "it is in no fixture")


@pytest.mark.parametrize("kind", kinds_of_records(), ids=lambda kind: kind.__name__)
def test_each_kind_of_record(kind):
    assert (kind in parts()) != (kind in RECORDS), RECORDS.get(kind, "it is in no fixture")


@pytest.mark.parametrize("member", members(), ids=str)
def test_each_value_that_has_a_name(member):
    assert (member in parts()) != (member in MEMBERS), MEMBERS.get(member, "it is in no fixture")
