"""Each shortfall is found, and what mends it is said; a machine that lacks nothing has nothing that is lacking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmux.server._disk_use import DiskUse
from llmux.server.doctor import Facts, Verdict, Wanted, findings
from llmux.server.doctor._facts import (
    Configuration,
    Criu,
    Directory,
    Failure,
    Gpu,
    Gpus,
    Need,
    Platform,
    Port,
    Rights,
    Speed,
    Taken,
    Trial,
)

ALL = (1 << 41) - 1
GIB = 1 << 30
IMAGES = Directory(
    "checkpoint.images_dir",
    "/images",
    there=True,
    file_system="ext4",
    free=900 * GIB,
    speed=Speed(GIB, 2e9, 3e9),
)
CRIU = Criu("criu", found=True, version=(4, 2), oldest=(4, 2))
GPU = Gpu(0, "H100", "GPU-0", 80 * GIB, mig=False, mig_pending=False, persistence=True, users=())
GPUS = Gpus(
    (GPU, replace(GPU, index=1)),
    "",
    "580.1",
    "13.0",
    checkpoint_api=True,
    plugin="/p.so",
    cuda_checkpoint="/c",
)
WELL = Facts(
    wanted=Wanted(),
    platform=Platform("x86_64", "6.12", ""),
    rights=Rights(0, ALL, ALL, 0, "", 1, 1000, 1000),
    criu=CRIU,
    sandbox=None,
    last_pid=None,
    directories=(IMAGES,),
    shm=Directory("shm", "/shm", there=True, file_system="tmpfs", free=64 * GIB),
    memory="64 GiB (the machine's memory)",
    processor_flags=frozenset({"avx512f"}),
    gpus=GPUS,
    control_groups=2,
    configuration=Configuration("/etc/llmux/config.json"),
    trial=Trial(dump_seconds=0.5, restore_seconds=0.25),
)
IN_DOCKER = replace(WELL, platform=Platform("x86_64", "6.12", "docker"))


def with_rights(facts=WELL, **changes):
    return replace(facts, rights=replace(facts.rights, **changes))


def with_images(facts=WELL, **changes):
    return replace(facts, directories=(replace(IMAGES, **changes),))


def with_criu(**changes):
    return replace(WELL, criu=replace(CRIU, **changes))


def with_gpus(**changes):
    return replace(WELL, gpus=replace(GPUS, **changes))


def without(*bits):
    return ALL & ~sum(1 << bit for bit in bits)


def test_a_machine_that_lacks_nothing_is_fine_in_every_respect():
    assert {each.verdict for each in findings(WELL)} == {Verdict.FINE}
    assert len({each.topic for each in findings(WELL)}) == len(findings(WELL))
    assert not [each for each in findings(WELL) if each.mend]


LACKING = [
    (replace(WELL, platform=Platform("riscv64", "6.12", "")), "machine", "x86_64"),
    (with_rights(with_images(owner=1000), user=1000), "user", "as root"),
    (with_rights(with_images(IN_DOCKER, owner=1000), user=1000), "user", "--user 0"),
    (
        with_rights(IN_DOCKER, effective=without(19, 21)),
        "capabilities",
        "--cap-add SYS_PTRACE --cap-add SYS_ADMIN",
    ),
    (with_rights(effective=without(21), bounding=without(21)), "capabilities", "CapabilityBoundingSet="),
    (with_rights(effective=without(21)), "capabilities", "as root"),
    (with_rights(IN_DOCKER, seccomp=2), "seccomp", "--security-opt seccomp=unconfined (of docker run)"),
    (with_rights(seccomp=2), "seccomp", "SystemCallFilter="),
    (with_rights(IN_DOCKER, apparmor="docker-default"), "apparmor", "--security-opt apparmor=unconfined"),
    (with_rights(ptrace_scope=3), "ptrace", "ptrace_scope to 2"),
    (with_rights(pid_namespaces=0), "namespaces.pid", "sysctl -w user.max_pid_namespaces"),
    (with_rights(mount_namespaces=0), "namespaces.mount", "sysctl -w user.max_mnt_namespaces"),
    (replace(WELL, sandbox=Failure("unshare: no", "Be root")), "sandbox", "Be root"),
    (replace(IN_DOCKER, sandbox=Failure("mount /proc: no", "x")), "sandbox", "systempaths=unconfined"),
    (replace(IN_DOCKER, last_pid=Failure("read-only")), "ns_last_pid", "systempaths=unconfined"),
    (with_criu(found=False), "criu.version", "Debian testing has it (criu, python3-pycriu)"),
    (with_criu(version=(3, 17, 1)), "criu.version", "CRIU 4.2 or newer"),
    (with_criu(version=(), said="what?"), "criu.version", "CRIU 4.2 or newer"),
    (with_criu(check=Failure("no dirty tracking", "Boot another")), "criu.check", "Boot another"),
    (with_criu(check=Failure("CRIU needs to have a capability")), "criu.check", "with all capabilities"),
    (replace(IN_DOCKER, criu=replace(CRIU, check=Failure("no"))), "criu.check", "--cap-add ALL"),
    (
        with_criu(pycriu=Failure("no pycriu", "apt-get install python3-pycriu")),
        "criu.pycriu",
        "python3-pycriu",
    ),
    (with_criu(hook=Failure("no hook", "Install llmux")), "criu.hook", "Install llmux"),
    (
        replace(WELL, trial=Trial(dump=Failure("Can't open socket: Permission denied", "Load the module"))),
        "criu.dump",
        "Load the module",
    ),
    (
        replace(IN_DOCKER, trial=Trial(restore=Failure("Can't fork"), dump_seconds=0.5)),
        "criu.restore",
        "--cap-add ALL",
    ),
    (replace(WELL, trial=Trial(dump=Failure("Can't fork"))), "criu.dump", "with all capabilities"),
    (with_images(problem="Read-only file system"), "checkpoint.images_dir", "mkdir -p /images"),
    (with_images(IN_DOCKER, problem="Read-only"), "checkpoint.images_dir", "--volume HOST_PATH:/images"),
    (with_images(owner=33), "checkpoint.images_dir", "chown 0 /images"),
    (with_images(mode=0o777), "checkpoint.images_dir", "chmod go-w /images"),
    (replace(WELL, shm=Directory("shm", "/shm", there=False, problem="none")), "shm", "mount -t tmpfs"),
    (
        replace(WELL, configuration=Configuration("/c.json", faults=("models.m: too large",))),
        "configuration",
        "Change /c.json",
    ),
]


@pytest.mark.parametrize(("facts", "topic", "mend"), LACKING)
def test_what_is_lacking_is_found_and_what_mends_it_said(facts, topic, mend):
    (found,) = (each for each in findings(facts) if each.verdict is Verdict.LACKING)
    assert found.topic == topic
    assert mend in found.mend


PORT = Port("models.m.port", "127.0.0.1", 8001)

NOTES = [
    (replace(WELL, platform=Platform("aarch64", "6.12", "")), "machine"),
    (replace(WELL, control_groups=0), "cgroups"),
    (with_rights(effective=without(0)), "capabilities"),
    (with_images(file_system="tmpfs"), "checkpoint.images_dir.kind"),
    (with_images(IN_DOCKER, file_system="overlay"), "checkpoint.images_dir.kind"),
    (with_images(free=GIB), "checkpoint.images_dir.room"),
    (with_images(speed=Speed(GIB, 50e6, 3e9)), "checkpoint.images_dir.speed"),
    (replace(WELL, shm=Directory("shm", "/shm", there=True, free=64 << 20)), "shm"),
    (replace(WELL, processor_flags=frozenset({"amx_tile"}), gpus=Gpus(none_because="-")), "processor"),
    (replace(WELL, gpus=Gpus(none_because="NVML Shared Library Not Found")), "gpu"),
    (with_gpus(checkpoint_api=False, driver="550.1"), "gpu.checkpoint"),
    (with_gpus(plugin=""), "gpu.plugin"),
    (with_gpus(cuda_checkpoint=""), "gpu.cuda_checkpoint"),
    (replace(WELL, taken=(Taken(PORT, 4711, "nginx"),)), "port.8001"),
    (replace(WELL, taken=(Taken(PORT),)), "port.8001"),
    (replace(WELL, configuration=None), "configuration"),
    (replace(WELL, configuration=Configuration("/c.json", there=False)), "configuration"),
    (replace(WELL, configuration=Configuration("/c.json", remarks=("warmup: no",))), "configuration"),
]


@pytest.mark.parametrize(("facts", "topic"), NOTES)
def test_what_works_and_is_worth_knowing_is_a_note(facts, topic):
    found = findings(facts)
    assert Verdict.LACKING not in {each.verdict for each in found}
    assert topic in {each.topic for each in found if each.verdict is Verdict.NOTE}


def test_where_there_is_no_configuration_it_is_said_how_to_have_one_there():
    found = findings(replace(WELL, configuration=Configuration("/etc/llmux/config.json", there=False)))
    assert found[-1].mend == "`llmux init --output /etc/llmux/config.json` writes one; --config names yours"


@pytest.mark.parametrize(
    ("use", "why", "mends"),
    [
        (DiskUse.NEVER, "there is no criu (not needed: no model of the configuration sleeps on disk)", False),
        (DiskUse.WHERE_IT_CAN, "there is no criu (not needed: without it models that sleep in memory", True),
    ],
)
def test_where_no_model_has_to_sleep_on_disk_it_is_said_that_criu_is_not_needed(use, why, mends):
    facts = replace(with_criu(found=False, pycriu=Failure("none")), wanted=Wanted(checkpoints=use))
    assert Verdict.LACKING not in {each.verdict for each in findings(facts)}
    (version,) = (each for each in findings(facts) if each.topic == "criu.version")
    assert version.verdict is Verdict.NOTE
    assert version.seen.startswith(why)
    assert bool(version.mend) == mends


def test_a_criu_that_is_well_and_not_needed_is_fine():
    found = findings(replace(WELL, wanted=Wanted(checkpoints=DiskUse.NEVER)))
    assert {each.verdict for each in found} == {Verdict.FINE}


def test_what_is_missing_for_a_model_is_lacking_once_and_the_configuration_says_who_cannot_start():
    lack = Failure("no program vllm on PATH: m and n cannot start without it", "Install it")
    tiny = Need("engine.tiny", "/usr/bin/python3", ("t",))
    needs = (tiny, Need("engine.vllm", "", ("m", "n"), lack))
    asked = replace(WELL, configuration=Configuration("/c.json", needs=needs))
    (fine, lacking, told) = findings(asked)[-3:]
    assert (fine.topic, fine.verdict, fine.seen) == ("engine.tiny", Verdict.FINE, "/usr/bin/python3")
    assert (lacking.topic, lacking.verdict, lacking.mend) == ("engine.vllm", Verdict.LACKING, "Install it")
    assert (told.verdict, told.seen) == (
        Verdict.NOTE,
        "/c.json can be served here, but m, n cannot start",
    )


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"criu": replace(CRIU, found=False)}, "criu.version"),
        ({"rights": Rights(0, without(12), ALL, 0, "", 1, 1000, 1000)}, "capabilities"),
        ({}, "configuration"),
    ],
)
def test_a_lack_of_criu_is_lacking_once_and_the_configuration_says_that_it_cannot_be_served(changes, lacking):
    asked = Configuration("/c.json", sleepers="m sleeps on disk, and criu cannot be run")
    found = findings(replace(WELL, configuration=asked, **changes))
    assert [each.topic for each in found if each.verdict is Verdict.LACKING] == [lacking]
    assert found[-1].seen == "/c.json cannot be served here: m sleeps on disk, and criu cannot be run"


def test_a_fault_of_the_configuration_is_lacking_beside_what_is_missing():
    need = Need("engine.vllm", "", ("m",), Failure("no program vllm on PATH", "Install it"))
    asked = Configuration("/c.json", faults=("models.m: too large",), needs=(need,))
    found = findings(replace(WELL, configuration=asked))
    assert [each.topic for each in found if each.verdict is Verdict.LACKING] == [
        "engine.vllm",
        "configuration",
    ]


def test_what_criu_has_done_is_told_with_its_time_and_what_it_says_in_its_words():
    found = {each.topic: each.seen for each in findings(WELL)}
    assert found["criu.dump"] == "a small process was dumped in 0.50 s"
    assert found["criu.restore"] == "a small process was restored in 0.25 s"
    failed = findings(replace(WELL, trial=Trial(dump=Failure("Can't ptrace"))))
    assert [each.seen for each in failed if each.topic.startswith("criu.d")] == [
        "a small process cannot be dumped: Can't ptrace"
    ]
    assert "criu.restore" not in {each.topic for each in failed}
    assert "criu.dump" not in {each.topic for each in findings(replace(WELL, trial=None))}


def test_a_port_is_told_with_who_has_it():
    wanted = Wanted(ports=(Port("port", "0.0.0.0", 3000), PORT))
    found = {each.topic: each for each in findings(replace(WELL, wanted=wanted))}
    assert found["ports"].seen == "nobody but llmux and its engines listens on 3000, 8001"
    for taken, seen, mend in (
        (
            Taken(PORT, 4711, "nginx"),
            "nginx (process 4711) listens on 8001",
            "End it, or change models.m.port",
        ),
        (Taken(PORT), "somebody listens on 8001 whose process is not seen from here", "Unless that is llmux"),
    ):
        found = {each.topic: each for each in findings(replace(WELL, wanted=wanted, taken=(taken,)))}
        assert "ports" not in found
        assert found["port.8001"].seen == f"models.m.port: {seen}"
        assert found["port.8001"].mend.startswith(mend)


def test_a_sticky_directory_is_everybodys_and_ours():
    assert {each.verdict for each in findings(with_images(mode=0o1777))} == {Verdict.FINE}


def test_the_overlay_of_a_machine_is_no_containers():
    assert {each.verdict for each in findings(with_images(file_system="overlay"))} == {Verdict.FINE}


def test_every_shortfall_has_what_mends_it():
    for facts, *_ in LACKING:
        assert all(each.mend for each in findings(facts) if each.verdict is Verdict.LACKING)
