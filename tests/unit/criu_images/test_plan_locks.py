"""Locks of the dump that somebody else holds: conflicts, unless the file is made anew."""

from __future__ import annotations

import pytest
from manifests import facts, file_entry, manifest, seen_file
from test_locks import lock

from llmux.criu_images._facts import Seen
from llmux.criu_images._plan import make_plan
from llmux.criu_images.manifest import LockKind, Origin

pytestmark = pytest.mark.demand("locks-foreign")

HOLDER = "process 7 (flock)"
SAYS = {
    LockKind.FLOCK: "(flock)flag: 2, type: 1, cmd: 2, pid: 1000, fd: 3",
    LockKind.POSIX: "(posix)flag: 1, type: 1, pid: 1000, fd: 3, start:       10, len:       20",
    LockKind.OFD: "Can not set ofd lock!",
    LockKind.LEASE: "Can't set lease: Resource temporarily unavailable",
}


def plan_of(seen: Seen | None, kind: LockKind = LockKind.FLOCK, **parts: object):
    whole = manifest(
        files=(file_entry("/srv/file", **parts),), locks=(lock("/srv/file", kind, start=16, length=32),)
    )
    paths = {} if seen is None else {"/srv/file": seen}
    return make_plan(whole, facts(paths, locked={0: HOLDER}, private_mounts=True))


@pytest.mark.parametrize("kind", LockKind)
def test_it_is_a_conflict_in_crius_own_words(kind):
    (conflict,) = plan_of(seen_file(), kind).conflicts
    assert conflict.subject == "/srv/file"
    assert conflict.found.startswith(HOLDER)
    assert f"({kind.value}, exclusive, from byte 16, 32 bytes)" in conflict.found
    assert conflict.criu_says == SAYS[kind]
    waits = kind in {LockKind.FLOCK, LockKind.POSIX}
    assert conflict.advice.endswith("CRIU would wait for that, however long.") == waits


def test_a_shared_lock_is_announced_as_such():
    whole = manifest(locks=(lock("/srv/file", LockKind.FLOCK, exclusive=False),))
    (conflict,) = make_plan(whole, facts(locked={0: HOLDER})).conflicts
    assert conflict.criu_says == "(flock)flag: 2, type: 0, cmd: 1, pid: 1000, fd: 3"
    assert "(flock, shared, the whole file)" in conflict.found


def test_a_file_that_is_placed_is_nobody_elses():
    assert plan_of(None).conflicts == ()


def test_a_file_that_is_masked_is_nobody_elses():
    changed = seen_file(digest="sha256:" + "cd" * 32)
    assert plan_of(changed, written=True).conflicts == ()


def test_a_file_that_gets_only_another_name_is_the_one_that_is_locked():
    whole = manifest(
        files=(file_entry("/srv/file", "/srv/other", origin=Origin.VOLUME),),
        locks=(lock("/srv/file", LockKind.FLOCK),),
    )
    planned = make_plan(whole, facts({"/srv/file": seen_file()}, locked={0: HOLDER}))
    assert [conflict.subject for conflict in planned.conflicts] == ["/srv/file"]
