"""Each kind of thing that a process may hold: dumped in one container, restored in a fresh one, checked by the process itself.

All programs are dumped in container A, each in its own PID and mount namespace. A is removed; without the hook they are restored in one fresh container
of the same image, with it in another, which share nothing with A but the directories of the checkpoints and the programs.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

from .cases import CASES, REFUSALS, UNRESTORED, Case, Refusal

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PYTHON = "/opt/llmux/bin/python"
HERE = Path(__file__).parent
STAYS = ("sleep", "infinity")
FLAGS = ("--init", "--sysctl=net.ipv6.conf.lo.disable_ipv6=0")


@dataclass(frozen=True)
class Outcome:
    """What became of one dump or restore."""

    name: str
    code: int | None
    said: tuple[str, ...]
    """CRIU's errors and warnings, and the hook's words."""
    verdict: str | None
    """The program's own: "ok", or what it found; None where it was not asked."""

    @property
    def words(self) -> str:
        return "\n".join([*self.said, self.verdict or ""])


@dataclass(frozen=True)
class Outcomes:
    dumps: dict[str, Outcome]
    refused: dict[str, Outcome]
    without: dict[str, Outcome]
    restores: dict[str, Outcome]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, nothing_left_behind: None
) -> Outcomes:
    """Dump and restore the programs of the tests that were chosen."""
    chosen = [
        value
        for item in request.session.items
        if item.path == request.path and (callspec := getattr(item, "callspec", None))
        for value in callspec.params.values()
    ]
    outcomes = Outcomes({}, {}, {}, {})
    for image in sorted({case.image for case in chosen}):
        check_image(image)
        add_outcomes(outcomes, image, chosen, tmp_path_factory.mktemp("checkpoints"))
    return outcomes


def add_outcomes(outcomes: Outcomes, image: str, chosen: Sequence[Case | Refusal], directory: Path) -> None:
    cases = [case for case in (*CASES, *UNRESTORED) if case in chosen and case.image == image]
    refusals = [case for case in REFUSALS if case in chosen and case.image == image]
    (directory / "refused").mkdir()
    shutil.copy(HERE / "inside.py", directory)
    with container(image, "a", directory) as a:
        outcomes.dumps.update(run(a, "dump", "/checkpoints", cases))
        outcomes.refused.update(run(a, "dump", "/checkpoints/refused", refusals))
    whole = [case for case in cases if outcomes.dumps[case.name].code == 0]
    with container(image, "without", directory) as b:
        outcomes.without.update(run(b, "restore", "--without-hook", "/checkpoints", whole))
    with container(image, "b", directory) as b:
        outcomes.restores.update(run(b, "restore", "/checkpoints", whole))


def container(image: str, label: str, directory: Path):
    mounts = (Mount(directory, "/checkpoints"), Mount(HERE / "programs", "/kinds", read_only=True))
    options = Run(image, mounts, flags=FLAGS, command=STAYS)
    return started(options, f"kinds-{label}")


def run(here: Container, *arguments: object) -> dict[str, Outcome]:
    """Have the script inside dump or restore the last argument's cases; return what became of each."""
    *words, cases = arguments
    assert isinstance(cases, Sequence)
    given = json.dumps([asdict(case) for case in cases])
    said = here.exec(PYTHON, "-B", "/checkpoints/inside.py", *map(str, words), given=given, timeout=600)
    made = [Outcome(one["name"], one["code"], tuple(one["said"]), one["verdict"]) for one in json.loads(said)]
    return {outcome.name: outcome for outcome in made}


def each(cases: Sequence[Case] | Sequence[Refusal]) -> list[object]:
    return [pytest.param(case, id=case.name, marks=pytest.mark.demand(*case.demands)) for case in cases]


@pytest.mark.parametrize("case", each(CASES))
def test_restored_in_a_fresh_container(case: Case, outcomes: Outcomes) -> None:
    dumped = outcomes.dumps[case.name]
    assert dumped.code == 0, dumped.words
    restored = outcomes.restores[case.name]
    assert restored.verdict == "ok", restored.words
    without = outcomes.without[case.name]
    if case.without:
        assert without.verdict != "ok", "it needs no help"
        assert re.search(case.without, without.words), without.words
    else:
        assert without.verdict == "ok", without.words


@pytest.mark.parametrize("case", each(REFUSALS))
def test_refused_by_criu_and_goes_on(case: Refusal, outcomes: Outcomes) -> None:
    dumped = outcomes.refused[case.name]
    assert dumped.code not in {0, None}, dumped.words
    assert re.search(case.says, dumped.words), dumped.words
    assert dumped.verdict == "ok", dumped.words


@pytest.mark.parametrize("case", each(UNRESTORED))
def test_dumped_by_criu_and_not_restored(case: Case, outcomes: Outcomes) -> None:
    assert outcomes.dumps[case.name].code == 0
    for restored in (outcomes.without[case.name], outcomes.restores[case.name]):
        assert restored.verdict is None, restored.words
        assert re.search(case.without, restored.words), restored.words
