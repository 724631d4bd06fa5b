"""Files that hold secrets: keys, what hooks are signed with, the private key of a certificate.

read(path) -> bytes           raises UnfitError, whose words name the file and never what is in it
faults(config)                every file that the configuration names and that is not fit, each with the path to its field

As with ssh's keys, a file that everybody on the machine can read is no secret, and what somebody else can write is not one's own: both
are refused. A group may read one, as Debian's `ssl-cert` does: whoever made the group has meant that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from llmux.server.config import Config

_LONGEST = 1 << 20
"""Bytes; a private key with its chain of certificates is far shorter."""


class UnfitError(Exception):
    """The file cannot be used as a secret's, for this reason."""


def read(path: Path) -> bytes:
    """Return what the file holds, or as much of it as a secret can have. Raises UnfitError."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            _check(path, os.fstat(file.fileno()).st_mode)
            return file.read(_LONGEST)
    except OSError as error:
        raise UnfitError(f"cannot read {path}: {error.strerror or error}") from error


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # no waiting for who writes to a pipe


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise UnfitError(f"{path} is no regular file")
    if mode & stat.S_IROTH:
        raise UnfitError(f"everybody on this machine can read {path}; chmod o-rwx {path}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnfitError(f"others than its owner can write to {path}; chmod go-w {path}")


def faults(config: Config) -> tuple[str, ...]:
    """Return what is wrong with the files of secrets that the configuration names."""
    return tuple(fault for field, path in _named(config) for fault in _fault(field, path))


def _fault(field: str, path: Path) -> Iterator[str]:
    try:
        read(path)
    except UnfitError as error:
        yield f"{field}: {error}"


def _named(config: Config) -> Iterator[tuple[str, Path]]:
    for name, key in config.access.keys.items():
        if key.file:
            yield f"access.keys.{name}.file", key.file
    if config.access.token and config.access.token.file:
        yield "access.token.file", config.access.token.file
    if config.tls:
        yield "tls.key", config.tls.key
    for number, hook in enumerate(config.hooks):
        if hook.secret_file:
            yield f"hooks.{number}.secret_file", hook.secret_file
    for name, model in config.models.items():
        if model.remote and model.remote.api_key_file:
            yield f"models.{name}.remote.api_key_file", model.remote.api_key_file
