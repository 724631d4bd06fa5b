"""What this machine cannot do of the configured evictions is refused with the reason."""

from __future__ import annotations

import pytest
from samples import loaded, model

from llmux.server import config
from llmux.server._model import Eviction, Process, Weights

SUSPEND = {"weights": "retain", "process": "cuda_suspend"}
OFFLOAD = {"weights": "offload", "process": "keep_running"}


def driver(tmp_path, text="NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\n"):
    path = tmp_path / "version"
    path.write_text(text)
    return path


def refused(tmp_path, driver, **fields):
    return config.eviction_faults(loaded(models={"m": model(**fields)}), driver)


def test_without_a_driver_nothing_is_suspended_or_offloaded_by_vllm(tmp_path):
    (fault,) = refused(tmp_path, tmp_path / "none", eviction=SUSPEND)
    assert fault.startswith("models.m.eviction: 'cuda_suspend' needs NVIDIA's driver, and there is none here")
    (fault,) = refused(tmp_path, tmp_path / "none", eviction=OFFLOAD)
    assert "vLLM's sleep mode needs a GPU to offload from" in fault
    assert fault.endswith("use weights 'discard' or 'retain'")


def test_an_old_driver_is_named(tmp_path):
    old = driver(tmp_path, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01\n")
    (fault,) = refused(tmp_path, old, eviction=SUSPEND)
    assert "needs NVIDIA's driver 570 or newer, and this one is 535" in fault


def test_the_open_modules_name_their_version_too(tmp_path):
    name = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64"
    assert refused(tmp_path, driver(tmp_path, f"{name}  580.65.06  Release Build\n"), eviction=SUSPEND) == ()
    (fault,) = refused(tmp_path, driver(tmp_path, f"{name}  550.54.14\n"), eviction=SUSPEND)
    assert "this one is 550" in fault


@pytest.mark.parametrize("eviction", [SUSPEND, OFFLOAD, {"process": "stop"}, {}])
def test_what_can_be_done_is_not_refused(tmp_path, eviction):
    assert refused(tmp_path, driver(tmp_path), eviction=eviction) == ()


def test_other_engines_offload_as_they_can(tmp_path):
    assert refused(tmp_path, tmp_path / "none", eviction=OFFLOAD, engine="tiny") == ()


def test_vllm_without_its_sleep_mode_keeps_its_weights(tmp_path):
    (fault,) = refused(tmp_path, driver(tmp_path), eviction=OFFLOAD, extra_args=["--no-enable-sleep-mode"])
    assert "no sleep mode with --no-enable-sleep-mode in extra_args; use weights 'retain'" in fault


def test_ranks_that_were_not_started_for_it_do_not_leave_their_gpus_where_there_are_some(tmp_path):
    warm = {"weights": "discard", "process": "keep_running"}
    asked = Eviction(Weights.DISCARD, Process.CHECKPOINT)
    two = loaded(models={"m": model(extra_args=["-tp", "2"], eviction=warm)}).models["m"]
    assert "its 2 ranks were not started" in config.eviction_fault(asked, two, driver(tmp_path))
    assert config.eviction_fault(asked, two, tmp_path / "none") == ""


def test_what_a_failure_would_escalate_to_is_looked_at_too(tmp_path):
    stated = {"weights": "offload", "process": "keep_running", "escalate": ["checkpoint", "stop"]}
    found = refused(tmp_path, tmp_path / "none", eviction=stated)
    assert [fault.split(":")[0] for fault in found] == ["models.m.eviction", "models.m.eviction.escalate.0"]
