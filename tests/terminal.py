"""A pseudo-terminal of a given width, for what a person sees."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from contextlib import contextmanager

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """What was written to the terminal.

    Attributes:
        text: everything, without control codes.
    """

    text = ""

    @property
    def pieces(self) -> list[str]:
        """Every line and every state of a line that was written over, without trailing blanks."""
        return [piece.rstrip() for piece in re.split(r"[\r\n]+", self.text) if piece.strip()]


@contextmanager
def terminal(monkeypatch, width: int):
    """Standard output and standard error are a terminal of `width` columns inside; gives the screen."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    chunks: list[bytes] = []

    def drain():
        try:
            while chunk := os.read(master, 65536):
                chunks.append(chunk)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    screen = Screen()
    stream = os.fdopen(slave, "w", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("TERM", "xterm-256color")
        try:
            yield screen
        finally:
            stream.close()
    reader.join(timeout=5)
    os.close(master)
    screen.text = CODES.sub("", b"".join(chunks).decode())
