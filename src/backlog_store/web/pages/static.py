"""
Files that pages bring: served from the package, named by their content, so that a browser keeps them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from backlog_store.digests import blake2b
from backlog_store.errors import NotFound
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes", "static_url"]

routes = Routes()

_TYPES = {"css": "text/css", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@cache
def _known() -> dict[str, bytes]:
    root = files("backlog_store.web") / "static"
    found = {f"vendor/{one.name}": one.read_bytes() for one in (root / "vendor").iterdir() if one.is_file()}
    return found | {one.name: one.read_bytes() for one in root.iterdir() if one.is_file()}


@cache
def static_url(name: str) -> str:
    """
    Return the place of a file. Raises `KeyError` for one that is not there.
    """
    return f"/static/{blake2b(_known()[name]).hexdigest()[:12]}/{name}"


@routes.add("GET", "/static/{version:str}/{name:path}", action=None, gives="text/css")
def static_file(ask: Ask) -> Reply:
    """
    Give a file of the pages.
    """
    name = ask.path["name"].removeprefix("/")
    kind = _TYPES.get(name.rpartition(".")[2])
    if name not in _known() or kind is None:
        raise NotFound("file", name)
    return Reply(data=_known()[name], media=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})
