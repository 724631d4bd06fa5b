"""Other people's clients of llmux, which the tests have ask it: OpenAI's of Node, LangChain, LiteLLM."""

from __future__ import annotations

import shutil

from . import debian, python
from .paths import CACHE, ROOT
from .shell import run, skip, step

SDKS = CACHE / "sdks"
NODE_CLIENT = CACHE / "node_client"
_NODE_SOURCES = ROOT / "tests/clients/node"
_PACKAGES = ("package.json", "package-lock.json", ".npmrc")


def install() -> None:
    """Have all of them."""
    python.make_environment(SDKS, python.SDKS_LOCK)
    _install_node_client()


def _install_node_client() -> None:
    """Install what package-lock.json names; it brings a Node of its own, as the machine's may be too old for the client."""
    stamp, title = NODE_CLIENT / "llmux-lock", "OpenAI's Node client"
    wanted = python.digest(*(_NODE_SOURCES / name for name in _PACKAGES))
    if stamp.exists() and stamp.read_text() == wanted:
        skip(title)
        return
    if shutil.which("npm") is None:
        debian.install("npm", why="npm, which installs OpenAI's Node client,")
    with step(f"{title} from tests/clients/node/package-lock.json"):
        NODE_CLIENT.mkdir(exist_ok=True)
        for name in _PACKAGES:
            shutil.copy(_NODE_SOURCES / name, NODE_CLIENT)
        run(
            *("npm", "ci", "--ignore-scripts", "--prefix", NODE_CLIENT),
            hint="is an npm registry reachable? see `npm config get registry`",
        )
        stamp.write_text(wanted)
