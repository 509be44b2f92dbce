"""The page's real server: where it listens, what it refuses, and how it ends."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_ext.tools.demo.app import MOST_BYTES
from tests.worlds.demo_world import Server, liking_run, serving

JSON = {"Content-Type": "application/json"}
LISTENING = "0A"  # in /proc/net/tcp


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("liking")
    with serving(liking_run(folder), folder) as running:
        yield running


def ask(server: Server, method: str, path: str, **kwargs: object) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, **kwargs)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_it_listens_on_loopback_alone(server: Server) -> None:
    rows = []
    for table in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")):
        rows += table.read_text().splitlines()[1:] if table.exists() else []
    sockets = [line.split()[1:4] for line in rows]
    listening = [local.split(":") for local, _, state in sockets if state == LISTENING]
    assert [at for at, port in listening if int(port, 16) == server.port] == ["0100007F"]


def test_it_answers(server: Server) -> None:
    status, page = ask(server, "GET", "/")
    assert (status, "BPR on world" in page) == (200, True)
    body = json.dumps({"ratings": [["4", 1]]})
    status, text = ask(server, "POST", "/answer", body=body, headers=JSON)
    tokens = [row["token"] for row in json.loads(text)["recommended"]]
    assert status == 200
    assert {int(token) % 2 for token in tokens[:7]} == {0}
    assert "4" not in tokens


def status_of(server: Server, *lines: str, body: bytes = b"") -> int:
    """Of a request written by hand, of which no byte is sent that the server does not read."""
    head = "\r\n".join(["POST /answer HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        return int(connection.recv(100).split()[1])


def test_a_large_request_is_refused(server: Server) -> None:
    kind = "Content-Type: application/json"
    assert status_of(server, kind, f"Content-Length: {MOST_BYTES + 1}") == 413
    chunk = f"{MOST_BYTES + 1:x}\r\n".encode() + b" " * (MOST_BYTES + 1)  # no length is told
    assert status_of(server, kind, "Transfer-Encoding: chunked", body=chunk) == 413
    fits = b" " * (MOST_BYTES - 3) + b"{}"
    assert status_of(server, kind, f"Content-Length: {len(fits)}", body=fits) == 200
    assert status_of(server, f"X-Long: {'x' * 16 * 1024}") == 431


def test_a_foreign_name_is_refused(server: Server) -> None:
    assert ask(server, "GET", "/", headers={"Host": f"evil.example:{server.port}"})[0] == 400
    assert ask(server, "GET", "/", headers={"X-Forwarded-Host": "evil.example"})[0] == 200
    both = {"Host": "evil.example", "X-Forwarded-Host": "localhost"}
    assert ask(server, "GET", "/", headers=both)[0] == 400


def test_a_taken_port_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{server.port}: Address"):
        Server(server.checkpoint, tmp_path, server.port)


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    with serving(liking_run(tmp_path), tmp_path) as server:
        assert ask(server, "GET", "/")[0] == 200
        assert server.stop() == 0
        assert "Traceback" not in server.errors
        with pytest.raises(ConnectionRefusedError):
            ask(server, "GET", "/")
