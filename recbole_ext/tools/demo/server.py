"""The server of the page: waitress, with limits on what it accepts."""

from __future__ import annotations

from typing import Any

import waitress
from flask import Flask

from recbole_ext.tools.demo.app import MOST_BYTES


def create_server(app: Flask, host: str, port: int) -> Any:
    """Create a server that listens.

    Args:
        app: the application, from :func:`recbole_ext.tools.demo.app.create_app`.
        host: an address of this machine.
        port: the port; 0 takes any that is free.

    Returns:
        waitress's server, whose ``run`` serves until Ctrl-C, and whose ``effective_port`` is the
        port.

    Raises:
        OSError: if the address is not one of this machine, or the port is taken.
    """
    try:
        return waitress.create_server(
            app,
            host=host,
            port=port,
            threads=4,
            connection_limit=50,
            channel_timeout=30,
            max_request_body_size=MOST_BYTES,
            max_request_header_size=16 * 1024,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from None
