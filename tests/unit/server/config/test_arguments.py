"""What an engine's own arguments say about GPUs."""

from __future__ import annotations

import pytest

from llmux.server.config import _arguments


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("", None),
        ("--dtype float16", None),
        ("--tensor-parallel-size 4", 4),
        ("--tensor-parallel-size=4 --dtype float16", 4),
        ("--tensor_parallel_size 4", 4),
        ("-tp 2", 2),
        ("-tp=2", 2),
        ("-tp 2 -tp 8", 8),
        ("-tp", None),
        ("-tp two", None),
        ("-tp 0", None),
        ("-tp ²", None),
    ],
)
def test_the_tensor_parallel_size(words, size):
    assert _arguments.tensor_parallel_size(words.split()) == size


def test_pipeline_stages_and_copies_take_more():
    assert _arguments.copies_and_stages(["--pipeline-parallel-size", "3", "-dp=2"]) == 6
    assert _arguments.copies_and_stages(["-tp", "3"]) == 1


@pytest.mark.parametrize(
    ("words", "fraction"),
    [
        ("--gpu-memory-utilization 0.85", 0.85),
        ("--gpu-memory-utilization=1", 1.0),
        ("--gpu_memory_utilization 0.5", 0.5),
        ("--gpu-memory-utilization 2", None),
        ("--gpu-memory-utilization nan", None),
        ("--gpu-memory-utilization much", None),
        ("--max-model-len 4096", None),
    ],
)
def test_the_part_of_the_memory(words, fraction):
    assert _arguments.gpu_memory_fraction(words.split()) == fraction


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", None),
        ("--enforce-eager", True),
        ("--enforce_eager", True),
        ("--no-enforce-eager", False),
        ("--no-enforce-eager --enforce-eager", True),
        ("--enforce-eager --no_enforce_eager -tp 2", False),
        ("--enforce-eagerly", None),
    ],
)
def test_a_switch_or_its_contrary(words, said):
    assert _arguments.switch(words.split(), "--enforce-eager") is said


def test_sglangs_options_are_known_and_its_copies_may_share_gpus():
    assert _arguments.tensor_parallel_size(("--tp-size", "4")) == 4
    assert _arguments.tensor_parallel_size(("--tp=2",)) == 2
    assert _arguments.copies_and_stages(("--dp-size", "2", "--pp-size", "3")) == 6
    assert _arguments.copies_and_stages(("--tp", "4", "--dp", "2", "--enable-dp-attention")) == 1
    assert _arguments.gpu_memory_fraction(("--mem-fraction-static", "0.7")) == 0.7
