"""tests/fixtures/images: real dumps, each with what the kernel said of its tree before the dump (expected.json)."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import Inventory, take_inventory
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Dump
from llmux.criu_images.manifest import MANIFEST_NAME, Manifest, parse_manifest

IMAGES = Path(__file__).parents[2] / "fixtures" / "images"
NAMES = sorted(path.name for path in IMAGES.iterdir())


@cache
def dump_of(name: str) -> Dump:
    return read_dump(IMAGES / name)


@cache
def inventory_of(name: str) -> Inventory:
    return take_inventory(dump_of(name))


@cache
def manifest_of(name: str) -> Manifest:
    path = IMAGES / name / MANIFEST_NAME
    return parse_manifest(path.read_bytes(), bytes(path))


@cache
def live(name: str) -> dict[str, Any]:
    """Parse expected.json; tests/fixtures/inside/live_facts.py says what it holds."""
    return json.loads((IMAGES / name / "expected.json").read_text())


def told_all(name: str) -> bool:
    """Tell whether its expected.json has what live_facts.py asks besides files, sockets and ids: vLLM's and some others are older."""
    return "namespaces" in live(name)


def owned(name: str) -> set[str]:
    """Tell the kinds of namespaces, by their names in /proc/PID/ns, in which the tree was and criu was not."""
    return {kind for kind, (outer, inner) in live(name).get("namespaces", {}).items() if outer != inner}


def path(text: str) -> RawPath:
    return RawPath(os.fsencode(text))


def address(text: str) -> tuple[str, int]:
    """Parse an address of /proc/net: words in hex as the machine holds them, and the port."""
    words, _, port = text.partition(":")
    packed = b"".join(
        int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8)
    )
    return str(ip_address(packed)), int(port, 16)
