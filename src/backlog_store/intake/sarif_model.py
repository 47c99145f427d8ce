"""
The parts of SARIF 2.1.0 that findings are made of. Members not named here are passed over.

Go and JavaScript tools write ``null`` for empty lists and absent objects, so most members may be `None`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

__all__ = [
    "Artifact", "ArtifactLocation", "Driver", "Invocation", "Level", "Location", "Log", "Message", "Provenance",
    "Region", "Result", "Rule", "Run", "Suppression", "Tool",
]  # fmt: skip


class Message(Struct):
    """
    A text, or the id of one in the rule's `messageStrings` with arguments.
    """

    text: str | None = None
    markdown: str | None = None
    id: str | None = None
    arguments: list[str] | None = None


class ArtifactLocation(Struct):
    """
    A file: a URI, perhaps below a named base, or an index into the run's artifacts.
    """

    uri: str | None = None
    uriBaseId: str | None = None  # noqa: N815 - SARIF's own names
    index: int = -1


class Region(Struct):
    """
    A part of a file; lines and columns start at 1.
    """

    startLine: int = 0  # noqa: N815
    startColumn: int = 0  # noqa: N815
    endLine: int = 0  # noqa: N815
    endColumn: int = 0  # noqa: N815
    snippet: Message | None = None


class PhysicalLocation(Struct):
    """
    A file and the part of it.
    """

    artifactLocation: ArtifactLocation | None = None  # noqa: N815
    region: Region | None = None


class LogicalLocation(Struct):
    """
    A function, a resource: what has a name and perhaps no file.
    """

    fullyQualifiedName: str | None = None  # noqa: N815
    name: str | None = None


class Location(Struct):
    """
    Where a finding is.
    """

    physicalLocation: PhysicalLocation | None = None  # noqa: N815
    logicalLocations: list[LogicalLocation] | None = None  # noqa: N815


class Level(Struct):
    """
    The level that a rule has unless a result says otherwise.
    """

    level: str | None = None


class Rule(Struct):
    """
    A rule of the tool.
    """

    id: str | None = None
    name: str | None = None
    shortDescription: Message | None = None  # noqa: N815
    defaultConfiguration: Level | None = None  # noqa: N815
    helpUri: str | None = None  # noqa: N815
    messageStrings: dict[str, Message] | None = None  # noqa: N815
    properties: dict[str, Any] | None = None


class Driver(Struct):
    """
    The tool itself, or an extension of it, with its rules.
    """

    name: str | None = None
    guid: str | None = None
    version: str | None = None
    semanticVersion: str | None = None  # noqa: N815
    rules: list[Raw] | None = None


class Tool(Struct):
    """
    The tool and its extensions.
    """

    driver: Driver
    extensions: list[Driver] | None = None


class ToolComponent(Struct):
    """
    A reference to the tool or an extension.
    """

    index: int = -1
    guid: str | None = None
    name: str | None = None


class RuleReference(Struct):
    """
    A reference to a rule, perhaps of an extension.
    """

    id: str | None = None
    index: int = -1
    toolComponent: ToolComponent | None = None  # noqa: N815


class Suppression(Struct):
    """
    A decision in the source not to report; it holds unless it is under review or rejected.
    """

    status: str | None = None
    kind: str | None = None


class Result(Struct):
    """
    One finding.
    """

    ruleId: str | None = None  # noqa: N815
    ruleIndex: int = -1  # noqa: N815
    rule: RuleReference | None = None
    kind: str | None = None
    level: str | None = None
    message: Message | None = None
    locations: list[Location] | None = None
    fingerprints: dict[str, Any] | None = None
    partialFingerprints: dict[str, Any] | None = None  # noqa: N815
    suppressions: list[Suppression] | None = None
    baselineState: str | None = None  # noqa: N815
    properties: dict[str, Any] | None = None


class Invocation(Struct):
    """
    How the tool ran.
    """

    executionSuccessful: bool | None = None  # noqa: N815
    endTimeUtc: str | None = None  # noqa: N815


class Artifact(Struct):
    """
    A file of the run.
    """

    location: ArtifactLocation | None = None


class Provenance(Struct):
    """
    The state of the repository.
    """

    revisionId: str | None = None  # noqa: N815


class Run(Struct):
    """
    One run of one tool; its results stay undecoded.
    """

    tool: Tool
    results: list[Raw] | None = None
    invocations: list[Invocation] | None = None
    artifacts: list[Artifact] | None = None
    originalUriBaseIds: dict[str, ArtifactLocation] | None = None  # noqa: N815
    versionControlProvenance: list[Provenance] | None = None  # noqa: N815


class Log(Struct):
    """
    The whole report; its runs stay undecoded.
    """

    runs: list[Raw] | None
    version: str | None = None
