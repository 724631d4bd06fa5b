"""Whatever a dump's images hold, reading them gives a dump or an error of ours."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.criu_images import _decode, _decode_kernel, _decode_tasks, _formats
from llmux.criu_images._decode_files import decode_file
from llmux.criu_images._wire import load_schema, read_entries
from llmux.criu_images.errors import CriuImagesError

DECODERS = {
    _formats.FILES: decode_file,
    _formats.INVENTORY: _decode.decode_inventory,
    _formats.PSTREE: _decode.decode_tree_item,
    _formats.REMAP_FPATH: _decode.decode_remap,
    _formats.SK_QUEUES: _decode.decode_packet,
    _formats.MEMFD_INODE: _decode.decode_memfd_inode,
    _formats.TTY_INFO: _decode.decode_terminal_info,
    _formats.CORE: lambda entry: _decode_tasks.decode_core(entry, 7),
    _formats.CREDS: _decode_tasks.decode_credentials,
    _formats.IDS: _decode_tasks.decode_ids,
    _formats.MM: _decode_tasks.decode_memory,
    _formats.MNTS: lambda entry: _decode_kernel.decode_mount(entry, 9),
    _formats.CGROUP: _decode_kernel.decode_cgroups,
    _formats.SECCOMP: _decode_kernel.decode_seccomp_filters,
    _formats.CPUINFO: _decode_kernel.decode_cpus,
    _formats.USERNS: lambda entry: _decode_kernel.decode_user_namespace(entry, 9),
    _formats.IPCNS_MSG: _decode_kernel.decode_sysv_queue,
    _formats.IPCNS_SEM: _decode_kernel.decode_sysv_semaphores,
}


def read(image_format: _formats.ImageFormat, data: bytes) -> None:
    with suppress(CriuImagesError):
        for entry in read_entries(BytesIO(data), len(data), "x.img", image_format):
            DECODERS[image_format](entry)


def framed(image_format: _formats.ImageFormat, *messages: bytes) -> bytes:
    magic = struct.pack("=I", load_schema().magics[image_format.magic])
    return magic + b"".join(struct.pack("=I", len(message)) + message for message in messages)


@pytest.mark.parametrize("image_format", DECODERS, ids=lambda item: item.magic)
@given(data=st.binary(max_size=200))
@pytest.mark.demand("damaged")
def test_any_bytes(image_format, data):
    read(image_format, data)
    read(image_format, framed(image_format) + data)


@pytest.mark.parametrize("image_format", DECODERS, ids=lambda item: item.magic)
@given(message=st.binary(max_size=200))
def test_any_message(image_format, message):
    read(image_format, framed(image_format, message))


FIELDS = st.recursive(
    st.lists(
        st.tuples(st.integers(1, 24), st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=20))),
        max_size=24,
    ),
    lambda inner: st.lists(
        st.tuples(st.integers(1, 24), st.one_of(st.integers(0, 2**32), inner)), max_size=24
    ),
    max_leaves=30,
)
"""Well-formed messages of any fields: numbers, bytes and nested messages."""


def encode(fields: list) -> bytes:
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value if isinstance(value, bytes) else encode(value)
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@pytest.mark.parametrize("image_format", DECODERS, ids=lambda item: item.magic)
@settings(max_examples=30, deadline=None)
@given(fields=FIELDS)
@pytest.mark.demand("damaged")
def test_any_fields(image_format, fields):
    read(image_format, framed(image_format, encode(fields)))
