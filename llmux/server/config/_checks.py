"""What no single field says: ports that clash, groups and adapters whose names do not fit, more pinned than may be awake.

All but `ladders` look at the JSON value itself, so that other faults in it do not hide these.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from llmux.server.config._top import Config


@dataclass(frozen=True)
class _Raw:
    """A JSON value that should be a configuration, read where it is one."""

    value: object

    @cached_property
    def models(self) -> Mapping[str, Mapping[str, object]]:
        return {name: _mapping(model) for name, model in _mapping(self.get("models")).items()}

    @cached_property
    def groups(self) -> Mapping[str, Sequence[str]]:
        return {name: _names(group) for name, group in _mapping(self.get("exclusive")).items()}

    def get(self, name: str, default: object = None) -> object:
        return _mapping(self.value).get(name, default)

    def pinned(self, name: str) -> bool:
        return self.models.get(name, {}).get("pinned") is True

    def replicas(self, name: str) -> int:
        count = self.models.get(name, {}).get("replicas", 1)
        return count if _is_count(count) else 1


def faults(value: object) -> Iterator[str]:
    """Yield the faults of the JSON `value`, each with the path to its field."""
    raw = _Raw(value)
    yield from _no_port(raw)
    yield from _ports(raw)
    yield from _adapters(raw)
    yield from _aliases(raw)
    yield from _default(raw)
    yield from _groups(raw)
    yield from _pinned(raw)


def ladders(config: Config) -> Iterator[str]:
    """Yield the ladders that do not go with their evictions."""
    for name, model in config.models.items():
        if fault := model.ladder_fault():
            yield f"models.{name}.ladder: {fault}"


def _no_port(raw: _Raw) -> Iterator[str]:
    for name, model in raw.models.items():
        if model and model.get("engine") != "remote" and "port" not in model:
            yield f"models.{name}.port: is required and missing"


def _ports(raw: _Raw) -> Iterator[str]:
    owners: dict[int, str] = {}
    for port, path, owner in _wanted_ports(raw):
        if port in owners:
            yield f"{path}: {port} is also the port of {owners[port]}; choose {_free(port, raw)}, say"
        else:
            owners[port] = owner


def _wanted_ports(raw: _Raw) -> Iterator[tuple[int, str, str]]:
    """Yield each port that somebody is to listen on, with the path to its field and whose it is."""
    own, metrics, admin = raw.get("port", 3000), raw.get("metrics_port", 0), raw.get("admin_port")
    if _is_count(own):
        yield own, "port", "llmux itself (port)"
    if _is_count(metrics):
        yield metrics, "metrics_port", "llmux's metrics (metrics_port)"
    if _is_count(admin):
        yield admin, "admin_port", "llmux's admin_port"
    for name, model in raw.models.items():
        ports, first = model.get("ports"), model.get("port")
        if isinstance(ports, list) and ports:
            listed = [(port, f"models.{name}.ports.{index}") for index, port in enumerate(ports)]
        elif _is_count(first):
            listed = [(first + index, f"models.{name}.port") for index in range(raw.replicas(name))]
        else:
            listed = []
        for number, (port, path) in enumerate(listed, start=1):
            if _is_count(port):
                yield port, path, f"models.{name}" + (f" (replica {number})" if number > 1 else "")


def _free(port: int, raw: _Raw) -> int:
    """Return the next port after `port` that nobody has."""
    taken = {each for each, _, _ in _wanted_ports(raw)}
    return next(candidate for candidate in range(port + 1, port + len(taken) + 2) if candidate not in taken)


def _adapters(raw: _Raw) -> Iterator[str]:
    owners: dict[str, str] = {}
    for model, fields in raw.models.items():
        for name in _mapping(fields.get("adapters")):
            path = f"models.{model}.adapters.{name}"
            if name in raw.models:
                yield f"{path}: {name!r} is a model's name too, and clients could not tell them apart; rename the adapter"
            elif name in owners:
                yield f"{path}: {name!r} is an adapter of {owners[name]} too; rename one of them"
            else:
                owners[name] = model


def _aliases(raw: _Raw) -> Iterator[str]:
    adapters = {
        name: model for model, fields in raw.models.items() for name in _mapping(fields.get("adapters"))
    }
    owners: dict[str, str] = {}
    for model, fields in raw.models.items():
        for index, name in enumerate(_names(fields.get("aliases"))):
            path = f"models.{model}.aliases.{index}"
            if name in raw.models:
                yield f"{path}: {name!r} is a model's name already; leave the alias out"
            elif name in adapters:
                yield f"{path}: {name!r} is an adapter of {adapters[name]}; rename one of them"
            elif name in owners:
                yield f"{path}: {name!r} is an alias of {owners[name]} already; a name stands for one model"
            else:
                owners[name] = model


def _default(raw: _Raw) -> Iterator[str]:
    name = raw.get("default_model")
    if isinstance(name, str) and name not in raw.models:
        yield f"default_model: there is no model {name!r}{_meant(name, raw)}"


def _groups(raw: _Raw) -> Iterator[str]:
    for group, names in raw.groups.items():
        path = f"exclusive.{group}"
        for index, name in enumerate(names):
            if name not in raw.models:
                yield f"{path}.{index}: there is no model {name!r}{_meant(name, raw)}"
            elif raw.replicas(name) > 1:
                yield (
                    f"{path}.{index}: {name} has {raw.replicas(name)} replicas, which would exclude one another; "
                    "give it one, or take it out of the group"
                )
        yield from (
            f"{path}: names {name} twice; once is enough"
            for name, count in Counter(names).items()
            if count > 1
        )
        if len(names) == 1:
            yield f"{path}: one model alone excludes nobody; name the others, or leave the group out"
        yield from _pinned_in_group(path, names, raw)


def _pinned_in_group(path: str, names: Sequence[str], raw: _Raw) -> Iterator[str]:
    members = dict.fromkeys(name for name in names if name in raw.models)
    for index, name in enumerate(names):
        others = [other for other in members if other != name]
        if raw.pinned(name) and others:
            yield (
                f"{path}.{index}: {name} is pinned, so that once it is awake {', '.join(others)} could never be; "
                "unpin it, or take it out of the group"
            )


def _pinned(raw: _Raw) -> Iterator[str]:
    limit = raw.get("max_awake")
    pinned = [name for name in raw.models if raw.pinned(name)]
    total = sum(map(raw.replicas, pinned))
    if not _is_count(limit) or not pinned or total < limit:
        return
    rest = [name for name in raw.models if name not in pinned]
    if rest:
        yield (
            f"max_awake: {limit} is taken by the pinned models ({', '.join(pinned)}: {total}), so that "
            f"{', '.join(rest)} could never be awake; raise it to {total + 1} or more, or unpin some"
        )
    elif total > limit:
        yield f"max_awake: {limit} is less than the {total} replicas of the pinned models; raise it to {total}, or unpin some"


def _meant(name: str, raw: _Raw) -> str:
    if name in raw.groups:
        return ": that is a group's name, and groups name models only"
    near = difflib.get_close_matches(name, raw.models, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; configured: {', '.join(raw.models)}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _names(value: object) -> Sequence[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0
