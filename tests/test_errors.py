"""How an error is quoted in a line of text."""

from sosr_timm.errors import UserError, one_line, reason_of


def test_an_error_becomes_one_line():
    assert one_line(ValueError("first\n   second\tthird")) == "first second third"
    assert one_line(KeyError()) == "KeyError"
    assert one_line("a\nb") == "a b"


def test_a_long_text_is_cut_off():
    assert len(one_line(ValueError("x" * 1000))) == 300
    assert one_line(ValueError("word " * 10), limit=12) == "word word..."


def test_the_reason_of_the_operating_system_is_told_without_its_number():
    assert reason_of(OSError(28, "No space left on device", "/tmp/file")) == "No space left on device"
    assert reason_of(OSError("disk full")) == "disk full"
    assert reason_of(ValueError("a\nb")) == "a b"


def test_a_user_error_is_one_line():
    assert str(UserError("a\nb")) == "a b"
