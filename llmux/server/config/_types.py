"""The kinds of values that the configuration's fields have, and the root of its sections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, WithJsonSchema

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,254}")


class Section(BaseModel):
    """A JSON object of the configuration: frozen, strict, and with no field that it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, protected_namespaces=(), use_attribute_docstrings=True
    )


def _safe_name(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(
            "a model's name is a directory's name too: 1 to 128 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


def _alias(name: str) -> str:
    if not _ALIAS.fullmatch(name) or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise ValueError(
            "a name that clients ask for has 1 to 255 letters, digits, '.', '_', '-', ':', '@', '+' and single '/', "
            "beginning with a letter or digit"
        )
    return name


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path without '..'")
    return path


def _program(text: str) -> str:
    if "/" in text and not Path(text).is_absolute():
        raise ValueError("must be a program's name, or an absolute path")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character, which no program's argument can")
    return text


def _variable_name(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError("is no name of an environment variable")
    return name


def _number_or_text(size: object) -> object:
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise ValueError('must be a number of bytes or a text like "20GiB"')  # noqa: TRY004 - pydantic's protocol
    return size


def _one_word(command: object) -> object:
    """Take a program's name for the list of that one word."""
    if isinstance(command, str):
        return (command,)
    return tuple(command) if isinstance(command, list) else command


def _known_zone(name: str) -> str:
    if name == "UTC":  # known without tzdata too
        return name
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            'is no time zone that is known here, such as "Europe/Berlin" (Debian\'s package tzdata has them)'
        ) from error
    return name


ModelName = Annotated[str, AfterValidator(_safe_name)]
Alias = Annotated[str, AfterValidator(_alias)]
"""It may be that of a repository: "org/name"."""
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
"""0 is none."""
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]
"""0 is none."""
LongSeconds = Annotated[float, Field(gt=0, le=31_622_400, allow_inf_nan=False)]
"""Up to a year."""
Bytes = Annotated[
    ByteSize,
    BeforeValidator(_number_or_text),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "format": "bytes"}]}),
]
"""A number, or a text with a unit: "20GiB", "1.5 TB"."""
Text = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Argument = Annotated[str, AfterValidator(_no_nul)]
Variable = Annotated[str, AfterValidator(_variable_name)]
Program = Annotated[Text, AfterValidator(_program)]
Words = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_word),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
"""A program's name, or a list of words."""
TimeZone = Annotated[str, AfterValidator(_known_zone)]
