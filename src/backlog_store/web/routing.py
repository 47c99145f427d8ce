"""
Routes as data: what is asked where, who may ask it, and what comes back.

A handler is a plain function from an `Ask` to a `Reply`; it may block, for it runs in a bounded pool of threads (but
for a route that is answered at once). The table of routes is what the application, the OpenAPI description and the
matrix of permissions are made from: a route that is not in it does not exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO, TypeVar

from litestar import Request
from litestar.datastructures import Cookie
from msgspec import Struct, field

from backlog_store.access import Action, permits
from backlog_store.backlog import Backlog
from backlog_store.codec import encode
from backlog_store.errors import Fault, NotAllowed
from backlog_store.web.inputs import body_as
from backlog_store.web.problems import HttpProblem
from backlog_store.web.site import Asker, Site

__all__ = ["LIMIT", "Ask", "Param", "Reply", "Route", "Routes"]

T = TypeVar("T")


class Ask:
    """
    One request: the store bound to who asks, the parts of the path, the parameters, the body.
    """

    def __init__(
        self,
        site: Site,
        request: Request[Any, Any, Any],
        asker: Asker | None,
        body: bytes | BinaryIO,
        path: Mapping[str, str],
        params: Sequence[Param],
    ) -> None:
        self.site = site
        self.request = request
        self._asker = asker
        self._body = body
        self.path = path
        self._params = params

    @property
    def asker(self) -> Asker:
        """
        Return who asks. A route that needs nobody (`action` None) has none.
        """
        if self._asker is None:
            raise HttpProblem(401, "this needs to know who asks")
        return self._asker

    @property
    def body(self) -> bytes:
        """
        Return the body, whole.
        """
        return self._body if isinstance(self._body, bytes) else self._body.read()

    @property
    def stream(self) -> BinaryIO:
        """
        Return the body as a file, to be read while it is handled.
        """
        return BytesIO(self._body) if isinstance(self._body, bytes) else self._body

    @property
    def backlog(self) -> Backlog:
        """
        Return the store as who asks reaches it.
        """
        asker = self.asker
        return self.site.backlog.acting_as(asker.name, person=asker.person, scope=asker.scope)

    @property
    def parameters(self) -> dict[str, list[str]]:
        """
        Return the parameters of the query, each with all its values.
        """
        found: dict[str, list[str]] = {}
        for name, value in self.request.query_params.multi_items():
            found.setdefault(name, []).append(value)
        return found

    def strays(self) -> list[Fault]:
        """
        Return a fault for each parameter that the route does not take: a misspelt one must not pass for none.
        """
        known = ", ".join(param.name for param in self._params)
        told = f"no such parameter; known are {known}" if known else "no such parameter; it takes none"
        names = {param.name for param in self._params}
        return [Fault(f"/{name}", "", told) for name in self.parameters if name not in names]

    def text(self, name: str, default: str = "") -> str:
        """
        Return the last value of a parameter.
        """
        return self.parameters.get(name, [default])[-1]

    def body_as(self, kind: type[T]) -> T:
        """
        Return the JSON body as *kind*. Raises as `inputs.body_as`.
        """
        return body_as(self.body, kind, self.request)


class Reply(Struct, frozen=True, kw_only=True):
    """
    What is answered: *data* as JSON; *stream*, chunks made while they are sent; or *live*, chunks as they come.
    """

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"
    stream: Iterator[bytes] | None = None
    live: Callable[[], AsyncIterator[bytes]] | None = None
    cookies: Sequence[Cookie] = ()

    def content(self) -> bytes:
        """
        Return the body.
        """
        if self.status in (204, 303, 304):
            return b""
        return self.data if isinstance(self.data, bytes) else encode(self.data)


class Param(Struct, frozen=True):
    """
    A parameter of the query, for the description.
    """

    name: str
    help: str
    many: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


LIMIT = Param("limit", "How many at most.", schema={"type": "integer", "minimum": 1, "maximum": 1_000})


class Route(Struct, frozen=True, kw_only=True):
    """
    One operation. *action* is what the role of who asks must include (``None``: anybody may).

    *whole*: it is for who is bound to no part, for what it says or changes is about everything.
    *own*: it changes what is one's own alone, and is open to whoever may read.
    *body* is the type of a JSON body, *takes* the media types of any other; *answers* the type of each status.
    """

    method: str
    path: str
    handler: Callable[[Ask], Reply]
    action: Action | None
    summary: str
    params: Sequence[Param] = ()
    headers: Sequence[str] = ()
    body: Any = None
    takes: Sequence[str] = ()
    answers: Mapping[int, Any] = field(default_factory=lambda: {200: None})
    gives: str = "application/json"
    at_once: bool = False  # the handler touches nothing that may block, and waits for no thread
    whole: bool = False
    own: bool = False
    collects: bool = False  # the handler tells parameters that there are not with whatever else is wrong with them
    spooled: bool = False  # the body may be as large as `Limits.report`, and is read as a file

    @property
    def name(self) -> str:
        """
        Return the operation's name: that of its function.
        """
        return self.handler.__name__.strip("_")

    def check(self, asker: Asker) -> None:
        """
        Refuse who may not. Raises `NotAllowed`.
        """
        if self.action and asker.scope is not None and not permits(asker.scope.role, self.action):
            what = f"{self.method} {self.path}"
            raise NotAllowed(what, f"a {asker.scope.role} may not {self.action}")
        if self.whole and asker.scope is not None and not asker.scope.is_unbound:
            raise NotAllowed(
                f"{self.method} {self.path}", "this credential reaches a part, and this is about all of it"
            )


class Routes:
    """
    A table of routes under one prefix.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.routes: list[Route] = []

    def add(
        self, method: str, path: str, *, action: Action | None, **more: Any
    ) -> Callable[[Callable[[Ask], Reply]], Callable[[Ask], Reply]]:
        """
        Enter a function as the handler of a route; its docstring is the summary.
        """

        def enter(handler: Callable[[Ask], Reply]) -> Callable[[Ask], Reply]:
            summary = " ".join((handler.__doc__ or "").split())
            self.routes.append(
                Route(method=method, path=self.prefix + path, handler=handler, action=action, summary=summary, **more)
            )
            return handler

        return enter
