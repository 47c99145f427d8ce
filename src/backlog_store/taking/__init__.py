"""
Taking in a report, for whoever brings it: the command line and the service say the same, and do the same.

::

    format, parsed = read_report(stream, context)
    account = take_in(backlog, parsed, Taking(baseline=True))
    report_as_data(account, format, taking)     what `backlog report --json` prints and the API answers
"""

from backlog_store.taking.asked import due_days_of, run_plan_of
from backlog_store.taking.intake import take_in
from backlog_store.taking.telling import (
    applied_as_data,
    changes_of,
    counts_of,
    plan_as_data,
    report_as_data,
    run_as_data,
    runs_as_data,
)
from backlog_store.taking.values import (
    MAIN,
    VERDICTS,
    Account,
    FailOn,
    RunPlan,
    RunTold,
    Taking,
    branch_of,
    opens_on,
)

__all__ = [
    "MAIN", "VERDICTS", "Account", "FailOn", "RunPlan", "RunTold", "Taking", "applied_as_data", "branch_of",
    "changes_of", "counts_of", "due_days_of", "opens_on", "plan_as_data", "report_as_data", "run_as_data",
    "run_plan_of", "runs_as_data", "take_in",
]  # fmt: skip
