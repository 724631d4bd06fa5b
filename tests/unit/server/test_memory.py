"""The memory of a tree of processes: of real ones, and of a /proc as the kernel writes it."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - a process to be measured
import sys

from llmux.server._memory import of_tree

ROLLUP = "00400000-7fff r-- 00:00 0 [rollup]\nRss: 900 kB\nPss: 800 kB\nPss_Anon: 300 kB\nPss_File: 400 kB\nPss_Shmem: 100 kB\n"


def put(proc, pid, children=""):
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True)
    (task / "children").write_text(children)
    (proc / str(pid) / "smaps_rollup").write_text(ROLLUP)


def test_anonymous_and_shared_pages_of_the_whole_tree_count_and_files_do_not(tmp_path):
    put(tmp_path, 1, "2 3 ")
    put(tmp_path, 2)
    put(tmp_path, 3, "4 ")
    put(tmp_path, 4)
    assert of_tree(1, tmp_path) == 4 * 400 * 1024


def test_a_process_that_has_gone_counts_nothing(tmp_path):
    put(tmp_path, 1, "2 ")
    assert of_tree(1, tmp_path) == 400 * 1024
    assert of_tree(7, tmp_path) == 0


def test_memory_that_a_child_takes_is_its_parents_tree():
    script = "data = b'x' * (64 << 20); print('there', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"there\n"
        assert of_tree(os.getpid()) - of_tree(child.pid) < of_tree(os.getpid())
        assert of_tree(child.pid) > 64 << 20
        child.communicate(b"\n")
