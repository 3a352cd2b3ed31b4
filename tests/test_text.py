"""Text from files and libraries becomes one printable line of bounded length."""

from __future__ import annotations

import pytest

from gvf.errors import ClipError
from gvf.text import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Walk cycle", "Walk cycle"),
        ("a\n\tb\x00c\x7fd", "a b c d"),
        ("wave\ud800", "wave\N{REPLACEMENT CHARACTER}"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),  # a pair in two halves is the character that it stands for
        ("left\u202eright\u200b", "leftright"),
        ("line\u2028line", "line line"),
        ("<_io.BytesIO object at 0x7f3a1c2b4d60>", "<_io.BytesIO object at 0x...>"),
        ("byte 0x1F", "byte 0x1F"),
        ("", ""),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected
    clean(text).encode("utf-8")


def test_long_text_is_cut_with_a_mark():
    assert clean("x" * 900, 100) == "x" * 99 + "…"
    assert clean("x" * 100, 100) == "x" * 100


def test_the_message_of_a_clip_error_is_clean():
    error = ClipError("invalid", "KTX\ud800 at 0x7f3a1c2b4d60\n" + "y" * 9999)
    assert error.message.startswith("KTX\N{REPLACEMENT CHARACTER} at 0x... yyy")
    assert len(error.message) == 500
