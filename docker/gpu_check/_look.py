"""This machine's facts. Whatever is missing is said, and nothing of it is an error."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tomllib
from pathlib import Path

from gpu_check._children import PROGRAMS, ROOT, CaseFailed, output, succeeds
from gpu_check._facts import Driver, Facts, GpuFact, Programs
from gpu_check._nvml import NvmlError, opened
from llmux_setup import python as set_up
from llmux_setup.paths import CACHE
from llmux_setup.shell import SetupError

_ENVIRONMENT = CACHE / "gpu_check"
_PLUGIN = "cuda_plugin.so"
_PLUGIN_DIRS = ("/usr/lib/criu", "/usr/local/lib/criu", "/usr/libexec/criu", "/usr/lib/x86_64-linux-gnu/criu")
_NEEDED = "import llmux.server.__main__, llmux.server._app, llmux.tiny_engine._serve"
_TORCH = "import torch; assert torch.cuda.is_available()"


def look(plugin_dir: str = "") -> Facts:
    """Return what is here; CRIU's plugins may be in a place of their own. Where no GPU is, nothing else is looked for."""
    driver = _driver()
    if not driver.gpus:
        return Facts(driver)
    return Facts(
        driver,
        _programs(plugin_dir),
        root=os.geteuid() == 0,
        no_namespaces=_no_namespaces(),
        host_memory=_host_memory(),
        kernel=platform.release(),
        commit=_commit(),
    )


def _driver() -> Driver:
    try:
        found = json.loads(output((sys.executable, str(PROGRAMS / "probe.py"))))
    except CaseFailed as error:
        return Driver(no_gpu=str(error))
    gpus = tuple(GpuFact(**gpu) for gpu in found.get("gpus", ()))
    version, no_nvml = _nvml()
    return Driver(
        gpus, found["no_gpu"], version, found.get("cuda", 0), found.get("checkpoint_api", False), no_nvml
    )


def _nvml() -> tuple[str, str]:
    """Return the driver's version, and why NVML does not tell."""
    try:
        with opened() as nvml:
            nvml.used()
            return nvml.version(), ""
    except NvmlError as error:
        return "", str(error)


def _programs(plugin_dir: str) -> Programs:
    python, no_python = _python()
    torch, no_torch = _torch(python)
    vllm = shutil.which("vllm") or ""
    criu, no_criu = _criu()
    docker, no_docker = _docker()
    places = (plugin_dir,) if plugin_dir else _PLUGIN_DIRS
    plugins = (place for place in places if Path(place, _PLUGIN).exists())
    return Programs(
        python=python,
        no_python=no_python,
        torch=torch,
        no_torch=no_torch,
        vllm=vllm,
        no_vllm="" if vllm else "vllm is not on PATH",
        criu=criu,
        no_criu=no_criu,
        plugin_dir=next(plugins, ""),
        cuda_checkpoint=shutil.which("cuda-checkpoint") or "",
        docker=docker,
        no_docker=no_docker,
    )


def _python() -> tuple[str, str]:
    """Return a Python that has what llmux needs: this one, `make setup`'s, or one that is made now, where packages can be had."""
    for candidate in (sys.executable, str(ROOT / ".venv/bin/python"), str(_ENVIRONMENT / "bin/python")):
        if Path(candidate).exists() and not succeeds((candidate, "-c", _NEEDED)):
            return candidate, ""
    made = str(_ENVIRONMENT / "bin/python")
    reason = _made(made)
    return ("", f"llmux's packages cannot be had: {reason}") if reason else (made, "")


def _made(python: str) -> str:
    """Make the environment of this Python; return why that cannot be done."""
    try:
        CACHE.mkdir(exist_ok=True)
        set_up.make_environment(_ENVIRONMENT, ROOT / "docker/requirements.lock")
    except (SetupError, OSError) as error:
        if not Path(python).exists():
            return str(error).splitlines()[0]
        # An index that has other versions than those that are locked does, too.
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        packages = (*project["dependencies"], *project["optional-dependencies"]["tiny"])
        if reason := succeeds((python, "-m", "pip", "install", "--quiet", *packages), timeout=900):
            return reason.splitlines()[-1]
    return "".join(succeeds((python, "-c", _NEEDED)).splitlines()[-1:])


def _torch(python: str) -> tuple[str, str]:
    reason = "torch is in no Python that is looked at: this one, python3 on PATH, vllm's"
    for candidate in dict.fromkeys(
        filter(None, (sys.executable, python, shutil.which("python3"), _of_vllm()))
    ):
        lacking = succeeds((candidate, "-c", _TORCH), timeout=180)
        if not lacking:
            return candidate, ""
        if "No module named" not in lacking:
            reason = f"torch of {candidate} sees no GPU"
    return "", reason


def _of_vllm() -> str:
    """Return the Python that the program vllm is run by, from its first line."""
    program = shutil.which("vllm")
    if not program:
        return ""
    with Path(program).open("rb") as file:
        line = file.readline(4096).decode("utf-8", "replace").strip()
    interpreter = line.removeprefix("#!")
    return interpreter if line.startswith("#!/") and Path(interpreter).name.startswith("python") else ""


def vllm_python() -> str:
    """Return vLLM's Python, or the one on PATH."""
    return _of_vllm() or shutil.which("python3") or sys.executable


def _criu() -> tuple[str, str]:
    criu = shutil.which("criu", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")
    if not criu:
        return "", "criu is not on PATH"
    if os.geteuid() != 0:
        return "", "criu needs root"
    lacking = succeeds((criu, "check"))
    return ("", f"`criu check` fails: {lacking}") if lacking else (criu, "")


def _docker() -> tuple[str, str]:
    docker = shutil.which("docker")
    if not docker:
        return "", "docker is not on PATH"
    try:
        runtimes = output((docker, "info", "--format", "{{json .Runtimes}}"))
    except CaseFailed as error:
        return "", f"no Docker engine answers: {str(error).splitlines()[0]}"
    if "nvidia" not in runtimes:
        return "", "Docker has no runtime of NVIDIA's (nvidia-ctk runtime configure)"
    return docker, ""


def _no_namespaces() -> str:
    lacking = succeeds(("unshare", "--mount", "--pid", "--fork", "true"))
    return f"needs mount and PID namespaces: {lacking}" if lacking else ""


def _host_memory() -> int:
    """Return what may still be taken, of the machine and of our control group."""
    fields = (line.split() for line in Path("/proc/meminfo").read_text("ascii").splitlines())
    available = next(int(words[1]) * 1024 for words in fields if words[0] == "MemAvailable:")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text("ascii").strip() if limit.exists() else "max"
    return available if text == "max" else min(available, int(text))


def _commit() -> str:
    try:
        return output(("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"))
    except CaseFailed:
        return ""
