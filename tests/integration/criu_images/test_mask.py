"""A file that has changed since the dump, masked in a real mount namespace of its own and unmasked again."""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from llmux.criu_images import _build, _observe, plan, rebuild, undo
from llmux.criu_images._actions import MaskWithCopy
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree

pytestmark = pytest.mark.root

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x4000 | 1 << 18


def in_own_mounts(body: Callable[[], None]) -> None:
    """Run `body` in a child with a mount namespace of its own; fail if it raises."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert LIBC.unshare(CLONE_NEWNS) == 0
            assert LIBC.mount(None, b"/", None, ctypes.c_ulong(MS_REC_PRIVATE), None) == 0
            os.environ[_observe.PRIVATE_MOUNTS_VARIABLE] = str(Path("/proc/self/ns/mnt").readlink())
            body()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the child reports and ends
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.demand("file-grown")
def test_a_changed_file_is_masked_for_one_namespace(tmp_path):
    images, root = tmp_path / "images", tmp_path / "root"
    images.mkdir()
    root.mkdir()
    database = root / "database"
    database.write_text("recorded")
    inventory = Inventory(
        (PathReference(RawPath(b"/database"), PathKind.REGULAR, (), 8, flags=os.O_RDWR),),
        (),
        (),
        (),
        (),
        (),
        (),
    )
    with Tree(root) as tree:
        capture_subject(Subject(inventory, Pid(1), frozenset()), images, survey_place(tree, 0), None)
    database.write_text("recorded and grown")
    journal = tmp_path / "journals/j"

    def masked() -> None:
        (action,) = rebuild(images, root=root, journal=journal).actions
        assert isinstance(action, MaskWithCopy)
        assert database.read_text() == "recorded"
        database.write_text("RECORDED")
        assert plan(images, root=root).actions
        database.write_text("recorded")
        assert rebuild(images, root=root, journal=journal).actions == ()
        assert database.stat().st_nlink == 1  # a file without a name would be a ghost to the next dump
        assert [path.name for path in journal.parent.iterdir()] == ["j"]
        assert undo(images, root=root, journal=journal).left == []
        assert database.read_text() == "recorded and grown"

    def killed_while_masking() -> None:
        child = os.fork()
        if child == 0:
            _build.bind_mount = lambda *_: os._exit(9)
            rebuild(images, root=root, journal=journal)
        os.waitpid(child, 0)
        assert (journal.parent / "masks").is_mount()
        assert undo(images, root=root, journal=journal).left == []
        assert rebuild(images, root=root, journal=journal).actions
        assert database.read_text() == "recorded"
        assert undo(images, root=root, journal=journal).removed == [b"/database"]

    in_own_mounts(masked)
    in_own_mounts(killed_while_masking)
    assert database.read_text() == "recorded and grown"
    assert not list(journal.parent.iterdir())
    assert plan(images, root=root).conflicts
