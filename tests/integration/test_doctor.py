"""`llmux doctor` in real containers: CRIU does dump and restore a process there, or says itself why it cannot."""

from __future__ import annotations

import json

import pytest

from proof.bench import Bench
from proof.containers import RIGHTS, Container, Run, started

pytestmark = pytest.mark.docker

Findings = dict[str, dict[str, str]]
LISTED = "ls -A /tmp /run /run/llmux /run/llmux/journals /dev/shm 2>/dev/null"


def findings(container: Container) -> tuple[int, Findings]:
    done = container.attempt("llmux", "doctor", "--speed-mib", "0", "--json")
    return done.code, {each["topic"]: each for each in json.loads(done.output)}


def test_what_criu_can_do_is_shown_by_doing_it_and_nothing_is_left(desk: Bench) -> None:
    with started(Run(desk.image, command=("sleep", "600")), "doctor") as container:
        findings(container)  # makes what every llmux keeps
        before = container.attempt("sh", "-c", LISTED).output
        _, found = findings(container)
        assert {found[f"criu.{each}"]["verdict"] for each in ("check", "dump", "restore")} == {"fine"}
        assert "was restored in" in found["criu.restore"]["seen"]
        assert container.attempt("sh", "-c", LISTED).output == before
        assert "sleep 3600" not in container.exec("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


@pytest.mark.parametrize(
    ("rights", "topic", "said"),
    [
        (
            tuple(each for each in RIGHTS if "seccomp" not in each),
            "criu.dump",
            "suspending seccomp failed: Operation not permitted",
        ),
        ((*RIGHTS, "--cap-drop=NET_ADMIN"), "criu.restore", "Operation not permitted"),
    ],
)
def test_what_keeps_criu_from_its_work_is_told_in_its_own_words_with_what_mends_it(
    desk: Bench, rights: tuple[str, ...], topic: str, said: str
) -> None:
    with started(Run(desk.image, command=("sleep", "600"), rights=rights), "doctor") as container:
        code, found = findings(container)
        assert (code, found[topic]["verdict"]) == (1, "lacking")
        assert said in found[topic]["seen"]
        assert found[topic]["mend"]
