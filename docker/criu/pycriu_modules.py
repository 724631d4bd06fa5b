"""Write pycriu's modules anew so that every protobuf since 3.20 takes them: `pycriu_modules.py PROTOS PYCRIU`.

What protoc writes for Python goes with the protobuf of its own time only, and Ubuntu 22.04's protoc (3.12) is too old for llmux's. The descriptors
that it writes are bytes of one format for all; a module that hands these to protobuf's builder is what protoc itself writes since 3.20.
"""

from __future__ import annotations

import re
import subprocess  # noqa: TID251 - protoc is a program
import sys
import tempfile
from pathlib import Path

_IMPORT = re.compile(r'^\s*import\s+"([^"/]+)\.proto"\s*;', re.MULTILINE)
_MODULE = '''"""Made of CRIU's images/{name}.proto."""

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder
{imports}
DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({serialized!r})
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, {module!r}, globals())
'''


def main(protos: Path, pycriu: Path) -> None:
    """Write a module for each of `protos` over that of protoc."""
    for proto in sorted(protos.glob("*.proto")):
        folder = pycriu if proto.stem == "rpc" else pycriu / "images"
        name = _module_name(proto.stem)
        (folder / f"{name}.py").write_text(_module(proto, name), "utf-8")


def _module_name(stem: str) -> str:
    return f"{stem.replace('-', '_')}_pb2"


def _module(proto: Path, name: str) -> str:
    needed = _IMPORT.findall(proto.read_text("utf-8"))
    # As protoc writes them: pycriu puts the modules' own directory on Python's path.
    imports = "".join(f"import {_module_name(each)}\n" for each in needed)
    return _MODULE.format(name=proto.stem, imports=imports, serialized=_described(proto), module=name)


def _described(proto: Path) -> bytes:
    """Return the FileDescriptorProto of one file."""
    with tempfile.NamedTemporaryFile() as written:
        subprocess.run(
            ["protoc", f"-I{proto.parent}", "-I/usr/include", f"--descriptor_set_out={written.name}", proto],
            check=True,
        )
        return only_file(Path(written.name).read_bytes())


def only_file(descriptors: bytes) -> bytes:
    """Return the one file of a FileDescriptorSet: a tag (field 1, bytes), a length as a varint, and the file."""
    if descriptors[:1] != b"\x0a":
        raise ValueError("protoc has written no FileDescriptorSet")
    length = shift = 0
    at = 1
    while True:
        byte = descriptors[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            break
    if at + length != len(descriptors):
        raise ValueError("protoc has described more than one file")
    return descriptors[at:]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
