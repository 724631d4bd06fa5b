"""`show` with each of its options: output and exit codes."""

from __future__ import annotations

import json
import os
import sys

import pytest

from llmux.criu_images._cli import main

from . import live
from .archives import PACKERS, podman_export


@pytest.fixture
def run(monkeypatch, capfdbinary):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["llmux.criu_images", *map(os.fsdecode, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        return int(ended.value.code), out, err

    return command


@pytest.fixture
def busy(maker):
    maker.busy()
    return maker.directory


def test_why(run, busy):
    code, out, err = run("show", busy, "--why", "/fifo")
    assert (code, err) == (0, b"")
    assert out.startswith(b"/fifo\n  fifo\n    comm7(7)  fd 6\n")


@pytest.mark.parametrize("typed", ["/tmp/a\nb", "/tmp/a\\nb", "tmp/a\\nb"])
def test_why_takes_a_path_raw_and_as_it_is_printed(run, busy, typed):
    code, out, _ = run("show", busy, "--why", typed, "--json")
    assert (code, json.loads(out)["path"]) == (0, "/tmp/a\\nb")


@pytest.mark.parametrize("typed", ["/nothing", "/tmp/a\\qb"])
def test_why_of_what_nobody_refers_to_exits_with_3(run, busy, typed):
    code, out, err = run("show", busy, "--why", typed)
    assert (code, err) == (3, b"")
    assert b"nothing in the dump refers to it" in out


def test_why_reads_the_manifest(run, maker, tmp_path):
    log = tmp_path / "log"
    log.write_text("logged")
    maker.whole(maker.reg(3, str(log), size=6), fds={5: 3})
    assert run("capture", maker.directory, "--container-started", "0")[0] == 0
    out = run("show", maker.directory, "--why", str(log))[1]
    assert b"llmux: carried as llmux/" in out
    assert b" (6 bytes; " in out
    (maker.directory / "llmux-manifest.json").write_text("{}")
    assert run("show", maker.directory, "--why", str(log))[0] == 4


def test_tree(run, busy):
    assert run("show", busy, "--tree")[1].startswith(b"comm7(7)  session leader")
    assert json.loads(run("show", busy, "--tree", "--json")[1])["processes"][0]["pid"] == 7


def test_missing_exits_with_3_where_something_is(run, maker, tmp_path):
    maker.whole()
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    code, out, _ = run("show", maker.directory, "--missing", "--root", root)
    assert (code, out.splitlines()[-1]) == (3, b"1 path missing")
    assert run("show", maker.directory, "--missing", "--root", root, "--paths0")[:2] == (3, b"/bin/true\0")
    (root / "bin/true").touch()
    code, out, _ = run("show", maker.directory, "--missing", "--root", root, "--json")
    assert (code, json.loads(out)["missing"]) == (0, [])


def test_paths0_writes_raw_bytes(run, maker):
    maker.whole(maker.reg(3, "/a\nb "))
    assert run("show", maker.directory, "--paths0")[1] == b"/\0/a\nb \0/bin/true\0"


def test_paths0_of_a_kind(run, busy):
    assert run("show", busy, "--paths0", "--kind", "fifo")[1] == b"/fifo\0"
    assert run("show", busy, "--paths0", "--kind", "unix")[1] == b"/run/rel\0/run/s\0"


@pytest.mark.parametrize(
    "options",
    [
        ("--tree", "--missing"),
        ("--why", "/", "--tree"),
        ("--tree", "--kind", "unix"),
        ("--paths0", "--json"),
        ("--paths0", "--tree"),
    ],
)
def test_options_that_contradict_each_other(run, busy, options):
    code, out, err = run("show", busy, *options)
    assert (code, out) == (2, b"")
    assert err.startswith(b"error: --")


@pytest.mark.demand("archive")
@pytest.mark.parametrize("packer", PACKERS)
def test_an_archive_is_shown_as_its_directory(run, tmp_path, packer):
    directory, path = live.IMAGES / "link_remap", tmp_path / "checkpoint.tar"
    path.write_bytes(PACKERS[packer](podman_export(directory)))
    for arguments in (
        ["show"],
        ["show", "--tree"],
        ["show", "--json"],
        ["show", "--missing"],
        ["graph"],
        ["stats"],
    ):
        assert run(*arguments, path) == run(*arguments, directory)
    remap = min(item.path for item in live.inventory_of("link_remap").paths if b"link_remap" in item.path)
    assert run("show", path, "--why", remap) == run("show", directory, "--why", remap)
    assert run("diff", directory, path) == (0, b"no difference\n", b"")


@pytest.mark.demand("archive", "damaged")
@pytest.mark.parametrize("command", [["show"], ["graph"], ["stats"], ["show", "--missing"]])
def test_a_cut_archive_exits_with_4(run, tmp_path, command):
    path = tmp_path / "checkpoint.tar"
    path.write_bytes(podman_export(live.IMAGES / "link_remap")[:9000])
    code, out, err = run(*command, path)
    assert (code, out) == (4, b"")
    assert err.startswith(b"error: damaged archive ")
    assert err.count(b"\n") == 1
