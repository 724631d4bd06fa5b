"""What a callback is told, how often, and what becomes of what it raises."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests import raw

from llmux.criu_images import Phase, Progress, _observe, capture, plan, read_manifest, rebuild, verify
from llmux.criu_images._progress import CallbackFailed, Meter
from llmux.criu_images.errors import ManifestMissing

MEBIBYTE = 1 << 20
SIZE = 40 * MEBIBYTE


class Heard(list[Progress]):
    """Listens, and fails as its owner likes."""

    def __init__(self, fail_at: Phase | None = None, error: Exception | None = None) -> None:
        self.fail_at, self.error = fail_at, error

    def __call__(self, progress: Progress) -> None:
        self.append(progress)
        if self.error is not None and progress.phase is self.fail_at:
            raise self.error

    @property
    def phases(self) -> list[Phase]:
        return list(dict.fromkeys(progress.phase for progress in self))


@given(st.lists(st.integers(0, 100 * MEBIBYTE), min_size=1, max_size=8), st.integers(1, 64))
def test_it_only_grows_ends_whole_and_is_told_seldom(sizes, steps):
    heard = Heard()
    meter = Meter(heard, Phase.CARRY, sizes)
    for number, size in enumerate(sizes):
        with meter.file(b"/%d" % number, size) as advance:
            for step in range(steps):
                advance(size * (step + 1) // steps)
    assert [one.done_bytes for one in heard] == sorted(one.done_bytes for one in heard)
    assert heard[-1] == Progress(
        Phase.CARRY, raw(f"/{len(sizes) - 1}"), sum(sizes), sum(sizes), len(sizes), len(sizes)
    )
    assert len(heard) <= len(sizes) + 1 + sum(sizes) // (8 * MEBIBYTE)


def test_what_the_callback_raises_is_no_error_of_a_file():
    meter = Meter(Heard(Phase.PLACE, BrokenPipeError()), Phase.PLACE, [1])
    with pytest.raises(CallbackFailed):
        meter.file(b"/x", 1).__enter__()
    assert not issubclass(CallbackFailed, Exception)


@pytest.fixture
def dump(maker, tmp_path):
    """Give the images of a tree that has a file of 40 MiB open, and the container's root."""
    big = tmp_path / "big"
    big.write_bytes(os.urandom(MEBIBYTE) * 40)
    images = tmp_path / "images"
    images.mkdir()
    maker.directory = images
    maker.whole(maker.reg(3, str(big), size=SIZE), fds={5: 3})
    return images


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Make an empty root in a PID namespace without processes, and say where to rebuild."""
    monkeypatch.setattr(_observe, "read_ids", lambda _: {})
    (tmp_path / "here").mkdir()
    return {"root": tmp_path / "here", "journal": tmp_path / "journals/j"}


def test_each_operation_tells_its_phases(dump, place):
    heard = Heard()
    capture(dump, container_started_ns=0, progress=heard)
    assert heard.phases[-2:] == [Phase.CARRY, Phase.DIGEST_IMAGES]
    copies = [one for one in heard if one.phase is Phase.CARRY and one.path.endswith(b"/big")]
    steps = [one.done_bytes - copies[0].done_bytes for one in copies]
    assert steps[:5] == [8 * MEBIBYTE * step for step in range(5)]
    heard = Heard()
    verify(dump, progress=heard)
    assert heard.phases == [Phase.CHECK_IMAGES, Phase.CHECK_COPIES]
    assert heard[-1].path.startswith(b"llmux/")
    heard = Heard()
    plan(dump, **place, progress=heard)
    assert heard.phases == [Phase.CHECK_IMAGES, Phase.COMPARE]
    heard = Heard()
    rebuild(dump, **place, progress=heard)
    assert heard.phases == [Phase.CHECK_IMAGES, Phase.COMPARE, Phase.PLACE]
    assert heard[-1].done_bytes == heard[-1].total_bytes >= SIZE


ERRORS = [RuntimeError("enough"), OSError(5, "mine"), FileNotFoundError("mine")]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("phase", [Phase.CARRY, Phase.DIGEST_IMAGES])
def test_a_capture_that_the_callback_ends_leaves_nothing(dump, phase, error):
    before = sorted(dump.iterdir())
    with pytest.raises(type(error)) as raised:
        capture(dump, container_started_ns=0, progress=Heard(phase, error))
    assert raised.value is error
    with pytest.raises(ManifestMissing):
        read_manifest(dump)
    assert sorted({*dump.iterdir()} - {dump / "llmux"}) == before
    assert not list((dump / "llmux").iterdir())


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("phase", [Phase.CHECK_IMAGES, Phase.COMPARE, Phase.PLACE])
def test_a_rebuild_that_the_callback_ends_is_taken_back(dump, place, phase, error):
    capture(dump, container_started_ns=0)
    with pytest.raises(type(error)) as raised:
        rebuild(dump, **place, progress=Heard(phase, error))
    assert raised.value is error
    assert not list(place["root"].iterdir())
    assert not place["journal"].exists()


@pytest.mark.parametrize("phase", [Phase.CHECK_IMAGES, Phase.CHECK_COPIES])
def test_a_check_that_the_callback_ends_blames_no_image(dump, phase):
    capture(dump, container_started_ns=0)
    error = OSError(5, "mine")
    with pytest.raises(OSError, match="mine") as raised:
        verify(dump, progress=Heard(phase, error))
    assert raised.value is error
