"""
How long the random tests run: short by default, longer by environment, ``TEST_STEPS=100000 make test``.

The names do not begin with ``BACKLOG_``: those are settings of the program, which refuses any that it does not know.
"""

from __future__ import annotations

import os

__all__ = [
    "CHANGES", "CRASH_STATES", "FAULTS", "FORKS", "HA_ROUNDS", "KILLS", "LISTED", "MALFORMED", "POWER_CUTS", "PROGRAM",
    "RACES", "REQUESTS", "RUN_HISTORIES", "SEEDS", "SERVED_KILLS", "SIMULATIONS", "STEPS", "SYSCALLS",
    "WALK", "WALKS",
]  # fmt: skip

#: Steps of the agreement machine, at each of its two levels, cut into programs with a seed of their own: several
#: shorter programs see more different beginnings than one long one.
STEPS = int(os.environ.get("TEST_STEPS", "2000"))
PROGRAM = min(STEPS, 500)
_FIRST = int(os.environ.get("TEST_SEED", "1"))
SEEDS = range(_FIRST, _FIRST + max(1, STEPS // PROGRAM))
#: Steps of the walk over all kinds of commands, each of them proved, cut into walks with a seed of their own.
_WALKED = int(os.environ.get("TEST_WALK", "200"))
WALK = min(_WALKED, 100)
WALKS = range(_FIRST, _FIRST + max(1, _WALKED // WALK))
#: Pairs of random commands that race.
RACES = int(os.environ.get("TEST_RACES", "30"))
#: Changes of all clients together in each concurrent history.
CHANGES = int(os.environ.get("TEST_CHANGES", "400"))
#: Faults of a cluster of three PostgreSQL, one after the other; in more than four the whole machine dies, too.
HA_ROUNDS = int(os.environ.get("TEST_HA_ROUNDS", "4"))
#: Malformed inputs, of all kinds together.
MALFORMED = int(os.environ.get("TEST_MALFORMED", "5000"))
#: Outages of a real server, one after the other; twelve are one of each kind.
FAULTS = int(os.environ.get("TEST_FAULTS", "24"))
#: States that a crash may leave of a journal.
CRASH_STATES = int(os.environ.get("TEST_CRASH_STATES", "50000"))
#: Children that a process forks while its failover executor is busy.
FORKS = int(os.environ.get("TEST_FORKS", "60"))
#: Writers killed at named points of each durable backend and of `auto`; to 40 of these come 25 at random instants.
KILLS = int(os.environ.get("TEST_KILLS", "40"))
#: Power cuts of each file system under each backend that keeps files.
POWER_CUTS = int(os.environ.get("TEST_POWER_CUTS", "20"))
#: Items of the larger of two backlogs that are listed.
LISTED = int(os.environ.get("TEST_LISTED", "100000"))
#: Seeds of the simulation of `auto`.
SIMULATIONS = int(os.environ.get("TEST_SIMULATIONS", "400"))
#: Random histories of runs, people's edits and changes of policy, half on memory and half on a durable backend.
RUN_HISTORIES = int(os.environ.get("TEST_RUN_HISTORIES", "60"))
#: System calls of writers that fail.
SYSCALLS = int(os.environ.get("TEST_SYSCALLS", "400"))
#: Requests of the API that are made up from its description.
REQUESTS = int(os.environ.get("TEST_REQUESTS", "600"))
#: Times that a service under load is killed and started again, on each durable backend.
SERVED_KILLS = int(os.environ.get("TEST_SERVED_KILLS", "1"))
