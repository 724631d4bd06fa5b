"""Which GPUs an engine sees, and the map from those that it had to those that it is to have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server.cuda.devices import Devices, Gpu, device_map, moved, words_of
from llmux.server.cuda.errors import GpusDiffer

UUIDS = [f"GPU-8f4022ba-e0cb-1298-286e-00000000000{digit}" for digit in range(8)]
H100S = tuple(Gpu(uuid, "H100") for uuid in UUIDS[:4])
ONE, TWO, THREE, FOUR = H100S
A100 = Gpu(UUIDS[7], "A100")
ELSEWHERE = tuple(Gpu(uuid, "H100") for uuid in UUIDS[4:6])


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, H100S),
        ("0", (ONE,)),
        ("2, 1", (THREE, TWO)),
        (TWO.uuid, (TWO,)),
        ("", ()),
        ("0,-1,2", (ONE,)),
        ("1,9,2", (TWO,)),
        ("3,3,1", (FOUR,)),
        ("GPU-", ()),
        ("GPU-8f4022ba", ()),
        ("MIG-8f4022ba", ()),
        ("٣", ()),
    ],
)
def test_an_engine_sees_what_its_environment_says_in_that_order(visible, seen):
    assert Devices(H100S, visible).seen == seen


def mapped(had, now):
    """Return the map by the last digits."""
    return " ".join(f"{str(pair.old)[-1]}{str(pair.new)[-1]}" for pair in device_map(had, now))


@pytest.mark.parametrize(
    ("had", "now", "pairs"),
    [
        (Devices(H100S, "0"), Devices(H100S, "0"), ""),
        (Devices(H100S, "0"), Devices(H100S, ONE.uuid), ""),
        (Devices(H100S), Devices(H100S), ""),
        (Devices((ONE, TWO), "0"), Devices(H100S, "0"), ""),
        (Devices(), Devices(H100S), ""),
        (Devices(H100S), Devices(), ""),
        (Devices(H100S, "0"), Devices(H100S, "1"), "01 22 33 10"),
        (Devices((ONE, TWO)), Devices((TWO, ONE)), "01 10"),
        (Devices((ONE, TWO)), Devices(ELSEWHERE), "04 15"),
        (Devices((ONE, TWO), "1"), Devices(ELSEWHERE, "0"), "14 05"),
        (Devices((ONE,), "0"), Devices(ELSEWHERE, "1"), "05"),
        (Devices((ONE, TWO, A100), "0"), Devices((A100, *ELSEWHERE), "1"), "04 77 15"),
    ],
)
def test_each_gpu_becomes_the_one_in_its_place_and_others_stay_where_they_can(had, now, pairs):
    assert mapped(had, now) == pairs


@pytest.mark.parametrize(
    ("had", "now", "why", "mend"),
    [
        (Devices(H100S, "0"), Devices(H100S, "0,1"), "it had 1, and is to have 2", "as many GPUs as it had"),
        (Devices(H100S, "0"), Devices(ELSEWHERE, "0"), "4 were where it left them, and 2 are", "docker run"),
        (Devices((ONE,)), Devices((A100,)), "was one of H100, and GPU-", "of the kind"),
        (
            Devices((A100, TWO), "1"),
            Devices(ELSEWHERE, "0"),
            "none of that kind is left for it",
            "docker run",
        ),
        (Devices((Gpu("MIG-1", "H100"),)), Devices((ONE,)), "MIG-1 is no UUID of a whole GPU", "nvidia-smi"),
        (Devices(visible="0"), Devices(visible="1"), "NVML does not tell", "NVML"),
        (Devices(H100S, "0"), Devices(visible="1"), "NVML does not tell", "NVML"),
    ],
)
def test_what_cannot_be_mapped_is_refused_with_what_to_do(had, now, why, mend):
    with pytest.raises(GpusDiffer) as refused:
        device_map(had, now)
    assert why in str(refused.value)
    assert mend in refused.value.hint


@given(st.permutations(range(6)), st.permutations(range(6)), st.integers(1, 6))
def test_a_map_names_each_gpu_once_and_those_that_are_seen_in_their_order(one, other, count):
    gpus = tuple(Gpu(uuid, "H100") for uuid in UUIDS[:6])
    had, now = (Devices(gpus, ",".join(map(str, order[:count]))) for order in (one, other))
    pairs = device_map(had, now)
    if had.seen == now.seen:
        assert pairs == ()
        return
    becomes = {f"GPU-{pair.old}": f"GPU-{pair.new}" for pair in pairs}
    assert set(becomes) == set(becomes.values()) == {gpu.uuid for gpu in gpus}
    assert [becomes[gpu.uuid] for gpu in had.seen] == [gpu.uuid for gpu in now.seen]


def test_what_was_taken_of_each_follows_the_map_and_the_command_line_has_it():
    pairs = device_map(Devices((ONE, TWO), "0"), Devices((ONE, TWO), "1"))
    assert moved({ONE.uuid: 5, "GPU-unknown": 7}, pairs) == {TWO.uuid: 5, "GPU-unknown": 7}
    assert words_of(pairs) == f"{ONE.uuid}={TWO.uuid},{TWO.uuid}={ONE.uuid}"
