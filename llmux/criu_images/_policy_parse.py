r"""Parses a policy's rules (`_policy.py`), so that a wrong word is named with its rule and what was probably meant.

Words are split at white space; a space in a pattern is ``\x20``, as everywhere a path is written (`_paths.py`).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from llmux.criu_images._paths import unescape
from llmux.criu_images._policy import (
    AT_CAPTURE,
    Change,
    ChangeIs,
    Condition,
    Depth,
    OriginIs,
    PathIs,
    Policy,
    Rule,
    SizeIs,
    Verb,
    WrittenIs,
)
from llmux.criu_images.errors import PolicyInvalid
from llmux.criu_images.manifest import Origin

_KEYS = ("origin", "size", "path", "written", "change", "digest")
_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_GLOB = re.compile(rb"/\*\*/|\*\*|\*|\?|\[!?[^]/]+\]|.", re.DOTALL)
_EnumT = TypeVar("_EnumT", bound=enum.Enum)


class _Truth(enum.Enum):
    YES = "yes"
    NO = "no"


def parse_policy(
    lines: Iterable[str], where: str = "--policy", verbs: frozenset[Verb] = frozenset(Verb)
) -> Policy:
    """Parse rules, one a line; empty lines and those that start with `#` are left out.

    `where` names the source in messages, `verbs` are those that make sense there. Raises PolicyInvalid.
    """
    return Policy(tuple(_parse_lines(lines, where, verbs)))


def compile_pattern(pattern: bytes) -> re.Pattern[bytes]:
    """Translate a path's pattern: `*` and `?` stay within one name, `**` crosses slashes, `/**/` is also `/`; raises ValueError."""
    if not pattern.startswith((b"/", b"**")):
        raise ValueError("is no path")
    return re.compile(b"".join(map(_translate, _GLOB.findall(pattern))), re.DOTALL)


def _translate(token: bytes) -> bytes:
    match token:
        case b"/**/":
            return b"/(?:.*/)?"
        case b"**":
            return b".*"
        case b"*":
            return b"[^/]*"
        case b"?":
            return b"[^/]"
        case _ if token.startswith(b"[") and len(token) > 1:
            # Python's set operators (&&, ~~, ||, --) are plain characters in a pattern for paths.
            inner = re.sub(rb"[\\^\[&~|]", rb"\\\g<0>", token[1:-1]).replace(b"--", b"-\\-")
            return b"[^/" + inner[1:] + b"]" if inner.startswith(b"!") else b"[" + inner + b"]"
        case _:
            return re.escape(token)


def _parse_lines(lines: Iterable[str], where: str, verbs: frozenset[Verb]) -> Iterator[Rule]:
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield _Parser(f"{where}, line {number}", " ".join(words), verbs).parse(words)


@dataclass(frozen=True, slots=True)
class _Parser:
    """One rule's words."""

    where: str
    text: str
    verbs: frozenset[Verb]

    def parse(self, words: list[str]) -> Rule:
        verb = self._verb(words[0])
        pairs = [self._split(word) for word in words[1:]]
        self._check_keys(verb, {key for key, _, _ in pairs})
        depths = [self._member(Depth, value, "digest=") for key, _, value in pairs if key == "digest"]
        conditions = tuple(self._condition(*pair) for pair in pairs if pair[0] != "digest")
        return Rule(verb, conditions, self.text, depths[-1] if depths else Depth.SAMPLED)

    def _verb(self, word: str) -> Verb:
        verb = self._member(Verb, word)
        if verb not in self.verbs:
            when = "a capture" if verb in AT_CAPTURE else "plan and rebuild"
            raise self._wrong(word, f"is for {when}", f"Here a rule starts with {_listed(self.verbs)}")
        return verb

    def _split(self, word: str) -> tuple[str, str, str]:
        match = re.fullmatch(r"([^<>=]+)(<=|>=|=|<|>)(.+)", word)
        if match is None:
            raise self._wrong(word, "is no condition", "Write KEY=VALUE, such as path=/opt/** or size<=16M")
        key, sign, value = match.groups()
        if key not in _KEYS:
            raise self._wrong(key, "is no condition", _suggestion(key, _KEYS))
        if sign != "=" and key != "size":
            raise self._wrong(word, f"{key} has no order", f"Write {key}={value}")
        return key, sign, value

    def _check_keys(self, verb: Verb, keys: set[str]) -> None:
        if "digest" in keys and verb is not Verb.LEAVE:
            raise self._wrong("digest", "goes with leave alone", "What is carried is digested whole anyway")
        if "change" in keys and verb in AT_CAPTURE:
            raise self._wrong(
                "change", "is not known at a capture", "Use it with keep, mask and conflict, at rebuild"
            )

    def _condition(self, key: str, sign: str, value: str) -> Condition:
        match key:
            case "origin":
                return OriginIs(self._member(Origin, value, "origin="))
            case "size":
                return SizeIs(sign, self._size(value))
            case "path":
                return PathIs(self._pattern(value))
            case "written":
                return WrittenIs(self._member(_Truth, value, "written=") is _Truth.YES)
            case _:
                return ChangeIs(self._member(Change, value, "change="))

    def _size(self, text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", text)
        if match is None:
            raise self._wrong(
                text, "is no size", "Write bytes, or a number with K, M, G or T (powers of 1024)"
            )
        return int(match[1]) << _SHIFTS[match[2]]

    def _pattern(self, text: str) -> re.Pattern[bytes]:
        try:
            return compile_pattern(unescape(text))
        except (ValueError, re.error) as error:
            raise self._wrong(
                text, str(error), r"A pattern starts with '/' or '**'; a space in it is \x20"
            ) from error

    def _member(self, words: type[_EnumT], text: str, prefix: str = "") -> _EnumT:
        known = {word.value: word for word in words}
        if text not in known:
            why = f"is none of {_listed(words)}"
            raise self._wrong(prefix + text, why, _suggestion(text, known))
        return known[text]

    def _wrong(self, word: str, why: str, hint: str) -> PolicyInvalid:
        return PolicyInvalid(self.where, self.text, word, why, hint=hint)


def _listed(words: Iterable[enum.Enum]) -> str:
    return ", ".join(sorted(str(word.value) for word in words))


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f"Did you mean {close[0]}?" if close else f"There are {', '.join(known)}"
