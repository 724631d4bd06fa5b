"""What will not fit is left out with a warning, or refused where leaving it out would let somebody in."""

from __future__ import annotations

import pytest
from manifests import directory_entry, facts, file_entry, manifest, metadata, raw

from llmux.criu_images._actions import MakeDirectory, PlaceFile
from llmux.criu_images._facts import Unheld
from llmux.criu_images._plan import make_plan
from llmux.criu_images.manifest import Xattr

ACL = raw("system.posix_acl_access")
NOTE, KEPT = raw("user.note"), raw("trusted.kept")


def dressed(mode: int, *names: bytes, flags: int = 0):
    xattrs = tuple(Xattr(name=name, value=raw("x")) for name in names)
    return metadata(mode).model_copy(update={"xattrs": xattrs, "flags": flags})


def test_what_does_not_fit_is_left_out_and_said():
    one = manifest(files=(file_entry("/a", metadata=dressed(0o100644, NOTE, KEPT, flags=16)),))
    here = facts({}, unheld={raw("/a"): Unheld(frozenset({NOTE}), flags=True)})
    plan = make_plan(one, here)
    (action,) = plan.actions
    assert isinstance(action, PlaceFile)
    assert [xattr.name for xattr in action.entry.metadata.xattrs] == [KEPT]
    assert action.entry.metadata.flags == 0
    assert "/a is made without user.note and its flags of chattr(1)" in plan.warnings[0]


@pytest.mark.parametrize("flags", [0, 32])
def test_flags_stay_where_they_fit(flags):
    directory = directory_entry("/d").model_copy(update={"metadata": dressed(0o40755, NOTE, flags=flags)})
    here = facts({}, unheld={raw("/d"): Unheld(frozenset({NOTE}), flags=False)})
    (action,) = make_plan(manifest(directories=(directory,)), here).actions
    assert isinstance(action, MakeDirectory)
    assert action.entry.metadata == dressed(0o40755, flags=flags)


def test_a_lost_acl_is_a_conflict():
    one = manifest(files=(file_entry("/a", metadata=dressed(0o100640, ACL)),))
    here = facts({}, unheld={raw("/a"): Unheld(frozenset({ACL}), flags=False)})
    (conflict,) = make_plan(one, here).conflicts
    assert "/a: has a POSIX ACL in the dump" in str(conflict)
