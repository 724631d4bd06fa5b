from __future__ import annotations

import json
import shutil

import pytest
from archives import podman_export
from click.testing import CliRunner
from live import IMAGES
from published import check

from llmux.criu_images._cli_explain import explain
from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._paths import escape
from llmux.criu_images.errors import ArchiveRefused

FAILED = b"(00.2)   1000: Error (criu/files-reg.c:2155): Can't open file %s on restore: No such file or directory\n(00.3) Error (criu/cr-restore.c:2324): Restoring FAILED.\n"
LOG = FAILED % b"tmp/x"


def run(*arguments: str, stdin: bytes | None = None):
    return CliRunner().invoke(explain, arguments, input=stdin)


@pytest.mark.parametrize(
    ("log", "code"),
    [
        (b"(00.4) Restore finished successfully. Tasks resumed.\n", 0),
        (b"", 0),
        (LOG, 3),
        (b"(00.4) Restoring file locks\n", 3),
        (b"\0\1\2 not a log\n", 4),
    ],
)
def test_the_exit_code_says_how_the_log_ends(log, code):
    assert run("-", stdin=log).exit_code == code


def test_what_cannot_be_read_is_wrong_use(tmp_path):
    assert run(str(tmp_path / "none")).exit_code == 2
    assert run().exit_code == 2


def test_beside_the_images_the_users_are_named(tmp_path):
    directory = tmp_path / "images"
    shutil.copytree(IMAGES / "fifos", directory)
    path = escape(take_inventory(read_dump(directory)).paths[0].path)
    log = directory / "restore.log"
    log.write_bytes(FAILED % path.encode()[1:])
    written = run("--json", str(log)).output
    check("explain", written)
    found = json.loads(written)
    assert found["cause"]["path"] == path
    assert found["used_by"]
    elsewhere = tmp_path / "restore.log"
    elsewhere.write_bytes(log.read_bytes())
    assert json.loads(run("--json", str(elsewhere)).output)["used_by"] == []
    assert json.loads(run("--json", "--images", str(directory), str(elsewhere)).output)["used_by"] == found["used_by"]  # fmt: skip
    packed = tmp_path / "checkpoint.tar"
    packed.write_bytes(podman_export(IMAGES / "fifos"))
    for log_or_images in ([log], [elsewhere, "--images", packed]):
        assert json.loads(run("--json", *map(str, log_or_images)).output)["used_by"] == found["used_by"]


def test_images_that_were_named_and_are_none_are_an_error(tmp_path):
    log, packed = tmp_path / "restore.log", tmp_path / "checkpoint.tar"
    log.write_bytes(LOG)
    packed.write_bytes(podman_export(IMAGES / "fifos")[:9000])
    assert isinstance(run(str(log), "--images", str(packed)).exception, ArchiveRefused)
    assert run(str(log), "--images", str(tmp_path / "none")).exit_code == 2


def test_damaged_images_beside_a_log_do_not_keep_it_from_being_explained(tmp_path):
    (tmp_path / "inventory.img").write_bytes(b"nonsense")
    log = tmp_path / "restore.log"
    log.write_bytes(LOG)
    assert run(str(log)).exit_code == 3


def test_the_table_is_listed():
    done = run("--list")
    assert done.exit_code == 0
    assert "`Can't open file PATH on restore: No such file or directory`" in done.output
