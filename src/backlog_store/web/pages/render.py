"""
From data to HTML: templates that escape by default and refuse what is not defined.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from backlog_store.access import permits
from backlog_store.backends.scanning import end_of_log
from backlog_store.instants import day_of, to_datetime
from backlog_store.policy import rule_in_words
from backlog_store.web.pages.static import static_url
from backlog_store.web.routing import Ask, Reply

__all__ = ["ago", "error_page", "load_templates", "page", "plain_page", "standing", "until"]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_SCHEMES = {"http", "https", "mailto"}
_UNITS = ((86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h"), (60, "min"))
_BATCH = re.compile(r"cm_[0-9a-f]{32}\Z")
#: What a page says was done, by the verdict in its address.
_DID = {
    "created": "Added.", "updated": "Changed.", "closed": "Closed.", "reopened": "Reopened.",
    "unchanged": "Nothing was different.", "accepted": "Accepted; it will be recorded when the database is back.",
    "removed": "Removed.", "revoked": "Revoked: it holds no longer.", "ended": "Signed out.",
    "seen": "Seen: what comes from now on is new.",
    "replayed": "It is delivered again.",
    "unchosen": "No item was selected, so there is nothing to preview: tick the items first.",
}  # fmt: skip


def ago(instant: str, now: str) -> str:
    """
    Return how long ago an instant was: ``3 d``, ``5 min``; ``now`` within a minute.
    """
    return _span((to_datetime(now) - to_datetime(instant)).total_seconds()) if instant else ""


def until(day: str, now: str) -> str:
    """
    Return how far a day is from today: ``today``, ``in 3 d``, ``2 d late``.
    """
    if not day:
        return ""
    days = (to_datetime(f"{day}T00:00:00Z") - to_datetime(f"{day_of(now)}T00:00:00Z")).days
    if days == 0:
        return "today"
    return f"in {days} d" if days > 0 else f"{-days} d late"


def _span(seconds: float) -> str:
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return "now"


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # A picture is a link to it: to show it would ask some place for it, in the name of whoever looks at the item.
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def markdown(text: str) -> Markup:
    """
    Return Markdown as HTML: its own HTML is shown as text, and what is left is cleaned once more.
    """
    import nh3

    html = nh3.clean(_markdown().render(text), url_schemes=_SCHEMES, link_rel="noopener noreferrer nofollow")
    return Markup(html)  # noqa: S704  (cleaned in the line above)


def _query(current: Mapping[str, list[str]], **changes: str | list[str] | None) -> str:
    """
    Return the address's parameters with *changes* (``None`` drops one); a page's cursor never survives a change.
    """
    merged: dict[str, Any] = {name: values for name, values in current.items() if name not in ("after", "did", "batch")}
    merged.update(changes)
    pairs = [(name, value) for name, values in merged.items() if values
             for value in (values if isinstance(values, list) else [values])]  # fmt: skip
    return "?" + urlencode(pairs) if pairs else "?"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("backlog_store.web", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    environment.filters["ago"] = ago
    environment.filters["until"] = until
    environment.filters["markdown"] = markdown
    environment.filters["rule"] = rule_in_words
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.globals["static"] = static_url
    return environment


def load_templates() -> None:
    """
    Compile every template now; each stays as it is until the process ends.
    """
    environment = _environment()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


def page(ask: Ask, template: str, *, code: int = 200, **context: Any) -> Reply:
    """
    Return a page. Every template knows `now`, `me`, `here` (the path), `query` (new parameters) and `did`.

    *live* (see `standing`): the page is told of what others change behind that position.
    """
    now = ask.site.backlog.clock()
    parameters = ask.parameters
    batch = parameters.get("batch", [""])[-1]
    shared = {
        "now": now, "me": ask.asker.name, "administers": _administers(ask), "can_leave": ask.site.has_sign_out,
        "here": ask.request.url.path, "parameters": parameters,
        "copy_as_of": ask.site.copy_as_of(),
        "query": lambda **changes: _query(parameters, **changes),
        "did": _DID.get(parameters.get("did", [""])[-1], ""), "did_batch": batch if _BATCH.match(batch) else "",
    }  # fmt: skip
    html = _environment().get_template(template).render(shared | context)
    return Reply(data=html.encode(), status=code, media="text/html", headers=_HEADERS)


def _administers(ask: Ask) -> bool:
    scope = ask.asker.scope
    return scope is None or (scope.is_unbound and permits(scope.role, "administer"))


def standing(ask: Ask) -> str:
    """
    Return the position behind which a page asks for what is new. To be asked before the page's own data is read.
    """
    return ask.backlog.read(end_of_log)


def plain_page(template: str, **context: Any) -> Reply:
    """
    Return a page that is the same for everybody.
    """
    html = _environment().get_template(template).render(context)
    return Reply(data=html.encode(), media="text/html", headers=_HEADERS)


_HEADERS = {"Content-Security-Policy": CSP, "Cache-Control": "no-store", "X-Frame-Options": "DENY"}


def error_page(status: int, title: str, body: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
    """
    Return a page for a problem, and its headers.
    """
    html = _environment().get_template("error.html").render(status=status, title=title, problem=body)
    return html.encode(), _HEADERS
