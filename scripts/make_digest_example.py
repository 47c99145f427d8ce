"""
Make docs/examples/digest: the digest of two weeks of real findings, in all four formats.

    python scripts/make_digest_example.py             writes the files; a test makes them anew on every backend

The findings are those of the demonstration (src/backlog_store/demo/reports). Clock and ids are fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.cli.weeklyforms import FORMS
from backlog_store.demo import reports
from backlog_store.instants import add_seconds, day_of, plus_days
from backlog_store.intake import Finding, ReportContext, read_report
from backlog_store.model import Draft
from backlog_store.query import All, HasWords, In, live
from backlog_store.testing.clocks import START, CountingIds, StepClock
from backlog_store.weekly import weekly

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "examples" / "digest"
NAMES: Mapping[str, str] = {"text": "digest.txt", "md": "digest.md", "html": "digest.html", "json": "digest.json"}
_DAY_S = 86_400
_SERVICES = ("bottle", "gunicorn")
_RELEASES = {"old": {"bottle": "0.12.25", "gunicorn": "20.1.0"}, "new": {"bottle": "0.13.2", "gunicorn": "23.0.0"}}
_POLICY = """
escalation:
  rules:
    - name: what is late
      steps:
        - {name: owner, overdue_hours: 0, notify: [owner]}
        - {name: lead, overdue_hours: 48, notify: [lead]}
"""
#: What somebody may send: nothing of it may mean anything in a table, a page or a terminal.
HOSTILE = (
    "<script>alert(1)</script> | [click](http://example.com) `code`\n# \x1b[31mred\u202e &amp; **bold** www.example.com"
)


def scan(backlog: Backlog, tool: str, release: str, folder: Path, services: tuple[str, ...] = _SERVICES) -> None:
    """
    Report what a tool finds in a release of each service, as one complete run each.
    """
    for service in services:
        path = folder / f"{service}-{_RELEASES[release][service]}.{tool}.sarif"
        with path.open("rb") as stream:
            parsed = list(read_report(stream, ReportContext(service=service))[1])
        run = backlog.begin_run(tool, services=[service])
        list(run.report(entry.draft for entry in parsed if isinstance(entry, Finding)))
        run.complete()


def tell(url: str) -> Iterator[tuple[str, str]]:
    """
    Work for two weeks in the empty store at *url*; yield file name and text of the digest of the second one.
    """
    clock = StepClock()
    with reports() as folder, open_backlog(url, clock=clock, ids=CountingIds()) as backlog:
        ann = backlog.acting_as("ann", person=True)
        scan(backlog, "ruff", "old", folder)
        scan(backlog, "bandit", "old", folder)
        probe = Draft(title="Checkout burns its error budget", service="checkout", source="slo-monitor", priority="P1",
                      dedupe_key="slo:checkout", due_date=plus_days(day_of(START), 7))  # fmt: skip
        backlog.upsert(probe)
        latency = Draft(title="Search is slow", service="search", source="slo-monitor", priority="P0",
                        dedupe_key="slo:search")  # fmt: skip
        ann.close_item(backlog.upsert(latency).id, message="cache enlarged")
        clock.advance(5 * _DAY_S)
        since = clock()
        backlog.upsert(latency)
        backlog.upsert(title=HOSTILE, source="form", dedupe_key="form:1", priority="P1")
        typo = backlog.upsert(title="A typo on the page of prices", source="form", dedupe_key="form:2")
        ann.close_item(typo.id, message="spelt")
        for item in ann.search(All((live(), In("source", ("bandit",)), HasWords(("try", "except", "pass"))))):
            ann.close_item(item.id, "false_positive", message="a socket that is gone needs no handling")
        first, second, third = ann.search(All((live(), In("fix", ("rule:B904:gunicorn/util.py",)))), limit=3)
        ann.close_item(first.id, message="raised from the cause")
        ann.accept(second.id, approver="ann", expires_at=add_seconds(since, 10 * _DAY_S))
        ann.edit(third.id, owner="ann")
        for number in range(3):  # after two complete runs that miss it, an item is closed
            scan(backlog, "ruff", "new", folder)
            clock.advance(2 * _DAY_S)
            if number == 1:  # the first step is due, the second one not yet
                ann.apply_policy(_POLICY, over=0)
                list(ann.work.escalate())
        scan(backlog, "bandit", "new", folder, ("gunicorn",))
        now = clock()
        found = backlog.read(lambda reader: weekly(reader, env="", since=since, now=now))
    for form, name in NAMES.items():
        yield name, FORMS[form](found)


def main() -> None:
    """
    Write the files.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in tell("memory://"):
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
