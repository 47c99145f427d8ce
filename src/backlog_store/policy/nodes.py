"""
A file as a tree of nodes with their places, before it is known what they mean. YAML is read here, TOML in `tomltree`.

Every plain scalar of YAML is a text until a section says what it wants: ``no`` is no boolean and ``22:30`` no number of
seconds, as YAML 1.1 would have it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from backlog_store.policy.findings import Finding, Mark

__all__ = ["Listing", "Node", "Scalar", "Table", "Unreadable", "read_yaml"]

NODES_MAX = 20_000
_DEPTH_MAX = 40
_SCALAR_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}


class Scalar(Struct, frozen=True):
    """
    A value as written; *quoted* (then it is a text whatever it looks like).
    """

    text: str
    mark: Mark
    quoted: bool = False


class Listing(Struct, frozen=True):
    """
    Values in order.
    """

    items: tuple[Any, ...]
    mark: Mark


class Table(Struct, frozen=True):
    """
    Keys, each with where it stands, and their values.
    """

    entries: dict[str, tuple[Mark, Any]]
    mark: Mark


Node = Scalar | Listing | Table


class Unreadable(Exception):
    """
    The text is not of its format: one finding says where.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.reason)
        self.finding = finding


def read_yaml(text: str) -> tuple[Node | None, list[Finding]]:
    """
    Return the tree of a YAML document (``None`` for an empty one) and the keys that stand twice.

    Raises `Unreadable`.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(place.line + 1, place.column + 1) if place is not None else None
        reason = f"is not YAML: {error.problem or error.context}"
        raise Unreadable(Finding(pointer="", reason=reason, mark=mark)) from None
    except yaml.YAMLError as error:
        raise Unreadable(Finding(pointer="", reason=f"is not YAML: {' '.join(str(error).split())}")) from None
    except RecursionError:
        raise Unreadable(Finding(pointer="", reason="is nested too deeply")) from None
    if root is None:
        return None, []
    tree = _Yaml()
    return tree.node(root, "", 0), tree.findings


class _Yaml:
    """
    Turns what PyYAML composed into nodes.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.count = 0

    def node(self, node: Any, pointer: str, depth: int) -> Node:
        import yaml

        mark = _mark(node)
        self.count += 1
        if self.count > NODES_MAX or depth > _DEPTH_MAX:
            limit = f"{NODES_MAX:,} values" if self.count > NODES_MAX else f"{_DEPTH_MAX} values inside each other"
            raise Unreadable(Finding(pointer=pointer, reason=f"holds more than {limit}", mark=mark))
        if isinstance(node, yaml.ScalarNode):
            if node.tag not in _SCALAR_TAGS:
                self._refuse_tag(node, pointer, mark)
            return Scalar(node.value, mark, quoted=node.style is not None)
        if isinstance(node, yaml.SequenceNode):
            if node.tag != "tag:yaml.org,2002:seq":
                self._refuse_tag(node, pointer, mark)
            items = [self.node(one, f"{pointer}/{index}", depth + 1) for index, one in enumerate(node.value)]
            return Listing(tuple(items), mark)
        if node.tag != "tag:yaml.org,2002:map":
            self._refuse_tag(node, pointer, mark)
        entries: dict[str, tuple[Mark, Node]] = {}
        for key, value in node.value:
            place = _mark(key)
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            here = f"{pointer}/{escaped(name)}"
            if not isinstance(key, yaml.ScalarNode):
                self.findings.append(Finding(pointer=pointer, reason="a key is a name, no list or table", mark=place))
            elif name in entries:
                first = entries[name][0].line
                reason = f"stands twice; first in line {first}"
                self.findings.append(Finding(pointer=here, reason=reason, mark=place))
            else:
                entries[name] = (place, self.node(value, here, depth + 1))
        return Table(entries, mark)

    def _refuse_tag(self, node: Any, pointer: str, mark: Mark) -> None:
        self.findings.append(Finding(pointer=pointer, reason=f"has the YAML tag {node.tag}; leave it out", mark=mark))


def escaped(name: str) -> str:
    """
    Return a key as a part of a JSON pointer.
    """
    return name.replace("~", "~0").replace("/", "~1")


def _mark(node: Any) -> Mark:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Mark(start.line + 1, start.column + 1, max(1, width))
