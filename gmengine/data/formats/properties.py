"""Java's .properties files: keys and values as text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gmengine.errors import FileFormatError

_BLANKS = " \t\f"
_ENTRY = re.compile(r"((?:[^ \t\f:=\\]|\\.)*+)[ \t\f]*+[:=]?+[ \t\f]*+(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse_properties(data: bytes, name: str) -> dict[str, str]:
    r"""Return the entries ``key = value`` of a .properties file (java.util.Properties, ISO 8859-1).

    Keys end at a blank, ``=`` or ``:``. ``\uXXXX``, ``\t``, ``\n``, ``\r`` and ``\f`` are escapes; before
    any other character a backslash is dropped, and at the end of a line it says that the line goes on. Of
    equal keys the last counts.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        The file, as errors name it.

    Raises
    ------
    FileFormatError
        If ``\u`` is not followed by four hexadecimal digits.
    """
    entries = {}
    for line in _lines(data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")):
        match = _ENTRY.match(line)
        if match:
            try:
                entries[_unescape(match[1])] = _unescape(match[2])
            except FileFormatError as error:
                raise FileFormatError(f"{name}: {error} in {line[:60]!r}") from None
    return entries


def _lines(text: str) -> Iterator[str]:
    """Yield lines that say something, with those that go on in one."""
    parts: list[str] = []
    for line in text.split("\n"):
        line = line.lstrip(_BLANKS)
        if not parts and line[:1] in ("", "#", "!"):
            continue
        parts.append(line)
        if (len(line) - len(line.rstrip("\\"))) % 2:
            parts[-1] = line[:-1]
        else:
            yield "".join(parts)
            parts = []
    if parts:
        yield "".join(parts)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    escape = match[1]
    if escape == "u":
        raise FileFormatError(r"\u without four hexadecimal digits")
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _LETTERS.get(escape, escape)
