"""What the command line's words mean, and which it refuses."""

import pytest

from llmux.tiny_engine._adapters import Module, parse_module, run_time_updates
from llmux.tiny_engine._cli import main
from llmux.tiny_engine._faults import Fault, Kind, parse_fault


@pytest.mark.parametrize(
    ("word", "module"),
    [
        ("sql=/adapters/sql", Module("sql", "/adapters/sql")),
        ("sql=/a=b", Module("sql", "/a=b")),
        ('{"name": "sql", "path": "/a"}', Module("sql", "/a")),
        ('{"name": "sql", "path": "/a", "base_model_name": "base"}', Module("sql", "/a", "base")),
    ],
)
def test_a_module_is_a_name_and_a_path_or_json(word, module):
    assert parse_module(word) == module


@pytest.mark.parametrize("word", ["sql", "=/a", "sql=", "{", "{}", '{"name": 1, "path": "/a"}'])
def test_what_is_no_module_is_refused(word):
    with pytest.raises(ValueError):  # noqa: PT011 - argparse knows this one
        parse_module(word)


def test_a_fault_is_a_kind_with_an_amount_where_it_counts():
    assert parse_fault("exit_at_wake") == Fault(Kind.EXIT_AT_WAKE, 1)
    assert parse_fault("slow=0.5") == Fault(Kind.SLOW, 0.5)


@pytest.mark.parametrize("word", ["earthquake", "slow=fast", "slow=-1", "grow=inf", ""])
def test_what_is_no_fault_is_refused(word):
    with pytest.raises(ValueError):  # noqa: PT011 - argparse knows this one
        parse_fault(word)


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("True", True), ("0", False), ("", False)])
def test_adapters_at_run_time_are_allowed_by_vllms_variable(value, allowed):
    assert run_time_updates({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": value}) == allowed
    assert not run_time_updates({})


@pytest.mark.parametrize(
    "options", [["--max-loras", "0"], ["--max-loras", "4", "--max-cpu-loras", "2"], ["--fault", "earthquake"]]
)
def test_wrong_options_are_wrong_use(tmp_path, options, capsys):
    with pytest.raises(SystemExit) as exited:
        main(["serve", str(tmp_path), *options])
    assert exited.value.code == 2
    assert options[-2] in capsys.readouterr().err
