"""
The service: the HTTP API and the pages, on Litestar. Needs the extra ``server``.

Adapters only: a request becomes a command or a query of a `Backlog` that is bound to who asks, and the answer a
response. No rules and no SQL stand here. See DESIGN.md.
"""
