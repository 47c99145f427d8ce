"""
From URLs to backends: each form names one, and what names none is told what comes nearest.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backlog_store.backends.port import Backend, PutRecord
from backlog_store.backends.registry import SCHEMES, open_backend
from backlog_store.errors import BackendUnavailable, ConfigError
from backlog_store.testing.conformance.base import apply, record_of
from backlog_store.testing.samples import a_record


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    An empty working folder.
    """
    (tmp_path / "here").mkdir(0o700)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def name_of(backend: Backend) -> str:
    """
    Return the backend's name, and close it.
    """
    backend.close()
    return backend.capabilities.name


@pytest.mark.parametrize("url", ["memory://", "memory:", "MEMORY://", " memory:// ", "null://"])
def test_backends_without_a_place(url: str) -> None:
    """Memory and null are named by their scheme alone, in either case."""
    assert url.strip(" :/").lower() == name_of(open_backend(url))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("jsonl://{here}/a", "a/journal.jsonl"),
        ("jsonl:///{here}/a/", "a/journal.jsonl"),
        ("jsonl:{here}/a", "a/journal.jsonl"),
        ("jsonl:a", "a/journal.jsonl"),
        ("jsonl://a/b", "a/b/journal.jsonl"),
        ("jsonl:///a", "a/journal.jsonl"),
        ("jsonl:a%20b", "a b/journal.jsonl"),
        ("jsonl:a?lock_timeout_s=5", "a/journal.jsonl"),
        ("a/b", "a/b/journal.jsonl"),
        ("./a", "a/journal.jsonl"),
        ("{here}/a", "a/journal.jsonl"),
        ("backlog", "backlog/journal.jsonl"),
        ("sqlite://{here}/a.db", "a.db"),
        ("sqlite:///{here}/a.db", "a.db"),
        ("sqlite:///a.db", "a.db"),
        ("sqlite:a.db", "a.db"),
        ("sqlite:///a.db?busy_timeout_s=1.5", "a.db"),
        ("a.db", "a.db"),
        ("{here}/a.sqlite3", "a.sqlite3"),
    ],
)
def test_a_path_is_taken_as_it_stands(here: Path, url: str, place: str) -> None:
    """Absolute, relative and bare paths lead to the store that they name."""
    expected = "jsonl" if place.endswith(".jsonl") else "sqlite"
    assert expected == name_of(open_backend(url.format(here=here)))
    assert (here / place).is_file()


def test_a_home_folder_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the home folder, in URLs and in bare paths."""
    monkeypatch.setenv("HOME", str(here))
    apply(open_backend("jsonl:~/a"), PutRecord(a_record("r")))
    assert record_of(open_backend("~/a"), "view", "r") is not None


def test_an_existing_folder_is_jsonl_whatever_its_name(here: Path) -> None:
    """A folder that is there is taken as it is, even if it is called like a backend or has a suffix."""
    for name in ("memory", "backlog.v2"):
        (here / name).mkdir(0o700)
        assert name_of(open_backend(name)) == "jsonl"
        assert (here / name / "journal.jsonl").is_file()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "empty"),
        ("memroy://", "memory"),
        ("sqllite:///x.db", "sqlite"),
        ("json://x", "jsonl"),
        ("postgress://u:secret@h/d", "postgres"),
        ("mysql://u:secret@h/d", "sqlite:///path"),
        ("memory", "memory://"),
        ("sqlite", "sqlite:///path"),
        ("postgres", "postgresql://"),
        ("memry", "memory"),
        ("auto", "postgresql://"),
        ("auto://", "postgresql://"),
        ("memory://x", "nothing may follow"),
        ("jsonl://", "path is missing"),
        ("sqlite:///", "path is missing"),
        ("items.jsonl", "name a folder"),
        ("jsonl:a?lock_timeout=5", "lock_timeout_s"),
        ("jsonl:a?lock_timeout_s=long", "86400 seconds"),
        ("jsonl:a?compact_slack=-1", "number of bytes"),
        ("memory://?size=5", "no such option"),
    ],
)
def test_what_names_no_backend_is_refused_and_makes_nothing(here: Path, url: str, says: str) -> None:
    """A misspelt name never means another backend; the error says what was meant, and shows no password."""
    with pytest.raises(ConfigError) as error:
        open_backend(url)
    assert says in str(error.value)
    assert "secret" not in str(error.value)
    assert list(here.iterdir()) == []


def test_options_are_checked_by_name(here: Path) -> None:
    """An option that the backend does not know is refused with the nearest that it knows."""
    with pytest.raises(ConfigError, match="Did you mean lock_timeout_s"):
        open_backend("jsonl:a", lock_timeout=5)
    assert list(here.iterdir()) == []
    open_backend("jsonl:a", lock_timeout_s=5).close()


def test_options_of_the_call_go_before_those_of_the_url(here: Path) -> None:
    """What a program says counts more than what its URL says."""
    open_backend("jsonl:a").close()
    open_backend("jsonl:a?create=false").close()
    with pytest.raises(BackendUnavailable):
        open_backend("jsonl:b?create=false")
    assert name_of(open_backend("jsonl:b?create=false", create=True)) == "jsonl"


@pytest.mark.parametrize("dsn", ["{url}", "{keywords}"])
def test_postgresql_takes_urls_and_keyword_strings(postgres_dsn: str, dsn: str) -> None:
    """Both forms of libpq reach the server that they name."""
    from psycopg.conninfo import conninfo_to_dict

    keywords = " ".join(f"{name}={value}" for name, value in conninfo_to_dict(postgres_dsn).items())
    assert name_of(open_backend(dsn.format(url=postgres_dsn, keywords=keywords))) == "postgres"


def test_a_missing_driver_says_what_to_install() -> None:
    """Where psycopg is not installed, the error is the command that installs it."""
    program = """
import sys
sys.modules["psycopg"] = None
from backlog_store.backends.registry import open_backend
from backlog_store.errors import ConfigError
try:
    open_backend("postgresql://u:secret@h/d")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'backlog-store[postgres]'" in done.stdout
    assert "secret" not in done.stdout


@pytest.mark.parametrize("url", ["memory://", "jsonl:a", "sqlite:a.db"])
def test_only_the_named_backend_is_imported(here: Path, url: str) -> None:
    """Opening one store does not pay for the drivers of the others."""
    program = f"""
import sys
from backlog_store.backends.registry import open_backend
open_backend({url!r}).close()
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=here)
    loaded = set(done.stdout.split())
    named = url.partition(":")[0]
    others = {"sqlite3", "psycopg"} - ({"sqlite3"} if named == "sqlite" else set())
    others |= {f"backlog_store.backends.{scheme.module}" for name, scheme in SCHEMES.items() if name != named}
    assert loaded.isdisjoint(others)
