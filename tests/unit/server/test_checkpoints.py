from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmux.criu_images.manifest import MANIFEST_NAME, Host, ImageEntry, Manifest
from llmux.server import _exchange, _locks
from llmux.server._checkpoints import FACTS_NAME, Checkpoint, CheckpointStore, Facts, Generation, fingerprint
from llmux.server._effect_errors import CheckpointInvalid, CheckpointPlaceRefused
from llmux.server._model import Eviction, Process, Weights
from llmux.server.cuda.devices import Devices, Gpu

MODEL = "qwen3-0.6b"
PAGES = b"pages" * 1000
FACTS = Facts(Eviction(Weights.DISCARD, Process.CHECKPOINT), fingerprint(["vllm"], {}), 1000.0, 6.8)
HOST = Host(
    name="h", kernel="6.18", machine="x86_64", cpu_model="m", cpu_features=(), criu="4.2.1", llmux="0.1.0"
)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / MODEL


def dump_into(directory: Path, pages: bytes = PAGES) -> None:
    """Leave what a dump with its capture leaves."""
    (directory / "pages-1.img").write_bytes(pages)
    image = ImageEntry(name="pages-1.img", size=len(pages), digest=f"sha256:{'0' * 64}")
    manifest = Manifest(
        created_at=datetime.now(UTC),
        root_task=1000,
        ids=(1000, 1007, 1003),
        container_started_ns=1,
        container_started_by="test",
        host=HOST,
        directories=(),
        files=(),
        images=(image,),
        fingerprint="f",
    )
    (directory / MANIFEST_NAME).write_bytes(manifest.sealed().to_json())


def made(store: CheckpointStore, pages: bytes = PAGES) -> Checkpoint:
    generation = store.begin(MODEL)
    dump_into(generation.directory, pages)
    return store.publish(generation, FACTS)


def crashed(generation: Generation) -> None:
    """Do what the kernel does for a process that was killed."""
    generation.lock.close()


def names(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_nothing_is_there_before_the_first(store, home):
    assert store.newest(MODEL) is None
    assert store.recover(MODEL) == ()
    store.remove(MODEL)
    assert not home.exists()


def test_what_is_published_is_found_again(store, home):
    checkpoint = made(store)
    assert checkpoint == store.newest(MODEL) == CheckpointStore(home.parent).newest(MODEL)
    assert checkpoint.directory == home / "images"
    assert (checkpoint.generation, checkpoint.max_id, checkpoint.facts) == (1, 1007, FACTS)
    assert checkpoint.size_bytes >= len(PAGES)
    assert names(home) == ["images"]
    assert home.stat().st_mode & 0o777 == checkpoint.directory.stat().st_mode & 0o777 == 0o700


def test_the_next_generation_replaces_it_and_nothing_is_left(store, home):
    made(store, b"old")
    assert made(store, b"new").generation == 2
    assert (home / "images" / "pages-1.img").read_bytes() == b"new"
    assert names(home) == ["images"]


def test_a_failed_dump_leaves_the_old_one_whole(store, home):
    old = made(store)
    generation = store.begin(MODEL)
    (generation.directory / "pages-1.img").write_bytes(b"half")
    store.discard(generation)
    assert store.newest(MODEL) == old
    assert names(home) == ["images"]


def test_a_dump_without_manifest_is_not_published(store):
    old = made(store)
    generation = store.begin(MODEL)
    with pytest.raises(CheckpointInvalid, match="manifest"):
        store.publish(generation, FACTS)
    store.discard(generation)
    assert store.newest(MODEL) == old


def test_a_crash_in_the_dump_is_cleaned_and_the_old_one_whole(store, home):
    old = made(store)
    generation = store.begin(MODEL)
    dump_into(generation.directory)
    crashed(generation)
    assert store.recover(MODEL) == ("removed the left-over .generation-2",)
    assert store.newest(MODEL) == old
    assert names(home) == ["images"]


def test_a_crash_before_the_exchange_publishes_at_the_next_start(store, home, monkeypatch):
    made(store, b"old")
    generation = store.begin(MODEL)
    dump_into(generation.directory, b"new")
    with monkeypatch.context() as patched:
        patched.setattr("llmux.server._checkpoints.put_in_place", _die)
        with pytest.raises(KeyboardInterrupt):
            store.publish(generation, FACTS)
    crashed(generation)
    assert (home / "images" / "pages-1.img").read_bytes() == b"old"
    assert len(store.recover(MODEL)) == 2
    assert store.newest(MODEL).generation == 2
    assert (home / "images" / "pages-1.img").read_bytes() == b"new"
    assert names(home) == ["images"]


def test_a_crash_after_the_exchange_removes_the_old_one_at_the_next_start(store, home, monkeypatch):
    made(store, b"old")
    with monkeypatch.context() as patched:
        patched.setattr("llmux.server._checkpoints.remove_unlocked", lambda _: False)
        made(store, b"new")
    assert names(home) == [".generation-2", "images"]
    assert store.recover(MODEL) == ("removed the left-over .generation-2",)
    assert (home / "images" / "pages-1.img").read_bytes() == b"new"


def _die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_exchange, "_exchange", lambda *_: False)


