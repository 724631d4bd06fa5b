"""The page at /ui/: files that are shipped with llmux, for a browser that loads nothing from anywhere else.

The files hold no secrets and know nothing; what the page shows it asks for below /control and /v1, as anybody else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from llmux.server._gate import ask_nothing_yet

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_INLINE_SCRIPT = re.compile(rb"<script type=\"importmap\">(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class File:
    """A file of the page, as it is sent."""

    content: bytes
    content_type: str
    etag: str


@dataclass(frozen=True)
class Page:
    """All of them, by their paths below /ui/, and the headers that each is sent with."""

    files: Mapping[str, File]
    headers: Mapping[str, str]
    digest: str
    """Of all of them: another where any is."""


PAGE = web.AppKey("page", Page)


def add_to(app: web.Application) -> None:
    """Give an application the page; its files are read when it starts."""
    app.add_routes(
        web.get(path, handler, expect_handler=ask_nothing_yet)
        for path, handler in (("/", _from_the_root), ("/ui", _to_the_page), ("/ui/{path:.*}", _show))
    )
    app.on_startup.append(_read)


async def _read(app: web.Application) -> None:
    shipped = dict(await asyncio.to_thread(_shipped, files("llmux.server") / "page"))
    every = "".join(f"{path} {file.etag}\n" for path, file in sorted(shipped.items()))
    digest = hashlib.sha256(every.encode()).hexdigest()[:32]
    app[PAGE] = Page(shipped, _headers(shipped["index.html"].content), digest)


async def _from_the_root(_request: web.Request) -> web.Response:
    """Show the way to the page; browsers would keep a lasting one for whatever else serves this port later."""
    return web.Response(status=307, headers={"Location": "/ui/"})


async def _to_the_page(_request: web.Request) -> web.Response:
    return web.Response(status=308, headers={"Location": "/ui/"})


async def _show(request: web.Request) -> web.Response:
    page = request.app[PAGE]
    file = page.files.get(request.match_info["path"] or "index.html")
    if file is None:
        raise web.HTTPNotFound
    if any(each.value == file.etag for each in request.if_none_match or ()):
        response = web.Response(status=304, headers=page.headers)
    else:
        charset = "utf-8" if file.content_type.startswith("text/") else None
        response = web.Response(
            body=file.content, content_type=file.content_type, charset=charset, headers=page.headers
        )
    response.etag = file.etag
    return response


def _shipped(directory: Traversable, prefix: str = "") -> list[tuple[str, File]]:
    found = []
    for each in directory.iterdir():
        name = prefix + each.name
        if each.is_dir():
            found += _shipped(each, f"{name}/")
        elif kind := _TYPES.get(f".{each.name.rpartition('.')[2]}"):
            content = each.read_bytes()
            found.append((name, File(content, kind, hashlib.sha256(content).hexdigest()[:32])))
    return found


def _headers(index: bytes) -> Mapping[str, str]:
    """Return what forbids the page everything that it has no use for; the one inline script, its import map, is let in by its digest."""
    inline = _INLINE_SCRIPT.search(index)
    digest = base64.b64encode(hashlib.sha256(inline[1] if inline else b"").digest()).decode()
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'sha256-{digest}'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",  # asked for again, by its ETag: a newer llmux has another page
    }
