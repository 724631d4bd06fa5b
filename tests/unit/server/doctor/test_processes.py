"""Which processes are llmux's, by what /proc says of them and of those above."""

from __future__ import annotations

import pytest

from llmux.server.doctor._processes import is_llmuxs, name_of


def process(proc, pid, parent, *argv):
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} (a ) name) S {parent} 1")
    (proc / str(pid) / "comm").write_text("a ) name\n")
    (proc / str(pid) / "cmdline").write_text("".join(f"{each}\0" for each in argv))


@pytest.mark.parametrize(
    ("argv", "ours"),
    [
        (("/opt/llmux/bin/python", "/opt/llmux/bin/llmux", "serve", "--config", "c.json"), True),
        (("python3", "-m", "llmux.server", "serve"), True),
        (("python3", "-c", "from llmux.server._init import main; main()"), True),
        (("/opt/llmux/bin/llmux", "bench"), False),
        (("vllm", "serve", "/opt/llmux"), False),
        (("nginx",), False),
        ((), False),
    ],
)
def test_an_llmux_that_serves_and_all_below_it_are_llmuxs(tmp_path, argv, ours):
    process(tmp_path, 10, 1, *argv)
    process(tmp_path, 11, 10, "engine")
    process(tmp_path, 12, 11, "worker")
    assert [is_llmuxs(pid, tmp_path) for pid in (10, 11, 12)] == [ours] * 3


def test_one_that_is_not_seen_is_nobodys_and_has_no_name(tmp_path):
    process(tmp_path, 11, 10, "engine")
    assert not is_llmuxs(11, tmp_path)
    assert not is_llmuxs(4711, tmp_path)
    assert (name_of(11, tmp_path), name_of(4711, tmp_path)) == ("a ) name", "")
