"""Which file's rules stand, and which file is not believed."""

from __future__ import annotations

import os

import pytest

from llmux.criu_images import _policy_file
from llmux.criu_images._policy import AT_CAPTURE, DEFAULT
from llmux.criu_images._policy_file import chosen_policy, read_policy, standing_policy
from llmux.criu_images.errors import ExitCode, PolicyInvalid, PolicyUnreadable


@pytest.fixture
def standing(tmp_path, monkeypatch):
    path = tmp_path / "criu-policy"
    monkeypatch.setattr(_policy_file, "POLICY_FILE", path)
    monkeypatch.delenv("LLMUX_CRIU_POLICY", raising=False)
    return path


def test_without_a_file_the_default_stands(standing):
    assert standing_policy() == DEFAULT


def test_the_usual_file_is_read(standing):
    standing.write_text("# ours\nleave path=/var/cache/**\nkeep path=/etc/**\n")
    assert [str(rule) for rule in standing_policy().rules] == [
        "leave path=/var/cache/**",
        "keep path=/etc/**",
    ]


def test_the_variable_names_another_file_or_none(standing, tmp_path, monkeypatch):
    standing.write_text("leave")
    other = tmp_path / "other"
    other.write_text("carry")
    monkeypatch.setenv("LLMUX_CRIU_POLICY", str(other))
    assert [str(rule) for rule in standing_policy().rules] == ["carry"]
    monkeypatch.setenv("LLMUX_CRIU_POLICY", "")
    assert standing_policy() == DEFAULT


def test_the_callers_rules_are_asked_first(standing):
    standing.write_text("leave\n")
    assert [str(rule) for rule in chosen_policy(["carry path=/x"], AT_CAPTURE).rules] == [
        "carry path=/x",
        "leave",
    ]


def test_a_wrong_rule_names_its_line(standing):
    standing.write_text("\nlaeve path=/x\n")
    with pytest.raises(PolicyInvalid, match=r"criu-policy, line 2: .* Did you mean leave\?"):
        standing_policy()


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_may_write_is_not_believed(standing, mode):
    standing.write_text("leave\n")
    standing.chmod(mode)
    with pytest.raises(PolicyUnreadable, match="another user may write to it"):
        standing_policy()


def test_what_is_no_text_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("none", "fifo", "binary", "."):
        with pytest.raises(PolicyUnreadable) as raised:
            read_policy(tmp_path / name)
        assert raised.value.exit_code is ExitCode.WRONG_USE
