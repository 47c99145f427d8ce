"""
JUnit XML, as pytest, Surefire, Gradle, Jest and many others print it: failed and broken tests.

Read piece by piece with expat, so that no tree of the report is ever in memory. A document type is refused before
anything in it is expanded: entities are not needed here, and bombs are made of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat  # DTDs are refused below, which is what defusedxml does

from msgspec import Struct

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import text as t
from backlog_store.intake.keys import Ordinals, dedupe_key, fingerprint, fix_name, inputs
from backlog_store.intake.severity import priority
from backlog_store.intake.streams import read_all
from backlog_store.intake.values import Finding, Parsed, Refusal, ReportContext, merge_context
from backlog_store.model import Draft

__all__ = ["parse"]

_CHUNK = 64 * 1024
_DEPTH_MAX = 100
_TEXT_MAX = 20_000
_CUT = (
    expat.errors.XML_ERROR_NO_ELEMENTS,
    expat.errors.XML_ERROR_UNCLOSED_TOKEN,
    expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    expat.errors.XML_ERROR_PARTIAL_CHAR,
)
_ROOTS = ("testsuites", "testsuite")


class _Case(Struct):
    """
    One test case, as far as it has been read.
    """

    attributes: dict[str, str]
    suites: tuple[str, ...]  # the outermost first
    pointer: str
    kind: str = ""
    type: str = ""
    message: str = ""
    text: str = ""


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the failures and errors. Raises `InvalidInput` with line and column where the text is no JUnit XML.
    """
    data = read_all(stream)
    # Once through for its form, so that a report that was cut off is refused before its first case is taken in.
    for _ in _pieces(data, _Reader()):
        pass
    reader = _Reader()
    ordinals = Ordinals()
    for _ in _pieces(data, reader):
        for case in reader.cases:
            try:
                yield Finding(_draft(case, context, ordinals), case.pointer)
            except InvalidInput as error:
                yield Refusal(case.pointer, error.faults)


def _pieces(data: bytearray, reader: _Reader) -> Iterator[None]:
    """
    Feed the reader piece by piece; its cases are those of the last piece.
    """
    with memoryview(data) as view:
        for start in range(0, len(data), _CHUNK):
            reader.cases.clear()
            reader.feed(bytes(view[start : start + _CHUNK]), last=start + _CHUNK >= len(data))
            yield


class _Reader:
    """
    Collects finished test cases that did not pass, from pieces of XML.
    """

    def __init__(self) -> None:
        self.cases: list[_Case] = []
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity
        self._path: list[str] = []
        self._counts: list[dict[str, int]] = [{}]
        self._suites: list[str] = []
        self._case: _Case | None = None
        self._problem_depth = 0

    def feed(self, chunk: bytes, *, last: bool) -> None:
        """
        Parse one more piece. Raises `InvalidInput`.
        """
        try:
            self.parser.Parse(chunk, last)
        except expat.ExpatError as error:
            reason = expat.errors.messages.get(error.code, str(error))
            if last and reason in _CUT:
                reason = "ends in the middle: the report was cut off"
            raise InvalidInput([self._fault(error.lineno, error.offset, f"not valid XML: {reason}")],
                               what="report") from None  # fmt: skip
        except (LookupError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput([self._here(f"not valid XML: {error}")], what="report") from None

    def _fault(self, line: int, column: int, reason: str) -> Fault:
        return Fault("/".join(["", *self._path]), f"line {line}, column {column + 1}", reason)

    def _here(self, reason: str) -> Fault:
        return self._fault(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber, reason)

    def _doctype(self, *_: object) -> None:
        raise InvalidInput([self._here("a document type declaration is not taken: reports need none, and entities "
                                       "declared there can be bombs")], what="report")  # fmt: skip

    def _entity(self, *_: object) -> None:
        raise InvalidInput([self._here("entity declarations are not taken")], what="report")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self._path and name not in _ROOTS:
            raise InvalidInput([self._here(f"<{name}> is not JUnit XML; the root is one of {', '.join(_ROOTS)}")],
                               what="report")  # fmt: skip
        if len(self._path) >= _DEPTH_MAX:
            raise InvalidInput([self._here(f"nested deeper than {_DEPTH_MAX} levels")], what="report")
        count = self._counts[-1][name] = self._counts[-1].get(name, 0) + 1
        self._path.append(f"{name}[{count}]")
        self._counts.append({})
        if name == "testsuite":
            self._suites.append(attributes.get("name", ""))
        elif name == "testcase":
            self._case = _Case(attributes, tuple(self._suites), "/" + "/".join(self._path))
        elif self._case is not None and name in ("failure", "error") and not self._case.kind:
            self._case.kind = name
            self._case.type = attributes.get("type", "")
            self._case.message = attributes.get("message", "")
            self._problem_depth = len(self._path)

    def _end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        if len(self._path) == self._problem_depth:
            self._problem_depth = 0
        self._path.pop()
        self._counts.pop()
        if name == "testsuite":
            self._suites.pop()
        elif name == "testcase" and self._case is not None:
            if self._case.kind:
                self.cases.append(self._case)
            self._case = None

    def _data(self, data: str) -> None:
        if self._problem_depth and self._case is not None and len(self._case.text) < _TEXT_MAX:
            self._case.text += data


def _draft(case: _Case, context: ReportContext, ordinals: Ordinals) -> Draft:
    env, service, source, category = merge_context(context, kind="JUnit", source="junit", category="test_failure")
    given = {name: t.clean(case.attributes.get(name, "")) for name in ("name", "classname", "file", "line")}
    suite = t.clean(case.suites[-1]) if case.suites else ""
    if not given["name"]:
        raise InvalidInput([Fault(f"{case.pointer}/@name", "", "missing; a test case needs a name")], what="report")
    test = t.one_line(f"{given['classname']}.{given['name']}".strip("."), 200)
    text = t.clean(case.text).strip()
    message = t.clean(case.message).strip() or text.partition("\n")[0]
    verb = "fails" if case.kind == "failure" else "breaks"
    path = t.relative_path(given["file"], context.root)
    where = f"{path}:{given['line']}" if path and given["line"].isdigit() else path
    facts = (
        t.bullet("Test", t.code(test))
        + t.bullet("Suite", t.code(suite))
        + t.bullet("File", t.code(path))
        + t.bullet("Type", t.code(t.clean(case.type)))
    )
    told = t.fenced(t.steady(message)) if message else ""
    identity = {"suite": suite, "class": given["classname"], "test": given["name"]}
    # Not of the outer suites, which may be named after a machine's folders: they only tell equal ones apart.
    key = dedupe_key("junit", service, given["classname"], given["name"], fingerprint(*identity.values()))
    nth = ordinals.nth(key, *case.suites)
    meta = {"kind": case.kind, "type": t.clip(t.clean(case.type), 200), "output": t.clip(text)}
    return Draft(
        title=t.one_line(f"{test} {verb}: {t.one_line(t.steady(message), 120)}" if message else f"{test} {verb}"),
        env=env,
        service=service,
        category=category,
        description=f"{facts}\n{told}".strip(),
        priority=priority(context, "junit", case.kind),
        source=source,
        dedupe_key=key if nth == 1 else f"{key}#{nth}",
        evidence_refs={"locations": [where]} if where else {},
        tags=tuple(dict.fromkeys([*context.tags, "test"])),
        meta={name: value for name, value in meta.items() if value},
        fix=fix_name("test", given["classname"] or suite),
        key_inputs=inputs(service=service, **identity, nth="" if nth == 1 else str(nth)),
        volatile=("output",),
    )