@pytest.mark.usefixtures("no_exchange")
def test_a_file_system_without_exchange_does_too(store, home):
    made(store, b"old")
    assert made(store, b"new").generation == 2
    assert (home / "images" / "pages-1.img").read_bytes() == b"new"
    assert names(home) == ["images"]


@pytest.mark.parametrize("renames", [1, 2])
def test_a_crash_between_its_renames_loses_nothing(store, home, monkeypatch, renames):
    made(store, b"old")
    generation = store.begin(MODEL)
    dump_into(generation.directory, b"new")
    (generation.directory / FACTS_NAME).write_text(
        (home / "images" / FACTS_NAME).read_text().replace('"generation": 1', '"generation": 2')
    )
    crashed(generation)
    place = home / "images"
    place.rename(_exchange.aside(place))
    if renames == 2:
        generation.directory.rename(place)
    store.recover(MODEL)
    assert store.newest(MODEL).generation == 2
    assert names(home) == ["images"]


def test_a_checkpoint_in_use_is_not_removed_until_it_is_free(store, home):
    old = made(store, b"old")
    with store.in_use(old):
        assert made(store, b"new").generation == 2
        assert (home / ".generation-2" / "pages-1.img").read_bytes() == b"old"
        assert store.recover(MODEL) == ()
    assert store.recover(MODEL) == ("removed the left-over .generation-2",)


def test_what_is_being_replaced_is_not_read(store):
    checkpoint = made(store)
    with store.in_use(checkpoint), store.in_use(checkpoint):
        pass  # readers do not mind each other
    store.remove(MODEL)
    with pytest.raises(CheckpointInvalid, match="being replaced"), store.in_use(checkpoint):
        pass


def test_another_llmuxs_generation_is_left_alone(store, home):
    generation = store.begin(MODEL)
    assert CheckpointStore(home.parent).recover(MODEL) == ()
    dump_into(generation.directory)
    other = made(CheckpointStore(home.parent), b"other")
    mine = store.publish(generation, FACTS)
    assert {mine.generation, other.generation} == {1, 2}


def test_removing_removes(store, home):
    made(store)
    store.remove(MODEL)
    assert names(home) == []
    assert store.newest(MODEL) is None


def test_what_another_container_restores_is_not_removed(store, home):
    with store.in_use(made(store)):
        store.remove(MODEL)
    assert store.newest(MODEL).generation == 1
    assert names(home) == ["images"]


def test_a_checkpoint_that_was_replaced_since_it_was_read_is_not_restored(store):
    old = made(store)
    made(store)
    with pytest.raises(CheckpointInvalid, match="replaced at this moment"), store.in_use(old):
        pass


def test_containers_that_sleep_at_once_do_not_meet(store, home):
    begun = [CheckpointStore(home.parent).begin(MODEL) for _ in range(4)]
    for generation in begun:
        dump_into(generation.directory)
    with ThreadPoolExecutor() as pool:
        published = list(pool.map(store.publish, begun, [FACTS] * 4))
    assert {each.generation for each in published} == {1, 2, 3, 4}
    assert store.newest(MODEL).directory == home / "images"
    store.recover(MODEL)
    assert names(home) == ["images"]


def test_containers_that_begin_at_once_get_a_generation_each(store, home):
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: CheckpointStore(home.parent).begin(MODEL), range(8)))
    assert {each.number for each in begun} == set(range(1, 9))
    for generation in begun:
        store.discard(generation)


def test_a_generation_that_another_container_clears_away_is_begun_again(store, home, monkeypatch):
    """Another llmux's start comes between the making of the directory and its lock."""
    made_locked = _locks.Lock

    class Late(made_locked):
        def __init__(self, directory, kind):
            monkeypatch.setattr(_locks, "Lock", made_locked)
            assert CheckpointStore(home.parent).recover(MODEL) == ("removed the left-over .generation-1",)
            super().__init__(directory, kind)

    monkeypatch.setattr(_locks, "Lock", Late)
    assert store.begin(MODEL).directory.is_dir()


def test_a_half_removed_one_is_never_published_again(store, home, monkeypatch):
    made(store)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda _: None)
        store.remove(MODEL)
    assert store.recover(MODEL) == ("removed the left-over .generation-1",)
    assert store.newest(MODEL) is None


def test_another_place_is_looked_at_too_and_the_newer_wins(store, tmp_path):
    elsewhere = CheckpointStore(tmp_path / "elsewhere")
    there = made(elsewhere)
    assert store.newest(MODEL, there.directory) == there
    here = made(store)
    assert store.newest(MODEL, there.directory) == here
    assert store.newest(MODEL, tmp_path / "nowhere") == here
    (here.directory / MANIFEST_NAME).unlink()
    assert store.newest(MODEL, there.directory) == there


def damage_manifest(directory: Path) -> None:
    path = directory / MANIFEST_NAME
    path.write_text(path.read_text().replace("1007", "1008"))


