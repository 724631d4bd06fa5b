"""The text of a configuration, in JSON, YAML or TOML, to the one JSON value that it stands for.

YAML is read by the core schema of YAML 1.2 (section 10.3): `no` and `12:30` are texts. No tag makes an object, aliases and `<<` are
followed as far as a person would write them, and a key that is given twice is a fault, as it is in JSON.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import yaml

from llmux.server.errors import ConfigUnreadable

MOST_VALUES = 100_000
"""More than this in a YAML file is aliases of aliases (a "billion laughs")."""

SCHEMA_KEY = "$schema"
"""What editors read at the top of a JSON file; nothing of the configuration."""


@dataclass(frozen=True)
class Parsed:
    """The JSON value of a file, and the fields that it gives twice."""

    value: object
    repeats: tuple[str, ...] = ()

    def as_json(self) -> str:
        """Return the value as JSON; what JSON has no word for (a date) is a text in it."""
        return json.dumps(self.value, default=str)


@dataclass(frozen=True)
class _Format:
    """How files with a suffix are read; `hint` is for those who know another format better."""

    name: str
    read: Callable[[str], Parsed]
    hint: str


def read(text: str, source: str) -> Parsed:
    """Return what `text` says, in the format that the suffix of `source` names. Raises ConfigUnreadable."""
    form = _FORMATS.get(PurePath(source).suffix.lower(), _JSON)
    try:
        parsed = form.read(text)
    except RecursionError as error:
        raise ConfigUnreadable(source, f"it is not {form.name}: nested too deeply", hint=form.hint) from error
    except (ValueError, yaml.YAMLError) as error:  # both JSON's and TOML's errors are ValueErrors
        raise ConfigUnreadable(source, f"it is not {form.name}: {_told(error)}", hint=form.hint) from error
    if isinstance(parsed.value, dict) and SCHEMA_KEY in parsed.value:
        rest = {name: value for name, value in parsed.value.items() if name != SCHEMA_KEY}
        return Parsed(rest, parsed.repeats)
    return parsed


def _told(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem or error.context}: {_place(error.problem_mark)}"
    return " ".join(str(error).split())


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1} column {mark.column + 1}"


# ---- JSON ----


class _Pairs(dict[str, object]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def object(cls, pairs: list[tuple[str, object]]) -> _Pairs:
        made = cls(pairs)
        made.repeated = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return made


def _read_json(text: str) -> Parsed:
    value: object = json.loads(text, object_pairs_hook=_Pairs.object)
    return Parsed(value, tuple(_repeats(value)))


def _repeats(value: object, path: str = "") -> Iterator[str]:
    """Name every field that is given twice: JSON keeps the last silently."""
    if isinstance(value, _Pairs):
        for name in value.repeated:
            yield f"{path}{name}: is given twice"
        for name, each in value.items():
            yield from _repeats(each, f"{path}{name}.")


# ---- TOML ----


def _read_toml(text: str) -> Parsed:
    return Parsed(tomllib.loads(text))


# ---- YAML ----


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars by the core schema of YAML 1.2; SafeLoader's own table is YAML 1.1's."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - an instance variable to PyYAML


_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_CORE: Mapping[str, tuple[str, str]] = {
    f"{_TAG}bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    # Not 010: eight to some, ten to others.
    f"{_TAG}int": (r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    f"{_TAG}float": (r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    f"{_TAG}null": (r"~|null|Null|NULL|", "~nN\0"),
    _MERGE: (r"<<", "<"),
}


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})\Z")


def _starts(first: str) -> list[str]:
    return ["" if each == "\0" else each for each in first]


for _tag, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(_tag, _compiled(_pattern), _starts(_first))

_SCALARS: Mapping[str, Callable[[str], object]] = {
    f"{_TAG}str": str,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": lambda text: int(text, 16 if text.startswith("0x") else 10),
    f"{_TAG}float": float,
    f"{_TAG}null": lambda _text: None,
    _MERGE: str,
}


def _read_yaml(text: str) -> Parsed:
    reader = _YamlReader()
    root = yaml.compose(text, Loader=_Loader)
    value = None if root is None else reader.value(root, "")
    return Parsed(value, tuple(reader.repeats))


@dataclass
class _YamlReader:
    """Turns YAML's nodes into a JSON value."""

    repeats: list[str] = field(default_factory=list)
    _seen: int = 0

    def value(self, node: yaml.Node, path: str) -> object:
        """Return what `node` stands for. Raises yaml.YAMLError with its place where that is no JSON value."""
        self._seen += 1
        if self._seen > MOST_VALUES:
            raise _fault(node, f"more than {MOST_VALUES} values once its aliases are followed")
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(each, f"{path}{index}.") for index, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return _scalar(node)
        raise _fault(node, f"the tag {node.tag} is not known here; leave it out")

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key, each in node.value:
            if key.tag == _MERGE:
                merged = self._merged(each, path) | merged
                continue
            name = _name(key)
            if name in own:
                self.repeats.append(f"{path}{name}: is given twice ({_place(key.start_mark)})")
            own[name] = self.value(each, f"{path}{name}.")
        return merged | own

    def _merged(self, node: yaml.Node, path: str) -> dict[str, object]:
        """Return what `<<` brings in; of several mappings the first that has a key wins."""
        sources: Iterable[yaml.Node] = node.value if isinstance(node, yaml.SequenceNode) else (node,)
        merged: dict[str, object] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise _fault(source, "<< takes a mapping, or a list of them")
            merged = self._mapping(source, path) | merged
        return merged


def _name(key: yaml.Node) -> str:
    """Return a key as JSON has it: a text, also where it is a number (a GPU's index)."""
    if isinstance(key, yaml.ScalarNode) and key.tag in {f"{_TAG}str", f"{_TAG}int"}:
        return str(_scalar(key))
    raise _fault(key, "a key must be a text or a whole number; put it in quotes")


def _scalar(node: yaml.ScalarNode) -> object:
    try:
        return _SCALARS[node.tag](node.value)
    except ValueError as error:
        raise _fault(node, str(error)) from error


def _fault(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader`, or a reader of YAML 1.1, would take for something else than a text."""


for _tag, (_pattern, _first) in _CORE.items():
    _Dumper.add_implicit_resolver(_tag, _compiled(_pattern), _starts(_first))


def render(value: object, suffix: str) -> str:
    """Return the text of a JSON value as JSON, or as YAML that `read` and YAML 1.1 both take for the same."""
    if suffix == ".json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


_JSON = _Format(
    "JSON",
    _read_json,
    "JSON knows no comments and no comma after the last element; a file of YAML or TOML has a name that ends so",
)
_YAML = _Format("YAML", _read_yaml, "Indent by spaces, and quote texts with ': ' or ' #' in them")
_TOML = _Format("TOML", _read_toml, 'Quote texts and names with dots, as in [models."qwen3-0.6b"]')
_FORMATS: Mapping[str, _Format] = {".json": _JSON, ".yaml": _YAML, ".yml": _YAML, ".toml": _TOML}

SUFFIXES = tuple(_FORMATS)
"""What a configuration's file name can end in."""
