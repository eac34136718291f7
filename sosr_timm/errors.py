"""The one exception that a script turns into a line of text and exit code 2."""


class UserError(Exception):
    """Something that whoever started the program can mend: what is wrong, where, and the nearest valid thing.

    Args:
        message: one line; line breaks that a quoted value brings along become spaces.
        on_one_rank: only this process knows of it, so it must be the one to print it.
    """

    def __init__(self, message: str, on_one_rank: bool = False):
        super().__init__(" ".join(message.splitlines()))
        self.on_one_rank = on_one_rank
