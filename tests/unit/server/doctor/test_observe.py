"""Looking at the machine: what is read where, and that the doctor itself never fails."""

from __future__ import annotations

import pytest

from llmux.server.doctor import Wanted, _observe, findings, observe


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "", "podman"),
        ("proc/1/environ", "PATH=/bin\0container=lxc\0", "lxc"),
        ("proc/1/environ", "PATH=/bin\0", ""),
    ],
)
def test_a_container_is_known_by_what_its_engine_leaves(tmp_path, monkeypatch, file, text, kind):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert _observe._container(tmp_path) == kind


def test_rights_are_read_from_proc(tmp_path):
    (tmp_path / "proc/self/attr/apparmor").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(
        "Name:\tx\nCapEff:\t00000000a80425fb\nCapBnd:\tff\nSeccomp:\t2\n"
    )
    (tmp_path / "proc/self/attr/apparmor/current").write_text("docker-default (enforce)\n")
    (tmp_path / "proc/sys/kernel/yama").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/yama/ptrace_scope").write_text("3\n")
    found = _observe._rights(tmp_path)
    assert (found.effective, found.bounding, found.seccomp) == (0xA80425FB, 0xFF, 2)
    assert (found.apparmor, found.ptrace_scope, found.pid_namespaces) == ("docker-default", 3, 1)


@pytest.mark.parametrize("text", ["unconfined\n", "complaining (complain)\n", "kernel\0", ""])
def test_what_confines_nothing_is_no_confinement(text):
    assert _observe._confined(text) == ""


def test_the_version_of_control_groups(tmp_path):
    assert _observe._control_groups(tmp_path) == 0
    (tmp_path / "memory").mkdir()
    assert _observe._control_groups(tmp_path) == 1
    (tmp_path / "cgroup.controllers").write_text("")
    assert _observe._control_groups(tmp_path) == 2


def test_the_processors_flags(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu amx_tile\n\nprocessor\t: 1\n")
    assert _observe.processor_flags(tmp_path / "cpuinfo") == {"fpu", "amx_tile"}
    assert _observe.processor_flags(tmp_path / "none") == frozenset()


def criu(directory, script):
    path = directory / "criu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def test_criu_is_asked_what_it_is_and_whether_it_is_content(tmp_path):
    script = '[ "$1" = --version ] && echo Version: 4.1.1 || { echo "Error (criu): no such thing"; exit 1; }'
    found = await _observe._criu(criu(tmp_path, script))
    assert (found.found, found.version) == (True, (4, 1, 1))
    assert "no such thing" in found.check.reason


async def test_a_criu_that_only_prints_what_it_lacks_is_quoted(tmp_path):
    script = '[ "$1" = --version ] && echo Version: 4.2 || { echo "CRIU needs to have the CAP_SYS_ADMIN"; exit 1; }'
    found = await _observe._criu(criu(tmp_path, script))
    assert found.check.reason == "CRIU needs to have the CAP_SYS_ADMIN"


async def test_a_criu_that_is_none_is_told(tmp_path):
    assert not (await _observe._criu(str(tmp_path / "criu"))).found
    broken = await _observe._criu(criu(tmp_path, "echo nothing"))
    assert (broken.found, broken.version, broken.said) == (True, (), "nothing")
    (tmp_path / "criu").write_bytes(b"\x7fELF no program")
    assert (await _observe._criu(str(tmp_path / "criu"))).version == ()


async def test_everything_is_looked_at_and_nothing_is_left(tmp_path):
    wanted = Wanted(
        criu_path=criu(tmp_path, "[ $1 = check ] || echo Version: 4.2"),
        images_dir=str(tmp_path / "images"),
        log_dir=str(tmp_path / "log"),
        state_dir=str(tmp_path / "state"),
        speed_bytes=0,
    )
    found = {each.topic: each for each in findings(await observe(wanted))}
    assert {"machine", "user", "sandbox", "criu.version", "checkpoint.images_dir", "gpu"} <= set(found)
    assert found["criu.version"].seen.startswith("4.2 ")
    assert [path.name for path in tmp_path.iterdir()] == ["criu"]
