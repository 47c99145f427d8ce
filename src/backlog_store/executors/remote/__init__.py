"""
A backlog on a server: the same face over HTTP. Commands and reads go as JSON, see `wire`.
"""

from backlog_store.executors.remote.executor import RemoteExecutor

__all__ = ["RemoteExecutor"]
