"""
Which sections a policy has. A new one is a module with its struct, a line here, and a field of `Policy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from backlog_store.policy import Policy
from backlog_store.policy.calendars import Calendars
from backlog_store.policy.closing import Closing
from backlog_store.policy.due import Due
from backlog_store.policy.escalation import Escalation
from backlog_store.policy.findings import Finding
from backlog_store.policy.opening import Activation, Budgets
from backlog_store.policy.owners import Owners
from backlog_store.policy.priority import Priorities
from backlog_store.policy.reopening import Reopening
from backlog_store.policy.retention import Retention
from backlog_store.policy.sla import Sla
from backlog_store.policy.suppression import Suppression
from backlog_store.policy.wip import Wip
from backlog_store.policy.workflow import Workflow

__all__ = ["SECTIONS", "Section"]


class Section(Protocol):
    """
    A section: a frozen struct whose fields are the keys of the file, each annotated with its bounds and description.
    """

    def check(self, policy: Policy) -> Iterable[Finding]:
        """
        Yield what is wrong or odd beyond the types: rules that can never apply, names of other sections that are not.
        """
        ...


#: In the order of the reference. The key in the file is the name of the field of `Policy`.
SECTIONS: Mapping[str, type[Section]] = {
    "workflow": Workflow,
    "priority": Priorities,
    "owners": Owners,
    "suppression": Suppression,
    "closing": Closing,
    "reopen": Reopening,
    "activation": Activation,
    "budgets": Budgets,
    "wip": Wip,
    "calendars": Calendars,
    "due": Due,
    "sla": Sla,
    "escalation": Escalation,
    "retention": Retention,
}
