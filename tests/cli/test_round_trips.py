"""
A lived-in backlog moves between the backends, and comes out as the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

REPORTS = Path(__file__).parents[1] / "assets" / "reports"
KINDS = ("sqlite", "jsonl", "postgresql")


def _live(cli: Cli, url: str) -> None:
    """
    Fill a store: closed, judged, snoozed, accepted, linked, commented and purged items, a view, sightings.
    """
    at = ("--store", url)
    for _ in range(2):
        cli(*at, "report", str(REPORTS / "bandit.sarif"), "-s", "app")
    ids = [row["id"] for row in cli.json(*at, "list", "--fields", "id")]
    cli(*at, "close", ids[0], "--reason", "false_positive")
    cli(*at, "cleanup", "--older-than", "0", "--yes")
    cli(*at, "close", ids[1], "--reason", "wont_fix")
    cli(*at, "snooze", ids[2], "+3d")
    cli(*at, "accept", ids[3], "--until", "+90d", "--by", "Ana", "-m", "behind the VPN")
    cli(*at, "link", ids[4], "blocks", ids[5])
    cli(*at, "comment", ids[4], "Grüße, 世界")
    cli(*at, "view", "save", "urgent", "priority:<=P1")


def _place(cli: Cli, request: pytest.FixtureRequest, kind: str, end: str) -> str:
    """
    Return the URL of a store that is not there yet; a password goes into the environment, not on the command line.
    """
    if kind != "postgresql":
        return f"{kind}:{end}"
    dsn: str = request.getfixturevalue("postgres_server").create_database()
    password = urlsplit(dsn).password
    cli.env["PGPASSWORD"] = password
    return dsn.replace(f":{password}@", "@")


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("way", ["import", "migrate"])
def test_a_store_moves_and_stays_the_same(cli: Cli, request: pytest.FixtureRequest, source: str, target: str, way: str
                                          ) -> None:  # fmt: skip
    """
    The canonical export of the copy is, byte for byte, that of the store it was made from; its history verifies.
    """
    urls = [_place(cli, request, kind, end) for kind, end in ((source, "from"), (target, "to"))]
    _live(cli, urls[0])
    before = cli("--store", urls[0], "export").stdout_bytes
    if way == "import":
        cli("--store", urls[1], "import", "-", input=before)
    else:
        cli("--store", urls[0], "migrate", "--to", urls[1])
    assert cli("--store", urls[1], "export").stdout_bytes == before
    cli("--store", urls[1], "verify")
