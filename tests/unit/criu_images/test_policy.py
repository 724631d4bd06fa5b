"""Rules against files: which decides."""

from __future__ import annotations

import pytest
from manifests import raw

from llmux.criu_images._policy import DEFAULT, Candidate, Change, Verb
from llmux.criu_images._policy_parse import parse_policy
from llmux.criu_images.manifest import Origin


def candidate(*names: str, origin=Origin.IMAGE, size=100, written=False, change=None) -> Candidate:
    return Candidate(tuple(map(raw, names or ("/opt/app/lib.so",))), origin, size, written, change)


@pytest.mark.parametrize(
    ("rule", "file", "fits"),
    [
        ("carry", candidate(), True),
        ("carry origin=image", candidate(), True),
        ("carry origin=volume", candidate(), False),
        ("carry origin=run-time", candidate(origin=Origin.RUN_TIME), True),
        ("carry size<=100", candidate(), True),
        ("carry size<100", candidate(), False),
        ("carry size>=1K", candidate(size=1024), True),
        ("carry size>1K", candidate(size=1024), False),
        ("carry size=1G", candidate(size=1 << 30), True),
        ("carry size>1K size<2K", candidate(size=1500), True),
        ("carry written=yes", candidate(), False),
        ("carry written=no", candidate(), True),
        ("carry path=/opt/**", candidate(), True),
        ("carry path=/srv/**", candidate("/opt/x", "/srv/x"), True),
        ("carry origin=image path=/srv/**", candidate(), False),
    ],
)
def test_a_rule_fits_where_all_its_conditions_hold(rule, file, fits):
    found = parse_policy([rule]).at_capture(file)
    assert (found is not None) is fits


def test_the_first_that_fits_decides():
    policy = parse_policy(["leave path=/opt/big/**", "carry path=/opt/**", "leave"])
    verbs = {
        path: policy.at_capture(candidate(path)).verb.value for path in ("/opt/big/x", "/opt/x", "/usr/x")
    }
    assert verbs == {"/opt/big/x": "leave", "/opt/x": "carry", "/usr/x": "leave"}


def test_rules_for_the_restore_are_not_asked_at_a_capture():
    policy = parse_policy(["keep path=/opt/**", "mask change=grown", "carry"])
    assert policy.at_capture(candidate()).verb is Verb.CARRY
    assert policy.at_rebuild(candidate(change=Change.OTHER)).verb is Verb.KEEP
    assert policy.at_rebuild(candidate("/x", change=Change.GROWN)).verb is Verb.MASK
    assert policy.at_rebuild(candidate("/x", change=Change.OTHER)) is None


def test_without_rules_nothing_is_decided():
    assert DEFAULT.at_capture(candidate()) is None


def test_rules_are_added_in_the_order_asked():
    policy = parse_policy(["leave"]) + parse_policy(["carry"])
    assert str(policy.at_capture(candidate())) == "leave"
