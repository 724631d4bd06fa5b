from pathlib import Path

from llmux_setup.engine import PRIVATE, Engine, describe, mounts_below

MOUNTS = """\
proc /proc proc rw 0 0
overlay /home/me/llmux/.docker/data/overlay2/1/merged overlay rw 0 0
tmpfs /home/me/llmux/.docker/data/a\\040space tmpfs rw 0 0
tmpfs /home/me/llmux/.docker-other tmpfs rw 0 0
"""


def test_mounts_below_a_directory_are_found_by_whole_names_and_unescaped() -> None:
    assert mounts_below(MOUNTS, Path("/home/me/llmux/.docker")) == [
        "/home/me/llmux/.docker/data/overlay2/1/merged",
        "/home/me/llmux/.docker/data/a space",
    ]


def test_an_engine_that_the_client_finds_itself_leaves_docker_host_alone() -> None:
    assert Engine(None, private=False).env == {}
    assert PRIVATE.env == {"DOCKER_HOST": PRIVATE.host}


def test_the_private_engine_is_named_as_such() -> None:
    assert "private" in describe(PRIVATE)
    assert "private" not in describe(Engine("unix:///run/docker.sock", private=False))
