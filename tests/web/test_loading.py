"""
A service holds all of its code before the first request.
"""

from __future__ import annotations

import multiprocessing
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from litestar.testing import TestClient

from backlog_store import open_backlog

REPORT = '[{"title": "Slow", "service": "web", "dedupe_key": "slow"}, {"title": "Old", "service": "web"}]'

PAGES = "now triage items board dashboard sources runs plans tokens people webhooks account new nowhere"
API = (
    "items counts dashboard attention events export health openapi.json runs plans views verdicts people tokens nowhere"
)
PLACES = [*(f"/{name}" for name in PAGES.split()), *(f"/api/v1/{name}" for name in API.split())]


class Replaced(MetaPathFinder):
    """
    Stands for a package that was replaced by another version: nothing more of this one can be had.
    """

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname.startswith("backlog_store"):
            raise AssertionError(f"{fullname} is loaded in a request")
        return None


def _ask_everything(url: str) -> None:
    from backlog_store.web import loading, serving
    from backlog_store.web.pages import render

    def gone(*_: object) -> tuple[str, str, None]:
        raise AssertionError("a template is read in a request")

    loading.load_all()
    backlog = open_backlog(url)
    app = serving.create(backlog, serving.Running(host="127.0.0.1", port=1))
    with backlog, TestClient(app, base_url="http://127.0.0.1:1") as client:
        sys.meta_path.insert(0, Replaced())
        render._environment().loader.get_source = gone  # type: ignore[method-assign]
        for method, path, body in (
            ("POST", "/api/v1/reports?service=web&complete=true&source=checks", REPORT),
            ("POST", "/api/v1/plans", REPORT),
            ("POST", "/api/v1/batch/upsert", '{"title": "New"}'),
        ):
            answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500, (path, answer.text)
        for path in [*PLACES, "/metrics", "/readyz", "/api", "/items?q=status:open web"]:
            answer = client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code < 500, (path, answer.text)


def test_what_is_replaced_under_a_service_is_not_read(tmp_path: Path) -> None:
    """
    Once it has started, no request loads a module or a template: an upgrade in place cannot mix two versions.
    """
    process = multiprocessing.get_context("spawn").Process(target=_ask_everything, args=(f"sqlite:///{tmp_path}/b.db",))
    process.start()
    process.join()
    assert process.exitcode == 0
