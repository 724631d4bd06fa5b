"""Whether the tree's root is found among what CRIU has mounted, with mounts laid out as CRIU does; and refused where they are not."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - what enters a mount namespace does not come back
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmux.criu_images import read_dump
from llmux.criu_images._yard import mounts_of_root_task
from llmux.criu_images.errors import RebuildFailed

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")

ENTER = """
import sys
from pathlib import Path
from llmux.criu_images._yard import enter_tree
from llmux.criu_images.errors import CriuImagesError
try:
    root = enter_tree(Path(sys.argv[1]), int(sys.argv[2]))
except CriuImagesError as error:
    sys.exit(str(error))
print(*sorted(path.name for path in (root / "shm").iterdir()))
(root / "shm/made").touch()
"""
BY_THEMSELVES = """
mkdir mnt-0000000002 mnt-0000000003
mount -t tmpfs none mnt-0000000002
mkdir mnt-0000000002/shm
mount -t tmpfs none mnt-0000000003
touch mnt-0000000003/held
"""
IN_PLACE = """
mkdir 13-0000000000
mount -t tmpfs none 13-0000000000
mkdir 13-0000000000/shm
mount -t tmpfs none 13-0000000000/shm
touch 13-0000000000/shm/held
"""


@pytest.fixture
def images(maker):
    """Give a dump whose mount namespace has a root and, on it, /shm."""
    maker.whole()
    ids = {"vm_id": 1, "files_id": 7, "fs_id": 1, "sighand_id": 1, "mnt_ns_id": 13}
    maker.image("ids-7.img", "IDS", "task_kobj_ids_entry", ids)
    mount = {"fstype": 5, "root_dev": 0, "flags": 0, "root": "/", "source": "tmpfs", "options": ""}
    root = {"mnt_id": 2, "parent_mnt_id": 1, "mountpoint": "/"}
    shm = {"mnt_id": 3, "parent_mnt_id": 2, "mountpoint": "/shm"}
    maker.image("mountpoints-13.img", "MNTS", "mnt_entry", mount | shm, mount | root)
    return maker.directory


@contextmanager
def waiting(yard: Path, laid_out: str):
    """Run a process in a mount namespace with a roots yard laid out so; give its id."""
    yard.mkdir()
    program = f"set -e; mount -t tmpfs none {yard}; cd {yard}; {laid_out}\necho ready; read _"
    sleeper = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with sleeper:
        assert sleeper.stdout.readline() == "ready\n"
        yield sleeper.pid


def enter(images, task: int):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ENTER, str(images), str(task)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_root_comes_first_whatever_the_images_order(images):
    assert [mount.id for mount in mounts_of_root_task(read_dump(images))] == [2, 3]


def test_a_dump_that_names_no_mounts_of_its_root_task_is_refused(maker):
    maker.whole()
    with pytest.raises(RebuildFailed, match="the dump names 0 root mounts"):
        mounts_of_root_task(read_dump(maker.directory))


def test_two_mounts_of_one_id_are_refused(images, maker):
    mount = {"fstype": 5, "root_dev": 0, "flags": 0, "root": "/", "source": "tmpfs", "options": ""}
    one = mount | {"mnt_id": 2, "parent_mnt_id": 1, "mountpoint": "/"}
    maker.image("mountpoints-13.img", "MNTS", "mnt_entry", one, one | {"parent_mnt_id": 2})
    with pytest.raises(RebuildFailed, match="two mounts of namespace 13 by one id"):
        mounts_of_root_task(read_dump(images))


@needs_root
@pytest.mark.parametrize(
    ("laid_out", "shm"), [(BY_THEMSELVES, "mnt-0000000003"), (IN_PLACE, "13-0000000000/shm")]
)
def test_what_is_made_in_the_tree_is_in_the_mounts_of_criu(images, tmp_path, laid_out, shm):
    yard = tmp_path / ".criu.mntns.a1B2c3"
    with waiting(yard, laid_out) as task:
        done = enter(images, task)
        assert (done.stdout, done.stderr) == ("held\n", "")
        assert Path(f"/proc/{task}/root{yard}/{shm}/made").exists()
    assert not list(yard.iterdir())


@needs_root
@pytest.mark.parametrize(
    ("name", "laid_out", "why"),
    [
        (".criu.mntns.a1B2c3", "mkdir mnt-0000000002", "CRIU mounted nothing at "),
        (
            ".criu.mntns.a1B2c3",
            "mkdir mnt-0000000002; mount -t tmpfs none mnt-0000000002",
            "cannot rebuild /shm: CRIU mounted nothing at ",
        ),
        (
            ".criu.mntns.a1B2c3",
            BY_THEMSELVES + "rmdir mnt-0000000002/shm",
            "cannot rebuild /shm: cannot reach what CRIU mounted: No such file or directory",
        ),
        ("another", BY_THEMSELVES, "has 0 directories of restored mounts"),
    ],
)
def test_what_is_laid_out_otherwise_is_refused(images, tmp_path, name, laid_out, why):
    with waiting(tmp_path / name, laid_out) as task:
        done = enter(images, task)
    assert done.returncode != 0
    assert why in done.stderr


@needs_root
def test_a_task_that_has_gone_is_said(images):
    with subprocess.Popen(["true"]) as gone:
        pass
    assert "cannot enter CRIU's mount namespace: No such file" in enter(images, gone.pid).stderr
