"""CRIU's release is unpacked if it is the one that was meant, and pycriu's modules work with our protobuf whichever protoc described them."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import subprocess  # noqa: TID251 - the scripts run with a Python of the image's
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from google.protobuf import descriptor_pb2

from llmux_setup.images import GpuBase
from llmux_setup.paths import ROOT
from llmux_setup.shell import SetupError

FOLDER = ROOT / "docker/criu"
DOCKERFILE = (FOLDER / "from-source.Dockerfile").read_text("utf-8")


def fetch(url: str, sha256: str, directory: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, FOLDER / "fetch_source.py", url, sha256, directory]
    return subprocess.run(words, check=False, capture_output=True, text=True)


def release(directory: Path) -> tuple[Path, str]:
    """Make a tar as GitHub packs a release: all below one directory."""
    path = directory / "v4.2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("criu-4.2", "criu-4.2/criu"):
            directory_entry = tarfile.TarInfo(name)
            directory_entry.type, directory_entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory_entry)
        for name in ("criu-4.2/Makefile", "criu-4.2/criu/main.c"):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
        link = tarfile.TarInfo("criu-4.2/README")
        link.type, link.linkname = tarfile.SYMTYPE, "Makefile"
        archive.addfile(link)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def served(directory: Path) -> Iterator[str]:
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(directory))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "unpacked"
    made.mkdir()
    return made


def test_a_release_is_unpacked_without_its_top_directory(tmp_path: Path, place: Path) -> None:
    path, sha256 = release(tmp_path)
    with served(tmp_path) as address:
        done = fetch(f"{address}/{path.name}", sha256, place)
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "criu/main.c").read_text() == "criu-4.2/criu/main.c"
    assert (place / "README").read_text() == "criu-4.2/Makefile"


def test_one_that_lies_beside_the_dockerfile_does_too(tmp_path: Path, place: Path) -> None:
    path, sha256 = release(tmp_path)
    assert fetch(path.as_uri(), sha256, place).returncode == 0
    assert (place / "Makefile").exists()


def test_of_another_file_nothing_is_unpacked(tmp_path: Path, place: Path) -> None:
    path, sha256 = release(tmp_path)
    done = fetch(path.as_uri(), "0" * 64, place)
    assert done.returncode == 1
    assert f"{path.as_uri()} has the checksum {sha256}, not CRIU_SHA256 ({'0' * 64})" in done.stderr
    assert list(place.iterdir()) == []


def test_what_cannot_be_is_said(tmp_path: Path, place: Path) -> None:
    for wrong in ("", "abc", "A" * 64):
        assert "CRIU_SHA256 must be 64 lower-case" in fetch("http://127.0.0.1/x", wrong, place).stderr
    with served(tmp_path) as address:
        lost = fetch(f"{address}/lost.tar.gz", "0" * 64, place)
    assert (lost.returncode, "HTTP Error 404" in lost.stderr) == (1, True)
    assert "Give another one as CRIU_SOURCE" in lost.stderr
    assert "unknown url type" in fetch("v4.2.tar.gz", "0" * 64, place).stderr
    text = tmp_path / "page.html"
    text.write_text("no tar")
    page = fetch(text.as_uri(), hashlib.sha256(b"no tar").hexdigest(), place)
    assert (page.returncode, "is no tar that can be read" in page.stderr) == (1, True)


def test_the_dockerfile_has_one_release_and_its_checksum() -> None:
    (source,) = re.findall(r"^ARG CRIU_SOURCE=(\S+)$", DOCKERFILE, re.MULTILINE)
    (sha256,) = re.findall(r"^ARG CRIU_SHA256=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert source == "https://github.com/checkpoint-restore/criu/archive/refs/tags/v4.2.tar.gz"
    assert re.fullmatch(r"[0-9a-f]{64}", sha256)
    copied = re.findall(r"^COPY (.+) /usr/local/lib/criu-build/$", DOCKERFILE, re.MULTILINE)
    assert all((FOLDER / name).exists() for line in copied for name in line.split())


def test_the_set_up_passes_a_source_on_with_its_checksum_only() -> None:
    assert GpuBase().arguments == {}
    given = GpuBase(criu_source="http://mirror.example/criu.tar.xz", criu_sha256="0" * 64)
    assert given.arguments == {"CRIU_SOURCE": "http://mirror.example/criu.tar.xz", "CRIU_SHA256": "0" * 64}
    for half in ({"criu_source": "http://mirror.example/criu.tar.xz"}, {"criu_sha256": "0" * 64}):
        with pytest.raises(SetupError, match="give both --criu-source and --criu-sha256"):
            GpuBase(**half)


def described(name: str, *needs: str) -> bytes:
    """Return what protoc --descriptor_set_out writes of a file with one message."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", dependency=[f"{need}.proto" for need in needs]
    )
    field = file.message_type.add(name=f"{name.replace('-', '_')}_entry").field.add(name="one", number=1)
    field.type, field.label = field.TYPE_UINT32, field.LABEL_OPTIONAL
    if needs:
        other = file.message_type[0].field.add(
            name="other", number=2, type_name=f".{needs[0].replace('-', '_')}_entry"
        )
        other.type, other.label = other.TYPE_MESSAGE, other.LABEL_OPTIONAL
    # Longer than 127 bytes, so that its length takes two.
    file.options.java_package = "x" * 200
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def test_pycrius_modules_are_made_of_descriptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protos, pycriu, programs = tmp_path / "protos", tmp_path / "pycriu", tmp_path / "bin"
    for each in (protos, pycriu / "images", programs):
        each.mkdir(parents=True)
    for name, needs in (("llmux-test-base", ()), ("llmux-test-core", ("llmux-test-base",)), ("rpc", ())):
        (protos / f"{name}.proto").write_text("".join(f'import "{need}.proto";\n' for need in needs))
        (tmp_path / f"{name}.set").write_bytes(described(name, *needs))
    # In protoc's place: its last word is the file.
    protoc = programs / "protoc"
    protoc.write_text(
        f"#!/bin/sh\nfor word; do case $word in --descriptor_set_out=*) out=${{word#*=}} ;; esac; done\n"
        f'cp {tmp_path}/"$(basename "$word" .proto)".set "$out"\n'
    )
    protoc.chmod(0o755)
    subprocess.run(
        [sys.executable, FOLDER / "pycriu_modules.py", protos, pycriu],
        check=True,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
    )
    assert (pycriu / "rpc_pb2.py").exists()
    monkeypatch.syspath_prepend(pycriu / "images")
    spec = importlib.util.find_spec("llmux_test_core_pb2")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry = module.llmux_test_core_entry(one=7)
    entry.other.one = 8
    again = module.llmux_test_core_entry.FromString(entry.SerializeToString())
    assert (again.one, again.other.one) == (7, 8)


def test_what_is_no_single_description_is_refused(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pycriu_modules", FOLDER / "pycriu_modules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    whole = described("single")
    assert descriptor_pb2.FileDescriptorProto.FromString(module.only_file(whole)).name == "single.proto"
    for wrong in (b"", b"\x12\x00", whole + whole):
        with pytest.raises(ValueError, match="protoc has"):
            module.only_file(wrong)
