"""The page served on this machine while runs are under way, made anew from their files when they change."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError, reason_of

LOOPBACK = "127.0.0.1"


class PageServer(ThreadingHTTPServer):
    """Answers for the page, for its state, and for nothing else.

    Args:
        port: to listen at; 0: any that is free.
        make: gives the page as text, from the state of its files.
        state: gives a text that changes when the files do.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, make: Callable[[str], str], state: Callable[[], str]):
        self.make, self.state = make, state
        self._lock = threading.Lock()
        self._made: tuple[str, bytes] = ("", b"")
        super().__init__((LOOPBACK, port), Handler)

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def page(self) -> bytes:
        """The page of the files as they are now; made once for each state of them.

        Raises:
            UserError: a file cannot be read now.
        """
        with self._lock:
            now = self.state()
            if self._made[0] != now:
                self._made = now, self.make(now).encode("utf-8", "backslashreplace")
            return self._made[1]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: PageServer
    server_version = "sosr-page"
    sys_version = ""

    def do_GET(self) -> None:
        # A page of another site that a browser resolves to this machine has another name in its Host.
        port = self.server.server_address[1]
        if self.headers.get("Host", "") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"this address serves 127.0.0.1 only\n")
            return
        try:
            if self.path == "/":
                answer = HTTPStatus.OK, "text/html", self.server.page()
            elif self.path == "/state":
                answer = HTTPStatus.OK, "text/plain", self.server.state().encode()
            else:
                answer = HTTPStatus.NOT_FOUND, "text/plain", b"not found\n"
        # A directory may vanish while it is listed; the next request sees what is left.
        except (UserError, OSError) as error:
            words = (str(error) if isinstance(error, UserError) else reason_of(error)).encode(
                "utf-8", "backslashreplace"
            )
            answer = HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", words
        self._answer(*answer)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except ConnectionError:  # the browser has left
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not printed."""


def open_server(port: int, make: Callable[[str], str], state: Callable[[], str]) -> PageServer:
    """A server on the loopback address.

    Raises:
        UserError: the port is taken or may not be used.
    """
    try:
        return PageServer(port, make, state)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port} is taken by another program; name another port, or 0 for a free one"
            ) from None
        raise UserError(f"--port {port} cannot be used ({reason_of(error)})") from None


def serve(server: PageServer) -> int:
    """Answer requests until Ctrl-C or SIGTERM; returns the exit code."""

    def stop(*received: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)
        server.server_close()
    return 0


def state_of(paths: Iterable[Path]) -> str:
    """A hash of names, sizes and times of files and of the files in directories: it changes when they do."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                about = file.stat()
            except OSError:
                continue
            if not file.is_dir():
                digest.update(
                    f"{os.fspath(file)}\0{about.st_size}\0{about.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
                )
    return digest.hexdigest()[:32]
