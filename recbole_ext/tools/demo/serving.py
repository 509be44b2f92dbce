"""Serve a page that asks for ratings and shows recommendations: ``recbole-ext demo``."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from ipaddress import IPv4Address
from logging import getLogger

DESCRIPTION = """\
Serve a page in the browser, on which you rate items and watch the recommendations change.

    recbole-ext demo saved/MeLU-….pth

The command needs Flask and waitress: pip install 'recbole_ext[demo]'. Only this machine can reach
the page, unless --host says otherwise. The page keeps nothing that is typed into it.
"""
TAKES_SETTINGS = False
NEEDED = {"flask": "Flask", "waitress": "waitress"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checkpoint, the address of the page and the length of its list."""
    parser.add_argument("checkpoint", help="path of the run's checkpoint")
    parser.add_argument(
        "--port", type=_port, default=8000, help="port to listen on; 0 takes any that is free"
    )
    parser.add_argument(
        "--host",
        type=IPv4Address,
        default=IPv4Address("127.0.0.1"),
        metavar="ADDRESS",
        help="address of this machine to listen on; 0.0.0.0 listens on all addresses",
    )
    parser.add_argument("--topk", type=int, default=10, help="number of items in the list")


def main(options: argparse.Namespace) -> str:
    """Serve the page until Ctrl-C."""
    _check_extra()
    _serve(options)
    return ""


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, got {port}")
    return port


def _check_extra() -> None:
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise ValueError(
            f"the web page needs {' and '.join(missing)}: pip install 'recbole_ext[demo]'"
        )


def _serve(options: argparse.Namespace) -> None:
    from recbole_ext.tools.demo.app import create_app, trusted_hosts
    from recbole_ext.tools.demo.server import create_server
    from recbole_ext.tools.new_users import load

    host: IPv4Address = options.host
    app = create_app(load(options.checkpoint), options.topk, trusted_hosts(host))
    if not host.is_loopback:
        getLogger(__name__).warning(
            f"--host={host}: everybody who can reach this machine can use the page; there is no "
            "password and no encryption"
        )
    server = create_server(app, str(host), options.port)
    print(f"http://{host}:{server.effective_port}/ (Ctrl-C ends it)", flush=True)
    server.run()
    server.close()
