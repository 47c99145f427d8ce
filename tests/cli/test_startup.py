"""
What a command imports: only what it uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backlog_store import open_backlog
from backlog_store.settings import path_url

HEAVY = ("rich", "asyncio", "psycopg", "litestar", "jinja2", "lark", "yaml", "tempfile", "subprocess", "platformdirs",
         "backlog_store.intake", "backlog_store.compat", "backlog_store.backends.jsonl",
         "backlog_store.backends.postgres")  # fmt: skip
PROBE = """
import sys
from backlog_store.cli.main import cli
try:
    cli.main(sys.argv[1:])
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder with a store of 10,000 items.
    """
    folder = tmp_path_factory.mktemp("large")
    with open_backlog(path_url("sqlite", folder / "backlog.db")) as backlog:
        drafts = ({"title": f"item {n}", "dedupe_key": f"k{n}", "priority": f"P{n % 4}"} for n in range(10_000))
        assert sum(outcome.verdict == "created" for _, outcome in backlog.report(drafts)) == 10_000
    return folder


def modules(store: Path, *args: str) -> tuple[set[str], str]:
    """
    Return the modules that a command has imported, and what it printed.
    """
    env = {
        **os.environ,
        "XDG_CONFIG_HOME": str(store),
        "BACKLOG_URL": f"sqlite://{store}/backlog.db",
        "BACKLOG_ACTOR": "ana",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *args], env=env, cwd=store, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split()), done.stdout


@pytest.mark.parametrize(
    "args", [["list"], ["list", "--limit", "0", "--json"], [], ["show", "b"], ["dashboard"], ["--help"]]
)
def test_reading_commands_import_nothing_heavy(store: Path, args: list[str]) -> None:
    """
    `list` on 10,000 items and its like load neither drawing, parsing nor other backends' libraries.
    """
    if args[:1] == ["show"]:
        args = [
            "show",
            next(iter(modules(store, "list", "--limit", "1", "--format", "jsonl", "--fields", "id")[1].split('"')[3:])),
        ]
    loaded, printed = modules(store, *args)

    assert printed
    assert not loaded & set(HEAVY)


OPENED = """
import sys
from backlog_store import open_backlog
with open_backlog(sys.argv[1], **({"spool": sys.argv[2]} if len(sys.argv) > 2 else {})) as backlog:
    before = set(sys.modules)
    one, two = (backlog.upsert(title="t", dedupe_key=key, source="s", service="web").id for key in ("a", "b"))
    backlog.edit(one, title="u")
    backlog.link(one, "blocks", two)
    backlog.close_item(two, message="done")
    backlog.reopen(two, "again")
    with backlog.begin_run("s", services=["web"]) as run:
        list(run.report([{"title": "t", "dedupe_key": "a"}]))
        run.complete(1)
    backlog.cleanup()
    print(*sorted(name for name in set(sys.modules) - before if name.startswith("backlog_store")))
"""


@pytest.mark.parametrize("scheme", ["sqlite", "jsonl", "memory", "auto+sqlite"])
def test_a_store_that_is_open_imports_nothing_more_to_decide(tmp_path: Path, scheme: str) -> None:
    """
    A process that lives long can be out of open files when the first report comes; it must not need one for a rule.
    """
    url = "memory://" if scheme == "memory" else f"{scheme}:{tmp_path}/store{'.db' if 'sqlite' in scheme else ''}"
    spool = [str(tmp_path / "spool")] if scheme.startswith("auto") else []
    done = subprocess.run([sys.executable, "-c", OPENED, url, *spool], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    faces = {f"backlog_store.{name}" for name in ("running", "maintenance", "transfer", "backends.keeping")}
    assert set(done.stdout.split()) <= faces


def test_the_parser_is_loaded_for_a_query_alone(store: Path) -> None:
    """
    A query needs lark; the same list without one does not.
    """
    assert "lark" in modules(store, "list", "priority:P0")[0]
    assert "lark" not in modules(store, "list", "--sort", "due")[0]
