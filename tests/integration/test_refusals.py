"""Where llmux cannot do what its configuration asks for, it says at once what is missing and what to do."""

from __future__ import annotations

import pytest

from proof.bench import Bench, Model, Settings
from proof.containers import Mount

pytestmark = pytest.mark.docker


def test_no_criu_is_named_with_what_to_install(desk: Bench) -> None:
    code, words = desk.refusal(Settings(checkpoint={"criu_path": "/usr/local/bin/no-criu"}))
    assert code == 1
    assert "/usr/local/bin/no-criu" in words
    assert "Install criu 4.2" in words


def test_no_pycriu_is_named_with_the_package_that_brings_it(desk: Bench) -> None:
    nothing = desk.directory / "nothing"
    nothing.mkdir()
    hidden = Mount(nothing, "/usr/lib/python3/dist-packages/pycriu", read_only=True)
    code, words = desk.refusal(Settings(), mounts=(hidden,))
    assert code == 1
    assert "python3-pycriu" in words


def test_no_capabilities_are_named_with_the_flags_to_give(desk: Bench) -> None:
    code, words = desk.refusal(Settings(), rights=())
    assert code == 1
    assert "--cap-add" in words


def test_another_user_than_root_is_named(desk: Bench) -> None:
    code, words = desk.refusal(Settings(), flags=("--user=1000:1000",))
    assert code == 1
    assert "root" in words


def test_each_fault_of_the_configuration_is_named_with_its_field(desk: Bench) -> None:
    faulty = Model(fields={"eviction": {"weights": "discrad", "process": "checkpoint"}, "prot": 8001})
    code, words = desk.refusal(Settings(models=(faulty,)))
    assert code == 2
    assert "models.qwen3-0.6b.eviction.weights" in words
    assert "discard" in words
    assert "models.qwen3-0.6b.prot" in words
    assert "port" in words
    assert "Traceback" not in words
