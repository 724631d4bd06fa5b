"""The same configuration in JSON, YAML and TOML; what is no such text is refused with its place."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.server import config
from llmux.server.config import _text
from llmux.server.errors import ConfigInvalid, ConfigUnreadable

JSON = """{"$schema": "https://example.org/config.schema.json", "models": {"qwen3-0.6b": {
   "model_path": "Qwen/Qwen3-0.6B", "port": 8001, "extra_args": ["--dtype", "float32"], "eviction": {"process": "stop"},
   "resources": {"gpus": [0, 1]}, "weight": 1.5, "ttl": null}},
 "resources": {"gpus": {"0": "80GiB", "1": "80GiB"}}, "watch": true}"""

YAML = """\
# the same
models:
  qwen3-0.6b:
    model_path: Qwen/Qwen3-0.6B
    port: 8001
    extra_args: [--dtype, float32]
    eviction: {process: stop}
    resources:
      gpus:
        - 0
        - 1
    weight: 1.5
    ttl: null
resources:
  gpus: {0: 80GiB, 1: 80GiB}
watch: true
"""

TOML = """\
watch = true
[models."qwen3-0.6b"]
model_path = "Qwen/Qwen3-0.6B"
port = 8001
extra_args = ["--dtype", "float32"]
eviction.process = "stop"
resources.gpus = [0, 1]
weight = 1.5
[resources.gpus]
0 = "80GiB"
1 = "80GiB"
"""


def yaml_value(text):
    return _text.read(text, "c.yaml").value


@pytest.mark.parametrize(("text", "name"), [(YAML, "c.yaml"), (YAML, "c.YML"), (TOML, "c.toml")])
def test_one_configuration_reads_alike_in_each_format(text, name):
    assert config.parse(text, name) == config.parse(JSON, "c.json")


def test_any_json_is_yaml_too():
    assert config.parse(JSON, "c.yaml") == config.parse(JSON)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("0x10", 16),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ("TRUE", True),
        ("'8001'", "8001"),
        ("!!str 8001", "8001"),
    ],
)
def test_a_plain_word_of_yaml_is_what_the_core_schema_says(text, value):
    assert yaml_value(f"a: {text}\n") == {"a": value}


def test_aliases_and_merges_are_followed_and_what_is_said_itself_wins():
    text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nx: {<<: [*base, *other], a: 5}\ny: {<<: *other}\n"
    value = yaml_value(text)
    assert value["x"] == {"a": 5, "b": 2, "c": 4}
    assert value["y"] == {"b": 3, "c": 4}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.yaml", "models:\n  a: [1\n", r"not YAML: .*line 3 column 1"),
        ("c.yaml", "models:\n\ta: 1\n", r"not YAML: .*'\\t'.*: line 2 column 1"),
        ("c.yaml", "a: 1\n---\nb: 2\n", r"not YAML: .*another document: line 2 column 1"),
        ("c.yaml", "a: *nobody\n", r"not YAML: found undefined alias 'nobody': line 1 column 4"),
        (
            "c.yaml",
            "a: !!python/object/apply:os.system [id]\n",
            r"not YAML: the tag .*python.*: line 1 column 4",
        ),
        ("c.yaml", "a: !mine 1\n", r"not YAML: the tag !mine is not known here.*: line 1 column 4"),
        ("c.yaml", "a: !!binary aGk=\n", r"not YAML: the tag .*binary"),
        ("c.yaml", "a: !!int x\n", r"not YAML: .*: line 1 column 4"),
        ("c.yaml", "true: 1\n", r"not YAML: a key must be a text.*: line 1 column 1"),
        ("c.yaml", "[a]: 1\n", r"not YAML: a key must be a text"),
        ("c.yaml", "a: {<<: 1}\n", r"not YAML: << takes a mapping"),
        ("c.yaml", "a: &a [*a]\n", r"not YAML: nested too deeply"),
        ("c.yaml", "[" * 5000, r"not YAML: nested too deeply"),
        ("c.yaml", "a: \x07\n", r"not YAML: .*special characters"),
        ("c.toml", "a = 1\na = 2\n", r"not TOML: .*line 2, column 6"),
        ("c.toml", "a = [1\n", r"not TOML: "),
        ("c.toml", "x = " + "[" * 5000, r"not TOML: "),
        ("c.json", '{"a": 1,}', r"not JSON: .*line 1 column \d"),
        ("c.json", '{"a": ' + "9" * 5000 + "}", r"not JSON: "),
        ("config", "a: 1", r"not JSON"),
    ],
)
def test_what_is_not_the_formats_text_is_refused_with_its_place(name, text, said):
    with pytest.raises(ConfigUnreadable, match=said):
        config.parse(text, name)


def test_aliases_of_aliases_are_not_followed_for_ever():
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ConfigUnreadable, match="more than 100000 values"):
        config.parse("\n".join(lines), "c.yaml")


def test_a_key_given_twice_is_refused_with_its_place():
    text = "models:\n  m:\n    model_path: a\n    port: 8001\n    port: 8002\n"
    with pytest.raises(ConfigInvalid, match=r"models\.m\.port: is given twice \(line 5 column 5\)"):
        config.parse(text, "c.yaml")


def test_a_wrong_value_is_named_by_its_path_in_each_format():
    for name, text in (("c.yaml", "models: {m: {prot: 1}}"), ("c.toml", "[models.m]\nprot = 1\n")):
        with pytest.raises(ConfigInvalid, match=r"models\.m\.prot: unknown field; did you mean 'port'\?"):
            config.parse(text, name)


def test_a_date_of_toml_is_no_text_by_mistake():
    with pytest.raises(ConfigInvalid, match=r'port: should be a valid integer, and is "2026-01-01"'):
        config.parse("port = 2026-01-01\n", "c.toml")


def test_an_empty_file_of_yaml_lacks_the_models():
    with pytest.raises(ConfigInvalid, match="it should be an object"):
        config.parse("# nothing\n", "c.yaml")


@pytest.mark.parametrize("name", ["config.json", "config.yaml", "config.yml", "config.toml"])
def test_the_file_that_is_there_is_found(tmp_path, name):
    (tmp_path / name).write_text("")
    assert config.find(tmp_path) == tmp_path / name


def test_where_none_is_there_json_is_looked_for_and_several_are_refused(tmp_path):
    assert config.find(tmp_path) == tmp_path / "config.json"
    for name in ("config.json", "config.toml"):
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(ConfigUnreadable, match=r"several: config\.json, config\.toml"):
        config.find(tmp_path)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
_ODD = st.sampled_from(
    ["no", "010", "1e3", "0o7", "1_0", "~", "", "<<", "12:30", "2026-01-01", "on", "=", "0x1", ".inf"]
)


@settings(deadline=None)  # a busy machine is not a slow parser
@given(st.dictionaries(_TEXTS | _ODD, _TEXTS | _ODD | st.integers() | st.booleans() | st.none(), max_size=4))
def test_what_is_written_is_what_is_read_and_what_others_read_of_yaml(value):
    for suffix in (".json", ".yaml"):
        assert _text.read(_text.render(value, suffix), f"c{suffix}").value == value
    assert yaml.safe_load(_text.render(value, ".yaml")) == value
