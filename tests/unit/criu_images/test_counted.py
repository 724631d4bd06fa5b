"""Numbers of things."""

from __future__ import annotations

from llmux.criu_images._counted import counted


def test_one_and_many():
    assert [counted(number, "image") for number in range(3)] == ["0 images", "1 image", "2 images"]


def test_plurals():
    assert counted(2, "directory") == "2 directories"
    assert counted(2, "process", "processes") == "2 processes"
    assert counted(1, "process", "processes") == "1 process"
