"""
`python -m backlog_store.cli` is `backlog`.
"""

from backlog_store.cli.main import main

main()
