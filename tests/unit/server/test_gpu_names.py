"""What a CUDA_VISIBLE_DEVICES names, and which GPUs those are."""

from __future__ import annotations

import pytest

from llmux.server._gpu_names import By, Named, index_of, parse

ONE, TWO = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932aaaa-d72c-4106-c12f-20bd9faed9f6"
HERE = {0: ONE, 1: TWO, 2: ""}


@pytest.mark.parametrize(
    ("visible", "by", "found"),
    [
        ("0", By.INDEX, (0,)),
        ("3, 1", By.INDEX, (3, 1)),
        (TWO, By.UUID, (1,)),
        ("GPU-8932a,GPU-8932f937", By.UUID, (1, 0)),
        ("GPU-8932", By.UUID, ()),
        ("GPU-77", By.UUID, ()),
        ("MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", By.PART, ()),
        (f"MIG-{ONE}/1/0", By.PART, ()),
        ("", By.NOTHING, ()),
        ("-1", By.NOTHING, ()),
        ("NoDevFiles", By.NOTHING, ()),
    ],
)
def test_gpus_are_named_by_index_by_uuid_or_in_parts(visible, by, found):
    named = parse(visible)
    assert (named.by, named.found(HERE)) == (by, found)


def test_uuids_that_say_too_little_or_are_not_here_are_told():
    assert parse("GPU-8932,GPU-8932a,GPU-7").unknown(HERE) == ("GPU-8932", "GPU-7")
    assert Named(By.INDEX, ("7",)).unknown(HERE) == ()


@pytest.mark.parametrize(
    ("visible", "why"),
    [
        ("0,0", "names a GPU twice"),
        (f"0,{ONE}", "by index and some by UUID"),
        ("0,-1,1", "'-1' is no GPU"),
        ("all", "'all' is no GPU"),
        ("GPU-", "'GPU-' is no GPU"),
        ("GPU-8932F937", "is no GPU"),
        ("0,", "'' is no GPU"),
        ("\u0663", "is no GPU"),
        ("MIG-", "is no GPU"),
    ],
)
def test_what_cuda_would_read_otherwise_than_it_looks_is_refused(visible, why):
    with pytest.raises(ValueError, match=why):
        parse(visible)


@pytest.mark.parametrize(
    ("name", "index"),
    [("1", 1), ("3", None), ("GPU-8932f", 0), ("GPU-8932", None), ("GPU-", None), ("", None), ("-1", None)],
)
def test_a_name_is_that_of_one_gpu_or_of_none(name, index):
    assert index_of(name, HERE) == index
