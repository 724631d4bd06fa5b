"""What criu is called with and what its absence gives; dumps and restores are proved in containers."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from llmux.server import _criu
from llmux.server._criu import CriuSettings, check, dump_arguments, restore_arguments
from llmux.server._effect_errors import CriuMissing, CriuTooOld, NotPermitted
from llmux.server._process import run
from llmux.server._sandbox import Sandbox

STATUS = "Name:\tx\nCapEff:\t{caps}\nSeccomp:\t{seccomp}\n"
ALL_BUT_SYS_RESOURCE = "000001fffeffffff"
DOCKERS_DEFAULT = "00000000a80425fb"


def test_a_dump_names_tree_images_work_directory_and_hook(tmp_path):
    argv = dump_arguments(CriuSettings("/bin/criu"), 1000, Path("/c/images"), Path("/run/w"))
    assert argv[:2] == ("/bin/criu", "dump")
    for pair in [
        ("--tree", "1000"),
        ("--images-dir", "/c/images"),
        ("--work-dir", "/run/w"),
        ("--action-script", str(_criu.STAGES)),
        ("--network-lock", "skip"),
    ]:
        assert pair in pairwise(argv)
    assert "--leave-running" not in argv


@pytest.mark.demand("child-of-caller")
def test_a_restore_makes_the_root_the_inits_child():
    argv = restore_arguments(CriuSettings(extra_restore=("--more",)), Path("/c"), Path("/w"), Path("/w/pid"))
    assert {"--restore-detached", "--restore-sibling", "--more"} < set(argv)
    assert ("--pidfile", "/w/pid") in pairwise(argv)


def test_dump_and_restore_agree_on_what_must_be_said_twice():
    both = {"--tcp-established", "--ext-unix-sk", "--file-locks", "--manage-cgroups=ignore"}
    assert both < set(dump_arguments(CriuSettings(), 1, Path("/c"), Path("/w")))
    assert both < set(restore_arguments(CriuSettings(), Path("/c"), Path("/w"), Path("/p")))


@pytest.mark.parametrize(
    ("plugins", "used"), [((), False), (("readme.txt",), False), (("cuda_plugin.so",), True)]
)
def test_a_plugin_directory_is_used_where_it_holds_one(tmp_path, plugins, used):
    for plugin in plugins:
        (tmp_path / plugin).touch()
    argv = dump_arguments(CriuSettings(cuda_plugin_dir=str(tmp_path)), 1, Path("/c"), Path("/w"))
    assert ("--libdir" in argv) is used
    assert "--libdir" not in dump_arguments(
        CriuSettings(cuda_plugin_dir="/no/such"), 1, Path("/c"), Path("/w")
    )


def test_where_it_may_load_none_it_looks_for_plugins_where_there_are_none(tmp_path):
    (tmp_path / "cuda_plugin.so").touch()
    settings = CriuSettings(cuda_plugin_dir=str(tmp_path), plugins=False)
    assert ("--libdir", "/w") in pairwise(dump_arguments(settings, 1, Path("/c"), Path("/w")))


async def test_criu_is_configured_by_nobody_else_and_finds_cuda_checkpoint(monkeypatch):
    monkeypatch.setenv("CRIU_CONFIG_FILE", "/x")
    monkeypatch.setenv("CRTOOLS_SCRIPT_ACTION", "post-dump")
    sandbox = Sandbox()
    sandbox.mount_namespace = "mnt:[1]"
    env = _criu._environment(CriuSettings(cuda_checkpoint_path="/opt/nvidia/cuda-checkpoint"), sandbox)
    assert not [name for name in env if name.startswith(("CRIU_", "CRTOOLS_"))]
    assert env["PATH"].split(":")[0] == "/opt/nvidia"
    ours = env["PATH"].split(":")[-1]
    done = await run(
        [f"{ours}/cuda-checkpoint", "--help"], timeout=60, env=env | {"PYTHONPATH": str(Path.cwd())}
    )
    assert b"--get-restore-tid" in done.stdout
    assert env["LLMUX_PRIVATE_MOUNT_NAMESPACE"] == "mnt:[1]"


@pytest.mark.parametrize(
    ("stage", "code"), [("post-dump", 7), ("pre-restore", 7), ("pre-resume", 7), ("post-restore", 0), ("", 0)]
)
async def test_the_hook_is_called_where_it_has_work_to_do_and_its_verdict_is_passed_on(tmp_path, stage, code):
    hook = program(tmp_path / "hook", "exit 7")
    env = {"CRTOOLS_SCRIPT_ACTION": stage, _criu.HOOK_VARIABLE: hook}
    assert (await run([str(_criu.STAGES)], timeout=60, env=env)).code == code


@pytest.mark.parametrize(
    ("caps", "seccomp", "user", "reason"),
    [
        (ALL_BUT_SYS_RESOURCE, 0, 1000, "user 1000, not as root"),
        (DOCKERS_DEFAULT, 2, 0, "lacks CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN"),
        (ALL_BUT_SYS_RESOURCE, 2, 0, "seccomp filter"),
    ],
)
def test_missing_rights_are_named(caps, seccomp, user, reason):
    with pytest.raises(NotPermitted, match=reason):
        _criu._check_rights(STATUS.format(caps=caps, seccomp=seccomp), user)


def test_all_rights_but_sys_resource_do():
    _criu._check_rights(STATUS.format(caps=ALL_BUT_SYS_RESOURCE, seccomp=0), 0)


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_criu, "_check_rights", lambda *_: None)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("allowed")
async def test_no_criu_is_said_so(tmp_path):
    with pytest.raises(
        CriuMissing, match=r"/criu cannot be run: there is no such program\. Install criu 4\.2"
    ):
        await check(CriuSettings(str(tmp_path / "criu")))


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("told", "found"), [("3.17.1", "3.17.1"), ("4.1", "4.1")])
async def test_too_old_a_criu_is_said_so(tmp_path, told, found):
    criu = program(tmp_path / "criu", f"echo Version: {told}")
    with pytest.raises(CriuTooOld, match=f"is CRIU {found}, and llmux needs 4.2 or newer"):
        await check(CriuSettings(criu))


@pytest.mark.usefixtures("allowed")
async def test_a_program_that_is_no_criu_is_said_so(tmp_path):
    with pytest.raises(CriuMissing, match="it tells no version: 'hello'"):
        await check(CriuSettings(program(tmp_path / "criu", "echo hello")))


@pytest.mark.usefixtures("allowed")
async def test_a_missing_hook_is_said_so(tmp_path):
    criu = program(tmp_path / "criu", "echo Version: 4.2.1")
    with pytest.raises(CriuMissing, match="no-hook cannot be run"):
        await check(CriuSettings(criu, hook_path="/no-hook"))


@pytest.mark.usefixtures("allowed")
async def test_what_criu_check_says_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(_criu, "_check_pycriu", lambda: None)
    criu = program(
        tmp_path / "criu",
        'if [ "$1" = check ]; then echo "Error (criu/x.c:1): no ns_last_pid" >&2; exit 1; fi; echo Version: 4.2',
    )
    with pytest.raises(NotPermitted, match="check` says: no ns_last_pid"):
        await check(CriuSettings(criu, hook_path=criu))


@pytest.mark.usefixtures("allowed")
async def test_a_good_criu_tells_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(_criu, "_check_pycriu", lambda: None)
    criu = program(tmp_path / "criu", "echo Version: 4.2.1")
    assert str(await check(CriuSettings(criu, hook_path=criu))) == "4.2.1"
    assert os.access(CriuSettings().hook_path, os.X_OK)
