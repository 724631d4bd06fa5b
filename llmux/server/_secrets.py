"""The configured keys, read from where they are: the configuration, a file, or llmux's environment."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from llmux.server import _secret_file
from llmux.server.access.keys import SHORTEST, Key, Limits, digest, digest_in
from llmux.server.access.policy import Access
from llmux.server.access.roles import Role
from llmux.server.config import AccessConfig, KeyConfig, SecretConfig
from llmux.server.errors import NodeUnfit

_NEW = "`llmux key` makes one"


class _UnusableError(Exception):
    """A key cannot be read, for this reason."""


class Secrets:
    """Reads keys, again at each reload.

    What is in a variable is taken out of the environment, so that no engine inherits it, and remembered as its digest.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._environ = environ
        self._taken: dict[str, bytes] = {}

    def read(self, config: AccessConfig) -> Access:
        """Return who may do what. Raises NodeUnfit with every key that cannot be read."""
        faults: list[str] = []
        keys = [self._key(name, key, faults) for name, key in config.keys.items()]
        token = self._digest("access.token", config.token, faults) if config.token else None
        faults.extend(_doubles([*(key.digest for key in keys if key), *([token] if token else [])]))
        if faults:
            raise NodeUnfit(tuple(faults))
        uids = {0, os.geteuid(), *config.admin_uids}
        return Access.of([key for key in keys if key], token, uids, config.cors_origins)

    def _key(self, name: str, config: KeyConfig, faults: list[str]) -> Key | None:
        found = self._digest(f"access.keys.{name}", config, faults)
        if found is None:
            return None
        return Key(
            name,
            found,
            Role(config.role),
            config.models,
            Limits(config.requests_per_minute, config.tokens_per_minute, config.concurrency),
            config.priority,
            config.expires.timestamp() if config.expires else None,
        )

    def _digest(self, path: str, config: SecretConfig, faults: list[str]) -> bytes | None:
        try:
            return self._read(config)
        except _UnusableError as error:
            faults.append(f"{path}.{error}")
            return None

    def _read(self, config: SecretConfig) -> bytes:
        if config.env is not None:
            return self._of_environment(config.env)
        if config.file is not None:
            return _digest_of(_of_file(config.file), f"file: {config.file}")
        return _digest_of(config.hash or "", "hash")

    def _of_environment(self, name: str) -> bytes:
        if name in self._environ:
            self._taken[name] = _digest_of(self._environ[name], f"env: the variable {name}")
            del self._environ[name]
        if name not in self._taken:
            raise _UnusableError(f"env: llmux was started without a variable {name} in its environment")
        return self._taken[name]


def _of_file(path: Path) -> str:
    try:
        return _secret_file.read(path).decode("utf-8").strip()
    except _secret_file.UnfitError as error:
        raise _UnusableError(f"file: {error}") from error
    except UnicodeDecodeError as error:
        raise _UnusableError(f"file: {path} holds no text") from error


def _digest_of(text: str, place: str) -> bytes:
    """Return the digest of a key, or the one that is stated. The text is in no error."""
    text = text.strip()
    stated = digest_in(text)
    if stated is None and len(text) < SHORTEST:
        raise _UnusableError(f"{place} holds a key of {len(text)} characters, which could be guessed; {_NEW}")
    return stated or digest(text)


def _doubles(digests: list[bytes]) -> list[str]:
    twice = len(digests) - len(set(digests))
    return (
        [f"access.keys: {twice} of the keys are another's too; each needs one of its own ({_NEW})"]
        if twice
        else []
    )
