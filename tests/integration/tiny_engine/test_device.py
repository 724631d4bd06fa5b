"""The tiny engine on a GPU, of the stand-in for NVIDIA's driver: the weights are there, and a byte that is lost there is named."""

from __future__ import annotations

import subprocess  # noqa: TID251 - an engine that does not start is a process
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stand_in_driver import StandIn

MIB = 1 << 20
BALLAST = 5 * MIB + 77
CUDA = ("--device", "cuda", "--device-bytes", str(BALLAST))
RELOAD = {"method": "reload_weights"}


@pytest.fixture
def driver(tmp_path, monkeypatch):
    directory = tmp_path / "driver"
    directory.mkdir()
    driver = StandIn(directory, monkeypatch.setenv)
    yield driver
    driver.close()


def on_gpu(driver: StandIn) -> int:
    return sum(path.stat().st_size for path in driver.directory.glob("*.memory-*"))


def biggest(driver: StandIn) -> Path:
    return max(driver.directory.glob("*.memory-*"), key=lambda path: path.stat().st_size)


def smallest(driver: StandIn) -> Path:
    return min(driver.directory.glob("*.memory-*"), key=lambda path: path.stat().st_size)


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def toggle(pid: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "llmux.server.cuda", "--toggle", "--pid", str(pid)], check=True, timeout=60
    )


def test_it_answers_as_on_the_cpu_and_counts_its_steps(start, driver):
    with start() as engine:
        wanted = engine.answer()
        assert engine.get("/device").json == {"device": "cpu"}
    with start(*CUDA) as engine:
        before = engine.get("/device").json
        assert engine.answer() == wanted
        after = engine.get("/device").json
        assert (before["steps"], after["steps"] > 0) == (0, True)
        assert before["digest"] != after["digest"]
        assert before["weights"] == after["weights"]
        assert after["name"] == "STAND-IN, no GPU"
        assert after["bytes"] == biggest(driver).stat().st_size
        assert after["bytes"] > BALLAST
        assert engine.get("/health").status == 200


def test_a_byte_that_is_lost_is_named(start, driver):
    with start(*CUDA) as engine:
        memory = biggest(driver)
        size = memory.stat().st_size
        for place in (100, size - 3 * MIB, size - 1):
            assert engine.get("/device").status == 200
            flip(memory, place)
            found = engine.get("/device")
            assert found.status == 503
            assert "the GPU's memory has changed" in found.json["error"]
            flip(memory, place)


def test_weights_that_are_lost_make_no_answer(start, driver):
    with start(*CUDA, "--token-delay", "0.05") as engine, ThreadPoolExecutor() as pool:
        asked = pool.submit(engine.chat, ignore_eos=True)
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 1, "the request runs")
        flip(biggest(driver), 1000)
        failed = asked.result(20)
        assert failed.status == 503
        assert "the weights' checksum is" in failed.json["error"]["message"]
        assert engine.chat().status == 503
        unwell = engine.get("/health")
        assert (unwell.status, "the weights' checksum is" in unwell.text) == (503, True)
        assert "the weights' checksum is" in engine.log.read_text()


def test_a_count_or_ballast_that_is_lost_shows_in_its_health(start, driver):
    with start(*CUDA) as engine:
        engine.answer()
        flip(smallest(driver), 9)
        assert engine.chat().status == 503
        assert "the count is" in engine.get("/health").text
        flip(smallest(driver), 9)
        assert engine.get("/health").status == 200
        flip(biggest(driver), biggest(driver).stat().st_size - 1)
        assert 503 in [engine.get("/health").status for _ in range(6)], "a piece of the ballast each time"
        assert f"byte {BALLAST - 1} of the ballast" in engine.get("/device").json["error"]


def test_the_levels_of_sleep_act_on_the_gpus_memory(start, driver):
    with start(*CUDA) as engine:
        before, full = engine.answer(), on_gpu(driver)
        for level in (1, 2):
            assert engine.post(f"/sleep?level={level}").status == 200
            assert on_gpu(driver) < 4096
            assert engine.get("/device").json["bytes"] == 0
            assert engine.post("/wake_up").status == 200
            assert on_gpu(driver) == full
            if level == 2:
                assert engine.post("/collective_rpc", RELOAD).status == 200
            assert engine.get("/device").status == 200
            assert engine.answer() == before
        engine.post("/collective_rpc", RELOAD)
        assert on_gpu(driver) == full
        assert engine.answer() == before


def test_it_is_suspended_and_goes_on_where_it_was(start, driver):
    with start(*CUDA, "--token-delay", "0.02") as engine, ThreadPoolExecutor() as pool:
        worker = engine.get("/instance").json["worker_pid"]
        before, full = engine.answer(), on_gpu(driver)
        asked = pool.submit(engine.answer)
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 1, "the request runs")
        toggle(worker)
        assert on_gpu(driver) == 0
        toggle(worker)
        assert on_gpu(driver) == full
        assert asked.result(30) == before
        assert engine.get("/device").status == 200


def test_a_suspension_that_loses_bytes_is_seen(start, driver):
    with start(*CUDA) as engine:
        worker = engine.get("/instance").json["worker_pid"]
        driver.tell(worker, "lose", "1")
        toggle(worker)
        toggle(worker)
        assert engine.get("/health").status == 503
        assert engine.chat().status == 503


def test_a_gpu_without_room_is_said_to_have_none(start, driver, models):
    driver.directory.joinpath("gpu-bytes").write_text(str(2 * MIB))
    serve = [sys.executable, "-m", "llmux.tiny_engine", "serve", str(models[0]), "--port", "1"]
    done = subprocess.run([*serve, *CUDA], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the GPU has no " in done.stderr
    assert "CUDA_ERROR_OUT_OF_MEMORY" in done.stderr


def test_a_gpu_that_is_not_there_is_said_to_be_missing(models, monkeypatch):
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    serve = [sys.executable, "-m", "llmux.tiny_engine", "serve", str(models[0]), "--device", "cuda"]
    done = subprocess.run([*serve, "--port", "1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no GPU: loading the driver: libcuda.so.1 cannot be loaded" in done.stderr


def test_ballast_without_a_gpu_is_refused(models):
    serve = [sys.executable, "-m", "llmux.tiny_engine", "serve", str(models[0]), "--device-bytes", "5"]
    done = subprocess.run(serve, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "--device-bytes needs --device cuda" in done.stderr) == (2, True)
