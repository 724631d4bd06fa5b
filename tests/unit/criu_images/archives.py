"""Checkpoint archives as podman lays them out, and as an attacker would."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from backports import zstd

BESIDE = {"config.dump": b"{}", "spec.dump": b"{}", "network.status": b"{}", "rootfs-diff.tar": bytes(1024)}
PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: str
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    for field, value in more.items():
        setattr(info, field, value)
    return info, data


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def images_of(directory: Path, folder: str = "checkpoint/") -> list[tuple[tarfile.TarInfo, bytes]]:
    """List the images of a dump as members, with the link to an earlier dump where there is one."""
    return [
        member(folder + path.name, kind=tarfile.SYMTYPE, linkname=str(path.readlink()))
        if path.is_symlink()
        else member(folder + path.name, path.read_bytes())
        for path in sorted(directory.iterdir())
        if path.is_symlink() or path.is_file()
    ]


def podman_export(directory: Path) -> bytes:
    """Pack a dump as `podman container checkpoint --export` does: statistics at the top, images in a folder."""
    beside = [member(name, data) for name, data in BESIDE.items()]
    folder = member("checkpoint", kind=tarfile.DIRTYPE)
    images = images_of(directory)
    statistics = [item for item in images if item[0].name == "checkpoint/stats-dump"]
    for info, _ in statistics:
        info.name = "stats-dump"
    return archive([*beside, folder, *images])


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Make a header alone, whatever it claims."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)
