from __future__ import annotations

from pathlib import Path

import pytest

from llmux.server._exchange import aside, put_in_place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    made = tmp_path / ".generation-1"
    made.mkdir()
    (made / "new").touch()
    return made


def test_an_empty_place_is_taken(new, place):
    put_in_place(new, place)
    assert (place / "new").exists()
    assert not new.exists()


def test_the_two_trade_names(new, place):
    place.mkdir()
    (place / "old").touch()
    put_in_place(new, place)
    assert (place / "new").exists()
    assert (new / "old").exists()
    assert not aside(place).exists()


def test_what_is_missing_is_named(tmp_path, place):
    place.mkdir()
    with pytest.raises(FileNotFoundError, match="gone"):
        put_in_place(tmp_path / "gone", place)
    assert place.exists()
