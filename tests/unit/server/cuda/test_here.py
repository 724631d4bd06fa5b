"""Which GPUs are here by NVML, stood in for."""

import pynvml
import pytest

from llmux.server.cuda import _here
from llmux.server.cuda.devices import Devices, Gpu


def lost(_gpu):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


@pytest.fixture
def nvml(monkeypatch):
    """Have NVML with two GPUs, of a driver that takes maps."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda gpu: f"GPU-{gpu}")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _gpu: "H100")
    monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion_v2", lambda: 13000)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "570.86")


def test_all_gpus_are_told_with_their_kinds(nvml):
    assert _here.devices("1") == Devices((Gpu("GPU-0", "H100"), Gpu("GPU-1", "H100")), "1")


def test_a_driver_tells_its_version_where_it_takes_no_map(nvml, monkeypatch):
    assert not _here.without_maps()
    monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion_v2", lambda: 12080)
    assert _here.without_maps() == "570.86"


def test_without_nvml_and_with_a_gpu_that_is_lost_nothing_is_known(nvml, monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lost)
    assert _here.devices("1") == Devices(visible="1")
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: lost(0))
    monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion_v2", lambda: 12080)
    assert not _here.without_maps()
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: lost(0))
    assert _here.devices(None) == Devices()
    assert not _here.without_maps()
