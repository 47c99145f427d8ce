"""
Counts, the dashboard, what needs attention, the log, verdicts and saved views.
"""

from __future__ import annotations

from msgspec import Struct

from backlog_store import commands as c
from backlog_store.codec import to_builtins
from backlog_store.errors import Fault, NotFound
from backlog_store.query import FACETS, EventQuery
from backlog_store.shown import view
from backlog_store.web.inputs import CONDITIONS, condition, instant, refuse, truth, whole
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")

_ENV = Param("env", "Of this env alone.")
_WHERE = (
    Param("q", "A query in the language of the command line; all that are given must hold.", many=True),
    *(Param(name, f"Items of this {name}.", many=True) for name in CONDITIONS),
    Param("closed", "Closed items, too.", schema={"type": "boolean"}),
)
_SHORT = ("id", "service", "title", "priority", "due_date", "owner")


class ViewIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A query to keep under a name.
    """

    query: str


@routes.add("GET", "/dashboard", action="read", params=(_ENV,), answers={200: dict})
def dashboard(ask: Ask) -> Reply:
    """
    Count everything: by status, priority, category, owner, source and service, and what is overdue.
    """
    found = ask.backlog.dashboard(ask.text("env"))
    data = {name: getattr(found, name) for name in found.__struct_fields__}
    data["overdue"] = [view(item, _SHORT, found.at) for item in found.overdue]
    data["top_services"] = [{"service": name, "count": count} for name, count in found.top_services]
    return Reply(data=to_builtins(data))


@routes.add("GET", "/attention", action="read", params=(_ENV,), answers={200: dict})
def attention(ask: Ask) -> Reply:
    """
    Say what needs a look now: urgent, overdue, due soon, woken up, acceptances that end; a few of each, all counted.
    """
    found = ask.backlog.attention(ask.text("env"))
    data = {
        name: [view(item, _SHORT, found.at) for item in value] if isinstance(value, tuple) else value
        for name in found.__struct_fields__
        for value in (getattr(found, name),)
    }
    return Reply(data=data)


@routes.add("GET", "/counts", action="read", collects=True, answers={200: dict},
            params=(*_WHERE, Param("by", f"What to count by, with commas between: {', '.join(FACETS)}.")))  # fmt: skip
def counts(ask: Ask) -> Reply:
    """
    Count items by a field or several.
    """
    by = [name for text in ask.parameters.get("by", []) for name in text.split(",") if name]
    faults = ask.strays()
    faults += [Fault("/by", name, f"one of {', '.join(FACETS)}") for name in by if name not in FACETS]
    truth(ask.parameters, "closed", faults)
    refuse(faults)
    where, _, _ = condition(ask.parameters, now=ask.site.backlog.clock(), me=ask.asker.name)
    found = ask.backlog.tally(where, by)  # type: ignore[arg-type]
    rows = [{**dict(zip(by, values, strict=True)), "count": found[values]} for values in sorted(found)]
    return Reply(data={"by": by, "counts": rows, "total": sum(found.values())})


@routes.add("GET", "/events", action="read", collects=True, answers={200: dict}, params=(
    Param("after", "Go on behind this position."), LIMIT,
    Param("batch", "Of this batch alone."), Param("actor", "Of these actors.", many=True),
    Param("type", "Of these types.", many=True), Param("since", "Decided then or later."),
    Param("until", "Decided before then."), Param("newest_first", "Turned round.", schema={"type": "boolean"}),
))  # fmt: skip
def list_events(ask: Ask) -> Reply:
    """
    Show what was changed, in the order of the commits.
    """
    asked = ask.parameters
    faults = ask.strays()
    limit = whole(asked, "limit", 100, 1_000, faults)
    since, until = instant(asked, "since", faults), instant(asked, "until", faults)
    newest_first = truth(asked, "newest_first", faults)
    refuse(faults)
    query = EventQuery(
        after=ask.text("after"), limit=limit, batch=ask.text("batch") or None, newest_first=newest_first,
        actors=tuple(asked["actor"]) if "actor" in asked else None,
        types=tuple(asked["type"]) if "type" in asked else None, since=since, until=until,
    )  # fmt: skip
    events = ask.backlog.events(query)
    return Reply(data={"events": events, "next": events[-1].position if len(events) == limit else ""})


@routes.add("GET", "/views", action="read", answers={200: dict})
def list_views(ask: Ask) -> Reply:
    """
    List the saved views: name and query.
    """
    return Reply(data={"views": [{"name": name, "query": query} for name, query in ask.backlog.views().items()]})


@routes.add("GET", "/views/{name:str}", action="read", answers={200: dict})
def get_view(ask: Ask) -> Reply:
    """
    Show a saved view.
    """
    name = ask.path["name"]
    views = ask.backlog.views()
    if name not in views:
        raise NotFound("view", name)
    return Reply(data={"name": name, "query": views[name]})


@routes.add("PUT", "/views/{name:str}", action="work", body=ViewIn, answers={200: dict})
def save_view(ask: Ask) -> Reply:
    """
    Keep a query under a name. A query that cannot be parsed is refused.
    """
    name, query = ask.path["name"], ask.body_as(ViewIn).query
    ask.backlog.execute(c.SaveView(name=name, query=query))
    return Reply(data={"name": name, "query": query})


@routes.add("DELETE", "/views/{name:str}", action="work", answers={204: None})
def drop_view(ask: Ask) -> Reply:
    """
    Forget a saved view.
    """
    ask.backlog.drop_view(ask.path["name"])
    return Reply(status=204)


@routes.add("GET", "/verdicts", action="read", answers={200: dict})
def list_verdicts(ask: Ask) -> Reply:
    """
    List what was decided about keys; it outlives the items.
    """
    found = [
        {"key": name, "item_id": state.item_id, "verdict": state.verdict} for name, state in ask.backlog.verdicts()
    ]
    return Reply(data={"verdicts": found})
