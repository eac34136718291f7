"""The one exception that a script turns into a line of text and exit code 2."""


class UserError(Exception):
    """Something that whoever started the program can mend: what is wrong, where, and the nearest valid thing."""
