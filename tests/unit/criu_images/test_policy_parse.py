"""The rules' language: patterns, and what a wrong word is told."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.criu_images._policy import AT_CAPTURE, AT_REBUILD, Depth, Verb
from llmux.criu_images._policy_parse import compile_pattern, parse_policy
from llmux.criu_images.errors import ExitCode, PolicyInvalid


def test_comments_and_empty_lines_are_left_out():
    policy = parse_policy(["# a policy", "", "   ", "carry   origin=image"])
    assert [str(rule) for rule in policy.rules] == ["carry origin=image"]


def test_a_digest_is_asked_for():
    (rule,) = parse_policy(["leave path=/x digest=whole"]).rules
    assert (rule.verb, rule.digest, len(rule.conditions)) == (Verb.LEAVE, Depth.WHOLE, 1)


@pytest.mark.parametrize(
    ("line", "word", "says"),
    [
        ("cary path=/x", "cary", "Did you mean carry?"),
        ("carry pth=/x", "pth", "Did you mean path?"),
        ("carry origin=imagee", "origin=imagee", "Did you mean image?"),
        ("carry origin=xyzzy", "origin=xyzzy", "There are image, volume, run-time"),
        ("carry path", "path", "Write KEY=VALUE"),
        ("carry path=", "path=", "Write KEY=VALUE"),
        ("carry path<=/x", "path<=/x", "path has no order"),
        ("carry path=opt/x", "opt/x", "starts with '/'"),
        ("carry path=/a\\q", "/a\\q", "starts no escape"),
        ("carry size<=16MB", "16MB", "is no size"),
        ("carry size<=-1", "-1", "is no size"),
        ("carry written=maybe", "written=maybe", "is none of no, yes"),
        ("carry digest=whole", "digest", "goes with leave alone"),
        ("carry change=grown", "change", "is not known at a capture"),
        ("leave digest=all", "digest=all", "is none of none, sampled, whole"),
        ("keep change=grew", "change=grew", "is none of grown, other"),
    ],
)
def test_a_wrong_word_is_named_with_its_rule_and_a_hint(line, word, says):
    with pytest.raises(PolicyInvalid) as raised:
        parse_policy(["carry", line], "/etc/llmux/criu-policy")
    error = raised.value
    assert (error.word, error.rule, error.exit_code) == (word, line, ExitCode.WRONG_USE)
    assert str(error).startswith(f"/etc/llmux/criu-policy, line 2: in the rule `{line}`, `{word}` ")
    assert says in str(error)


@pytest.mark.parametrize(("verbs", "line"), [(AT_CAPTURE, "mask path=/x"), (AT_REBUILD, "carry path=/x")])
def test_a_rule_for_another_command_is_refused(verbs, line):
    with pytest.raises(PolicyInvalid, match="Here a rule starts with"):
        parse_policy([line], verbs=verbs)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        (b"/opt/**", b"/opt/a/b.so", True),
        (b"/opt/**", b"/opt", False),
        (b"/opt/*", b"/opt/a", True),
        (b"/opt/*", b"/opt/a/b", False),
        (b"/opt/**/b.so", b"/opt/b.so", True),
        (b"/opt/**/b.so", b"/opt/x/y/b.so", True),
        (b"/opt/**/b.so", b"/opt/xb.so", False),
        (b"**.so", b"/opt/b.so", True),
        (b"/opt/?.so", b"/opt/b.so", True),
        (b"/opt/?.so", b"/opt//.so", False),
        (b"/opt/[ab].so", b"/opt/b.so", True),
        (b"/opt/[!ab].so", b"/opt/c.so", True),
        (b"/opt/[!ab].so", b"/opt/b.so", False),
        (b"/opt/[", b"/opt/[", True),
        (b"/opt/a.b", b"/opt/aXb", False),
        (b"/opt/*", b"/opt/\xff\n", True),
    ],
)
def test_patterns(pattern, path, fits):
    assert (compile_pattern(pattern).fullmatch(path) is not None) is fits


def test_a_space_in_a_path_is_escaped():
    (rule,) = parse_policy([r"carry path=/a\x20b"]).rules
    assert rule.conditions[0].pattern.fullmatch(b"/a b")


@given(st.lists(st.text()))
def test_any_text_is_a_policy_or_our_own_error(lines):
    with suppress(PolicyInvalid):
        assert len(parse_policy(lines).rules) <= len(lines)


@given(st.binary().map(lambda rest: b"/" + rest))
def test_any_bytes_are_a_pattern_or_refused(pattern):
    try:
        compiled = compile_pattern(pattern)
    except (ValueError, re.error):
        return
    if not any(byte in b"*?[" for byte in pattern):
        assert compiled.fullmatch(pattern)
