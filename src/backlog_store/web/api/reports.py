"""
Reports: what scanners, tests and alert managers write, taken in as `backlog report` takes it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import read_report
from backlog_store.planning import Planner
from backlog_store.taking import report_as_data, take_in
from backlog_store.web.api import asked
from backlog_store.web.inputs import request_id, truth
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["named_here", "routes"]

routes = Routes("/api/v1")

#: Reports are recognised by what is in them; these are what their media types may be.
REPORTS = ("application/json", "application/x-ndjson", "text/csv", "application/xml", "application/octet-stream")
_DRY = Param("dry_run", "Tell what would happen, and write nothing.", schema={"type": "boolean"})


@contextmanager
def named_here() -> Iterator[None]:
    """
    Say in the words of the API where a report lacks its service, or is of no known format.
    """
    try:
        yield
    except InvalidInput as error:
        for option in ("service", "format"):
            if f"--{option}" in error.hint:
                hint = f"Name it with ?{option}=NAME{', if it is one of these' if option == 'format' else ''}."
                raise InvalidInput(error.faults, what="report", hint=hint) from error
        raise


@routes.add("POST", "/reports", action="report", collects=True, takes=REPORTS, spooled=True,
            params=(*asked.ABOUT, *asked.HOW, _DRY), headers=("Idempotency-Key",),
            answers={200: dict, 202: dict})  # fmt: skip
def take_in_report(ask: Ask) -> Reply:
    """
    Take in a report of any format that `backlog report` reads, and answer what `backlog report --json` prints.

    The format is recognised, unless `format` names it. 202 where it was accepted while the database is away.
    """
    faults = ask.strays()
    dry_run = truth(ask.parameters, "dry_run", faults)
    context, backlog = asked.about(ask.parameters, faults), ask.backlog
    taking = asked.how(ask.parameters, context, backlog, request_id=request_id(ask.request), dry_run=dry_run,
                       faults=faults)  # fmt: skip
    with named_here():
        format, parsed = read_report(ask.stream, context, format=ask.text("format"))
        account = take_in(backlog, parsed, taking, planner=Planner(backlog) if dry_run else None)
    data = report_as_data(account, format, taking)
    return Reply(data=data, status=202 if data["accepted"] else 200)


@routes.add("POST", "/alertmanager", action="report", collects=True, takes=("application/json",), params=asked.ABOUT,
            answers={200: dict, 202: dict})  # fmt: skip
def take_in_alerts(ask: Ask) -> Reply:
    """
    Take in what an Alertmanager's webhook sends: firing alerts are problems, resolved ones close what they opened.

    Where nothing of it can be taken in, 422 says why, which Alertmanager writes into its log.
    """
    faults = ask.strays()
    context, backlog = asked.about(ask.parameters, faults), ask.backlog
    taking = asked.how({}, context, backlog, faults=faults)
    with named_here():
        format, parsed = read_report(ask.stream, context, format="alertmanager")
        account = take_in(backlog, parsed, taking)
    if account.findings and len(account.refused) == account.findings:
        refused = [Fault(pointer, "", reason) for pointer, reason in account.refused]
        raise InvalidInput(refused, what="alerts", hint="An alert needs a service: a label, or ?service=NAME.")
    data = report_as_data(account, format, taking)
    return Reply(data=data, status=202 if data["accepted"] else 200)
