"""What a person and a program read at the end."""

import json
from dataclasses import replace

from gpu_check._facts import STAND_IN, Driver, Facts, GpuFact
from gpu_check._plan import GIB, Case
from gpu_check._results import Numbers, Outcome, Result, Round
from gpu_check._table import as_json, head, render

FACTS = Facts(
    Driver((GpuFact("NVIDIA H100", "GPU-1", 80 * GIB),), version="580.1", cuda=12080, checkpoint_api=True),
    root=True,
    kernel="6.12",
    commit="abc",
)
RESULTS = (
    Result(Case.BANDWIDTH, Outcome.PASSED, numbers=Numbers(GIB, to_gpu=50e9, to_host=40e9)),
    Result(Case.BARE, Outcome.PASSED, numbers=Numbers(10 * GIB, (Round(1.5, 1.0, 0.5),), 10 * GIB)),
    Result(Case.TINY, Outcome.FAILED, "a byte is lost", log="its last words"),
    Result(Case.TORCH, Outcome.NOT_RUN, "no torch"),
)


def test_the_head_says_what_it_was_seen_on():
    assert head(FACTS) == (
        "NVIDIA H100, 80 GiB, GPU-1\ndriver 580.1, CUDA 12.8; Linux 6.12\nllmux at abc; root"
    )


def test_a_stand_in_is_named_first():
    gpu = GpuFact(f"{STAND_IN}, no GPU", "GPU-0", GIB)
    assert head(replace(FACTS, driver=Driver((gpu,)))).startswith(
        "STAND-IN for NVIDIA's driver: no GPU was touched"
    )
    assert STAND_IN not in head(FACTS)


def test_each_case_has_a_row_with_its_rates_beside_the_bandwidth():
    lines = render(RESULTS).splitlines()
    assert len(lines[1]) == max(map(len, lines[:1] + lines[2:6]))
    pcie, bare, tiny, torch = lines[2:6]
    assert pcie.split()[-3:] == ["1.00", "40.0", "50.0"]
    assert bare.split("  ")[-1].strip() == "0.50"
    assert "10.7 (27%)" in bare
    assert "21.5 (43%)" in bare
    assert "100%" in bare
    assert tiny.rstrip().endswith("FAILED")
    assert torch.rstrip().endswith("not run")
    assert lines[-2:] == ["tiny: a byte is lost", "torch: no torch"]


def test_what_was_not_measured_is_left_blank():
    only = render([Result(Case.BARE, Outcome.PASSED, numbers=Numbers(GIB, (Round(0.1, 0.1, 0.5),)))])
    assert "%" not in only


def test_programs_read_the_same():
    document = json.loads(as_json(FACTS, RESULTS, "2026-01-01T00:00:00+00:00"))
    assert (document["exit_code"], document["verdict"], document["stand_in"]) == (1, "FAILED: tiny", False)
    assert document["facts"]["driver"]["gpus"][0]["uuid"] == "GPU-1"
    bare = document["results"][1]
    assert (bare["case"], bare["outcome"], bare["out_seconds"]) == ("bare", "passed", 1.0)
    assert document["results"][2]["log"] == "its last words"
