"""
The service on a port of its own, for what needs a real connection.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import uvicorn

from backlog_store.backlog import Backlog
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.heads import Timely
from backlog_store.web.site import Asker, Site

__all__ = ["Served"]


class Served:
    """
    A service on a port of its own, for who signs in as *asker* says.
    """

    def __init__(
        self, backlog: Backlog, asker: Asker, *, http: type[Timely] = Timely, threads: int = 16, **settings: Any
    ) -> None:
        self.site = Site(backlog=backlog, sign_in=lambda _: asker, **{"stream_every_s": 0.02, **settings})
        app: Any = create_app(self.site, api_routes(), threads=threads)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, http=http, log_level="critical", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """
        Stop, and wait for it.
        """
        self.server.should_exit = True
        self.thread.join(10)
        self.site.close()
        self.socket.close()
