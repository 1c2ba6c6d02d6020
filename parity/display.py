"""Names from untrusted files as messages show them: without anything that acts on a terminal, and not too long."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import islice

MAX_LISTED = 10
"""Maximum number of entries that a message lists; the rest are only counted."""
MAX_NAME = 80
"""Maximum number of characters of a name in a message."""
# Letters and a symbol that show nothing. Controls of terminals, of direction and of joining are not printable anyway.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def printable(text: str) -> str:
    """Write escapes for all characters that move, colour, hide or reorder what a terminal shows; keep line ends."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(character if _harmless(character) else _escape(character) for character in text)


def short(name: object) -> str:
    """A key as shown in a message: a hostile key may be very long, or not have a usable text at all."""
    if isinstance(name, str):
        return printable(repr(cut(name)))
    return repr(name) if type(name) is int and abs(name) < 2**63 else f"of type {kind(name)}"


def cut(text: str) -> str:
    """The text, without its middle if it is too long."""
    if len(text) <= MAX_NAME:
        return text
    half = MAX_NAME // 2
    return f"{text[:half]}...{text[len(text) - half + 3 :]}"


def plain(name: str) -> str:
    """A key as lists of keys show it, in one line and without quotes."""
    return printable(cut(name)).replace("\n", "\\n")


def slashed(path: Iterable[object]) -> str:
    """A path of keys as shown in a message."""
    return printable(repr(joined(path)))


def joined(path: Iterable[object]) -> str:
    """A path of keys in one text, each of them cut: a long key may have very many entries below it."""
    return "/".join(cut(name) if isinstance(name, str) else short(name) for name in path)


def kind(value: object) -> str:
    """The name of the kind of a value: its type, or what the description of a pickled value says."""
    return printable(str(getattr(value, "what", type(value).__name__)))


def listed(entries: Iterable[str], separator: str = "; ") -> str:
    """The first entries, and the number of further ones."""
    rest = iter(entries)
    shown = list(islice(rest, MAX_LISTED))
    more = sum(1 for _ in rest)
    return separator.join(shown) + (f"{separator}and {more:,} more" if more else "")


def _harmless(character: str) -> bool:
    if character == "\n":
        return True
    # Marks are drawn over the character before them, and some are not drawn at all.
    return character.isprintable() and character not in _BLANK and not unicodedata.category(character).startswith("M")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
