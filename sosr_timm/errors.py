"""The exception that a script turns into one line and exit code 2, and how any other error is quoted in such a line."""

from __future__ import annotations


class UserError(Exception):
    """Something that the person who started the program can fix: what is wrong, where, and the nearest valid thing.

    Args:
        message: one line; line breaks that a quoted value brings along become spaces.
        on_one_rank: only this process knows of it, so it must be the one to print it.
    """

    def __init__(self, message: str, on_one_rank: bool = False):
        super().__init__(" ".join(message.splitlines()))
        self.on_one_rank = on_one_rank


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """What an error says, on one line; the name of its type where it says nothing.

    Args:
        error: or its text.
        limit: characters, after which the text is cut off.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def reason_of(error: BaseException) -> str:
    """Why the operating system refused, without number and path; of any other error, `one_line`."""
    return getattr(error, "strerror", None) or one_line(error)
