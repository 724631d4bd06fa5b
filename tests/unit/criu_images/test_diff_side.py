from __future__ import annotations

from llmux.criu_images._diff_side import sides_of
from llmux.criu_images._ids import Pid

from .live import dump_of, inventory_of


def test_processes_are_called_by_their_ids_or_by_their_places_in_the_tree():
    dump, inventory = dump_of("tasks"), inventory_of("tasks")
    root, child, *_ = dump.tasks
    by_id, _ = sides_of((dump, inventory), (dump, inventory), ignore_pids=False)
    by_place, other = sides_of((dump, inventory), (dump, inventory), ignore_pids=True)
    assert by_id.named(root) == f"{root.comm}({root.pid})"
    assert (by_place.named(root), by_place.called(child.pid)) == (f"{root.comm}(1)", "1.1")
    assert by_id.called(Pid(99999)) == by_place.called(Pid(99999)) == "nobody"
    assert by_place.shared == other.shared == other.all_named()
    assert len(set(by_place.names.values())) == len(dump.tasks)
