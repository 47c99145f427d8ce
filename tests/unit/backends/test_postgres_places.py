"""
Which servers a DSN names, and what each is asked.
"""

from __future__ import annotations

import pytest

from backlog_store.backends.postgres.dsn import parse_dsn
from backlog_store.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGTARGETSESSIONATTRS"):
        monkeypatch.delenv(name, raising=False)


def places(dsn: str) -> list[tuple[str | None, str | None, str | None]]:
    """
    Return host, port and wanted kind of each server.
    """
    names = ("host", "port", "target_session_attrs")
    return [tuple(settings.get(name) for name in names) for settings in parse_dsn(dsn, connect_s=1).settings]  # type: ignore[misc]


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://u@a:1,b:2,c:3/d", "host=a,b,c port=1,2,3 dbname=d"],
)
def test_each_host_is_a_place_and_the_one_that_takes_writes_is_meant(dsn: str) -> None:
    """Of several servers a store can use only the one that takes writes, so nobody has to say that."""
    assert places(dsn) == [("a", "1", "read-write"), ("b", "2", "read-write"), ("c", "3", "read-write")]


def test_what_the_dsn_says_stays() -> None:
    """A kind of server that the DSN names is kept, and one port stands for all hosts."""
    assert places("host=a,b port=7 target_session_attrs=primary") == [("a", "7", "primary"), ("b", "7", "primary")]


def test_one_server_is_taken_as_it_is() -> None:
    """A single server may be a standby, for reading."""
    assert places("host=a") == [("a", None, None)]


def test_hosts_of_the_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts in libpq's own variables are several places, too."""
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "1,2")
    assert places("dbname=d") == [("a", "1", "read-write"), ("b", "2", "read-write")]
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    assert places("dbname=d") == [("a", "1", None), ("b", "2", None)]


def test_lists_of_different_lengths_are_refused() -> None:
    """Two ports for three hosts are a mistake, named."""
    with pytest.raises(ConfigError, match="port"):
        parse_dsn("host=a,b,c port=1,2", connect_s=1)
