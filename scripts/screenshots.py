"""
Take a picture of every page, light and dark, wide and narrow, into ``build/screenshots``.

``make screenshots`` does it. They are there to be looked at; nothing compares them.
Needs what ``make test-system`` installs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the service and the browser are started as the tests do

from backlog_store import open_backlog  # noqa: E402
from backlog_store.query import live  # noqa: E402
from tests.system.browsing import Served, Visitor, browser, filled  # noqa: E402

WIDTHS = {"wide": 1_440, "narrow": 400}
SCHEMES = ("light", "dark")
PAGES = ("now", "triage", "items", "board", "dashboard", "sources", "runs", "plans", "items/new", "api",
         "people", "people/ben", "tokens", "tokens/ruff", "webhooks", "webhooks/chat", "account",
         "now/new")  # fmt: skip


def main(folder: Path) -> None:
    """
    Write a picture a page, scheme and width into *folder*.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        store = f"sqlite:///{place}/backlog.db"
        filled(store)
        with open_backlog(store) as backlog:
            [run] = [id for id, one in backlog.runs() if one.state == "parked"]
            known = backlog.search(live(), limit=10)
        paths = {name.replace("/", "-"): f"/{name}" for name in PAGES}
        paths |= {"item": f"/items/{known[3].id}", "run": f"/runs/{run}", "nothing": "/items?q=nothing-has-this-word"}
        with Served(store, Path(place)) as served, browser() as chromium:
            for scheme in SCHEMES:
                for size, width in WIDTHS.items():
                    visitor = Visitor(chromium, served.url, scheme=scheme, width=width)
                    for name, path in paths.items():
                        visitor.go(path).screenshot(
                            path=folder / f"{name}-{scheme}-{size}.png", full_page=name != "api"
                        )
                    visitor.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "screenshots")
