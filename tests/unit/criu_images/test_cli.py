from __future__ import annotations

import json
import sys
from importlib.metadata import version

import pytest

from llmux.criu_images import _wire
from llmux.criu_images._cli import main
from llmux.criu_images.errors import PycriuMissing


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command line; return its exit code, its output and its errors."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["llmux.criu_images", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code), *capfd.readouterr())

    return command


def test_show(maker, run):
    maker.whole(maker.reg(3, "/tmp/log"), fds={5: 3})
    code, out, err = run("show", maker.directory)
    assert (code, err) == (0, "")
    assert "/tmp/log   comm7(7) fd 5" in out
    assert "\x1b" not in out


def test_show_one_kind_as_json(maker, run):
    maker.whole(maker.unix(3, b"/s\0", state=10))
    code, out, _ = run("show", maker.directory, "--kind", "unix", "--json")
    assert code == 0
    assert [item["bind_path"] for item in json.loads(out)["unix_sockets"]] == ["/s"]


@pytest.mark.parametrize(
    "arguments", [("shw",), ("show",), ("show", "/nowhere"), ("show", "/", "--kind", "x")]
)
def test_wrong_use_is_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_what_is_no_dump_is_4(run, tmp_path):
    code, out, err = run("show", tmp_path)
    assert (code, out) == (4, "")
    assert err.startswith(f"error: {tmp_path} is not a CRIU dump: it has no inventory.img")
    assert err.count("\n") == 1


def test_a_damaged_image_is_4(maker, run):
    maker.whole()
    path = maker.directory / "files.img"
    path.write_bytes(path.read_bytes()[:-1])
    code, _, err = run("show", maker.directory)
    assert code == 4
    assert err.startswith("error: damaged image: files.img, entry 1")


def test_help_lists_every_command_and_what_exit_codes_mean(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in ("show", "graph", "capture", "plan", "rebuild", "undo", "verify"):
        assert f"\n  {command} " in out
    assert "\n    3  conflicts" in out


def test_the_version_is_told_as_the_server_tells_it(run):
    assert run("--version") == (0, f"llmux, version {version('llmux')}\n", "")


def test_without_pycriu_it_is_2(maker, run, monkeypatch):
    def missing():
        raise PycriuMissing(("/usr/lib/python3/dist-packages",))

    maker.whole()
    monkeypatch.setattr(_wire, "load_schema", missing)
    code, out, err = run("show", maker.directory)
    assert (code, out) == (2, "")
    assert "install python3-pycriu" in err
