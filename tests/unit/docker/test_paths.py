from pathlib import Path

import pytest

from llmux_setup.paths import run_directory


def test_sockets_lie_in_the_project_where_their_names_fit() -> None:
    assert run_directory(Path("/home/me/llmux/.docker")) == Path("/home/me/llmux/.docker/run")


@pytest.mark.parametrize("depth", range(40, 120))
def test_every_socket_name_fits_however_deep_the_clone(depth: int) -> None:
    directory = run_directory(Path("/" + "d" * depth) / ".docker")
    longest = directory / "exec/containerd/containerd-debug.sock"
    assert len(bytes(longest)) < 108


def test_deep_clones_have_different_run_directories() -> None:
    one, two = (run_directory(Path("/" + letter * 100)) for letter in "ab")
    assert one != two
    assert one.parent == two.parent == Path("/run")
