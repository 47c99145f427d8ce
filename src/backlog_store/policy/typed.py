"""
From nodes to what a section's struct says: types, bounds, names, each fault at its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec.inspect as mi
from msgspec.structs import replace

from backlog_store.policy.findings import Finding, Mark, nearest
from backlog_store.policy.forms import CHECKS, FORMS
from backlog_store.policy.nodes import Listing, Node, Scalar, Table, escaped

__all__ = ["Typist", "struct_fields"]

_INT = re.compile(r"[-+]?\d{1,15}")
_FLOAT = re.compile(r"[-+]?\d{1,15}(\.\d{1,15})?")
_BOOLEANS = {"true": True, "false": False}
_BOOLEANS_OF_YAML_1_1 = {"yes": "true", "on": "true", "no": "false", "off": "false"}


class _Wrong(Exception):
    pass


@cache
def struct_fields(cls: type) -> tuple[mi.Field, ...]:
    """
    Return the fields of a section's struct, with their types, bounds and descriptions.
    """
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    return info.fields


class Typist:
    """
    Reads nodes as types. `findings` are the faults so far; `marks` and `key_marks` say where each pointer stands.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.marks: dict[str, Mark] = {}
        self.key_marks: dict[str, Mark] = {}
        #: Line of each struct within a list: the rules, windows, steps that events and `explain` name.
        self.lines: dict[str, int] = {}

    def section(self, node: Node, cls: type, pointer: str) -> dict[str, Any] | None:
        """
        Return the members of a section as plain data, or ``None`` where something was wrong with it.
        """
        before = len(self.findings)
        try:
            value: dict[str, Any] = self._struct(node, mi.type_info(cls), pointer)
        except _Wrong:
            return None
        return value if len(self.findings) == before else None

    def wrong(self, node: Node, pointer: str, reason: str, suggestion: str = "") -> _Wrong:
        """
        Note a fault at a node.
        """
        self.findings.append(Finding(pointer=pointer, reason=reason, suggestion=suggestion, mark=node.mark))
        return _Wrong()

    def unknown(self, name: str, mark: Mark, pointer: str, known: Sequence[str], what: str) -> None:
        """
        Note a name that is none of those known.
        """
        close = nearest(name, known)
        reason = f"there is no {what} {name!r}" + ("" if close else f"; known are {', '.join(known)}")
        self.findings.append(Finding(pointer=pointer, reason=reason, suggestion=close, mark=mark))

    def read(self, node: Node, wanted: mi.Type, pointer: str) -> Any:
        """
        Return a node as plain data of the type *wanted*. Raises `_Wrong` once the fault is noted.
        """
        self.marks[pointer] = node.mark
        form = ""
        while isinstance(wanted, mi.Metadata):
            form = form or (wanted.extra or {}).get("form", "")
            wanted = wanted.type
        if form in FORMS:
            return self._formed(node, FORMS[form], wanted, pointer)
        reader = _READERS.get(type(wanted))
        assert reader is not None, f"no section may have a field of {wanted}"
        value = reader(self, node, wanted, pointer)
        if form in CHECKS and (found := [self.placed(finding) for finding in CHECKS[form](value, pointer)]):
            self.findings += found
            raise _Wrong
        return value

    def placed(self, finding: Finding) -> Finding:
        """
        Return *finding* with the place of its pointer, or of the nearest one around it.
        """
        if finding.mark is not None or finding.file:
            return finding
        pointer = finding.pointer
        if finding.at_key and pointer in self.key_marks:
            return replace(finding, mark=self.key_marks[pointer])
        while pointer:
            mark = self.marks.get(pointer) or self.key_marks.get(pointer)
            if mark is not None:
                return replace(finding, mark=mark)
            pointer = pointer.rpartition("/")[0]
        return finding

    def _formed(self, node: Node, form: Callable[[str], Any], wanted: Any, pointer: str) -> Any:
        text = self._scalar(node, pointer, "a value")
        try:
            value = form(text.text)
        except ValueError as error:
            raise self.wrong(node, pointer, f"{text.text!r} {error}") from None
        return self._bounded(node, value, wanted, pointer) if isinstance(wanted, mi.IntType) else value

    def _scalar(self, node: Node, pointer: str, what: str) -> Scalar:
        if not isinstance(node, Scalar):
            found = "a list" if isinstance(node, Listing) else "a table"
            raise self.wrong(node, pointer, f"is {found}; {what} belongs here")
        if node.text == "" and not node.quoted:
            raise self.wrong(node, pointer, "is empty; leave the key out, or give it a value")
        return node

    def _text(self, node: Node, wanted: mi.StrType, pointer: str) -> str:
        text = self._scalar(node, pointer, "a text").text
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self.wrong(node, pointer, "holds a character that no store can keep")
        if wanted.min_length and len(text.strip()) < wanted.min_length:
            raise self.wrong(node, pointer, "is empty")
        if wanted.max_length is not None and len(text) > wanted.max_length:
            raise self.wrong(node, pointer, f"has {len(text)} characters; at most {wanted.max_length} are kept")
        if wanted.pattern is not None and not re.search(wanted.pattern, text):
            raise self.wrong(node, pointer, f"{text!r} does not look like {wanted.pattern}")
        return text

    def _int(self, node: Node, wanted: mi.IntType, pointer: str) -> int:
        scalar = self._scalar(node, pointer, "a whole number")
        if scalar.quoted or not _INT.fullmatch(scalar.text):
            raise self.wrong(node, pointer, f"{scalar.text!r} is no whole number")
        return int(self._bounded(node, int(scalar.text), wanted, pointer))

    def _float(self, node: Node, wanted: mi.FloatType, pointer: str) -> float:
        scalar = self._scalar(node, pointer, "a number")
        if scalar.quoted or not _FLOAT.fullmatch(scalar.text):
            raise self.wrong(node, pointer, f"{scalar.text!r} is no number; write 0.25")
        return float(self._bounded(node, float(scalar.text), wanted, pointer))

    def _bounded(self, node: Node, value: float, wanted: mi.IntType | mi.FloatType, pointer: str) -> float:
        least, most = wanted.ge, wanted.le
        if (least is not None and value < least) or (most is not None and value > most):
            bounds = f"at least {least:g}" if most is None else f"at most {most:g}"
            if least is not None and most is not None:
                bounds = f"from {least:g} to {most:g}"
            raise self.wrong(node, pointer, f"is {value:g}; {bounds} is possible")
        return value

    def _bool(self, node: Node, _: mi.BoolType, pointer: str) -> bool:
        scalar = self._scalar(node, pointer, "true or false")
        value = _BOOLEANS.get(scalar.text)
        if value is None or scalar.quoted:
            near = _BOOLEANS_OF_YAML_1_1.get(scalar.text.lower(), "")
            raise self.wrong(node, pointer, f"{scalar.text!r} is neither true nor false", near)
        return value

    def _literal(self, node: Node, wanted: mi.LiteralType, pointer: str) -> Any:
        text = self._scalar(node, pointer, f"one of {', '.join(map(str, wanted.values))}").text
        if text not in wanted.values:
            known = [str(value) for value in wanted.values]
            close = nearest(text, known)
            reason = f"{text!r} is not possible here" + ("" if close else f"; one of {', '.join(known)}")
            raise self.wrong(node, pointer, reason, close)
        return text

    def _list(self, node: Node, wanted: mi.ListType | mi.VarTupleType, pointer: str) -> list[Any]:
        if not isinstance(node, Listing):
            raise self.wrong(node, pointer, "is no list; write - in front of each entry, or [a, b]")
        if wanted.max_length is not None and len(node.items) > wanted.max_length:
            raise self.wrong(node, pointer, f"has {len(node.items)} entries; at most {wanted.max_length} are possible")
        if wanted.min_length and len(node.items) < wanted.min_length:
            raise self.wrong(node, pointer, "is empty")
        return self._all([(f"{pointer}/{index}", one, wanted.item_type) for index, one in enumerate(node.items)])

    def _all(self, parts: Sequence[tuple[str, Node, mi.Type]]) -> list[Any]:
        """
        Read every part, so that all faults are told, not only the first.
        """
        values, faulty = [], False
        for pointer, node, wanted in parts:
            try:
                values.append(self.read(node, wanted, pointer))
            except _Wrong:
                faulty = True
        if faulty:
            raise _Wrong
        return values

    def _dict(self, node: Node, wanted: mi.DictType, pointer: str) -> dict[str, Any]:
        if not isinstance(node, Table):
            raise self.wrong(node, pointer, "is no table of keys and values")
        parts, names, faulty = [], [], False
        for name, (mark, value) in node.entries.items():
            here = f"{pointer}/{escaped(name)}"
            self.key_marks[here] = mark
            try:
                names.append(self.read(Scalar(name, mark, quoted=True), wanted.key_type, here))
            except _Wrong:
                faulty = True
            parts.append((here, value, wanted.value_type))
        values = self._all(parts)
        if faulty:
            raise _Wrong
        return dict(zip(names, values, strict=True))

    def _struct(self, node: Node, wanted: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(node, Table):
            raise self.wrong(node, pointer, "is no table of keys and values")
        # A struct stands where its first key does: that is the line that people look for.
        self.marks[pointer] = next((mark for mark, _ in node.entries.values()), node.mark)
        if pointer.rpartition("/")[2].isdigit():
            self.lines[pointer] = self.marks[pointer].line
        fields = {one.encode_name: one for one in wanted.fields}
        names, parts = [], []
        for name, (mark, value) in node.entries.items():
            here = f"{pointer}/{escaped(name)}"
            self.key_marks[here] = mark
            if name not in fields:
                self.unknown(name, mark, here, list(fields), "key")
                continue
            names.append(name)
            parts.append((here, value, fields[name].type))
        missing = [name for name, one in fields.items() if one.required and name not in node.entries]
        if missing:
            self.findings.append(
                Finding(pointer=pointer, reason=f"lacks {' and '.join(missing)}", mark=self.marks[pointer])
            )
        values = self._all(parts)
        if missing or len(names) != len(node.entries):
            raise _Wrong
        return dict(zip(names, values, strict=True))

    def _union(self, node: Node, wanted: mi.UnionType, pointer: str) -> Any:
        """
        Read one of several types: which one, the kind of node says.
        """
        kinds = [_bare(one) for one in wanted.types]
        shape = (mi.ListType, mi.VarTupleType) if isinstance(node, Listing) else (
            (mi.StructType, mi.DictType) if isinstance(node, Table) else ())  # fmt: skip
        of_lists = (mi.ListType, mi.VarTupleType, mi.StructType, mi.DictType, mi.NoneType)
        for one, kind in zip(wanted.types, kinds, strict=True):
            if isinstance(kind, shape) if shape else not isinstance(kind, of_lists):
                return self.read(node, one, pointer)
        for one, kind in zip(wanted.types, kinds, strict=True):
            if not isinstance(kind, mi.NoneType):
                return self.read(node, one, pointer)  # it is not, and that is what will be said
        raise AssertionError(wanted)


def _bare(wanted: mi.Type) -> mi.Type:
    while isinstance(wanted, mi.Metadata):
        wanted = wanted.type
    return wanted


_READERS: Mapping[type[mi.Type], Callable[[Typist, Node, Any, str], Any]] = {
    mi.StrType: Typist._text,
    mi.IntType: Typist._int,
    mi.FloatType: Typist._float,
    mi.BoolType: Typist._bool,
    mi.LiteralType: Typist._literal,
    mi.ListType: Typist._list,
    mi.VarTupleType: Typist._list,
    mi.DictType: Typist._dict,
    mi.StructType: Typist._struct,
    mi.UnionType: Typist._union,
}