def cut_an_image(directory: Path) -> None:
    os.truncate(directory / "pages-1.img", 7)


def edit_facts(directory: Path, **changes: object) -> None:
    path = directory / FACTS_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_manifest, "seal"),
        (cut_an_image, "pages-1.img has 7 bytes, but had 5000"),
        (lambda directory: (directory / "pages-1.img").unlink(), "pages-1.img: No such file"),
        (lambda directory: (directory / MANIFEST_NAME).unlink(), "manifest"),
        (lambda directory: (directory / FACTS_NAME).unlink(), f"{FACTS_NAME}: No such file"),
        (lambda directory: (directory / FACTS_NAME).write_text("{"), f"{FACTS_NAME}: .*JSON"),
        (lambda directory: edit_facts(directory, version=2), f"{FACTS_NAME}: version"),
        (lambda directory: edit_facts(directory, generation=0), f"{FACTS_NAME}: generation"),
        (lambda directory: edit_facts(directory, weights="some"), f"{FACTS_NAME}: weights"),
        (lambda directory: edit_facts(directory, model="other"), "of the model 'other', not of 'qwen3-0.6b'"),
    ],
)
def test_what_is_damaged_is_not_restored_and_says_why(store, damage, reason):
    damage(made(store).directory)
    with pytest.raises(CheckpointInvalid, match=reason):
        store.newest(MODEL)


def to_symlink(directory: Path) -> None:
    directory = directory.resolve()
    directory.rename(directory.with_name("real"))
    directory.symlink_to("real")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (to_symlink, "symbolic link"),
        (lambda directory: directory.chmod(0o770), r"others may write to it \(mode 0770\)"),
    ],
)
@pytest.mark.parametrize("which", ["images", "."])
def test_a_place_that_others_could_fill_is_refused(store, home, spoil, reason, which):
    made(store)
    spoil(home / which)
    with pytest.raises(CheckpointPlaceRefused, match=reason):
        store.newest(MODEL)
    if which == ".":
        with pytest.raises(CheckpointPlaceRefused, match=reason):
            store.begin(MODEL)


@pytest.mark.parametrize("name", ["pages-1.img", MANIFEST_NAME, FACTS_NAME])
def test_a_file_that_others_could_change_is_refused(store, home, name):
    made(store)
    (home / "images" / name).chmod(0o666)
    with pytest.raises(CheckpointPlaceRefused, match=rf"{name}: others may write to it \(mode 0666\)"):
        store.newest(MODEL)


def test_an_image_that_is_a_link_is_refused(store, home):
    made(store)
    image = home / "images" / "pages-1.img"
    image.rename(home / "elsewhere")
    image.symlink_to(home / "elsewhere")
    with pytest.raises(CheckpointPlaceRefused, match="it is a symbolic link"):
        store.newest(MODEL)


def test_a_root_that_everybody_may_write_to_is_refused_unless_it_is_sticky(store, home):
    home.parent.mkdir()
    home.parent.chmod(0o777)
    with pytest.raises(CheckpointPlaceRefused, match="everybody may write"):
        store.begin(MODEL)
    home.parent.chmod(0o1777)
    store.discard(store.begin(MODEL))


def test_a_root_that_is_no_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointPlaceRefused, match=f"{tmp_path}/file/{MODEL}: Not a directory.*images_dir"):
        CheckpointStore(tmp_path / "file").begin(MODEL)


def test_a_fingerprint_tells_starts_apart():
    one = fingerprint(["vllm", "serve"], {"A": "1"})
    assert one == fingerprint(("vllm", "serve"), {"A": "1"})
    assert len({one, fingerprint(["vllm serve"], {"A": "1"}), fingerprint(["vllm", "serve"], {})}) == 3


def test_what_is_written_of_one_in_the_making_is_known_while_it_is(store):
    assert (store.in_the_making(MODEL), store.has(MODEL)) == (None, False)
    generation = store.begin(MODEL)
    assert store.in_the_making(MODEL) == directory_size(generation)
    dump_into(generation.directory)
    assert store.in_the_making(MODEL) >= len(PAGES)
    store.publish(generation, FACTS)
    assert (store.in_the_making(MODEL), store.has(MODEL)) == (None, True)


def directory_size(generation):
    return sum(path.lstat().st_blocks * 512 for path in generation.directory.iterdir())


def test_a_start_on_other_gpus_is_no_other():
    start = {"A": "1"}
    there = {**start, "CUDA_VISIBLE_DEVICES": "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert fingerprint(["vllm"], there) == fingerprint(["vllm"], start)


def test_the_gpus_that_an_engine_has_left_are_written_down(store):
    devices = Devices((Gpu("GPU-8f4022ba-e0cb-1298-286e-225c953a7feb", "H100"),), "0", {"GPU-8f4022ba": 5})
    generation = store.begin(MODEL)
    dump_into(generation.directory)
    store.publish(generation, replace(FACTS, devices=devices))
    assert store.newest(MODEL).facts.devices == devices
