"""The one-line description of a network."""

from __future__ import annotations

import re

from gmengine.errors import ArgumentError

_TOKEN = re.compile(r"([1-9][0-9]*)(?:\s*/\s*([1-9][0-9]*))?", re.ASCII)


def parse_spec(spec: str) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """Return the channels and the components per channel of "1/32 -> 8/16 -> 10", input first.

    Every part is channels/components; the last may be channels alone: its mixtures are not reduced. The arrow
    may be "->" or "→".

    Raises
    ------
    ArgumentError
        Names the part that cannot be read and says why.

    Examples
    --------
    >>> parse_spec("1/32 -> 8/16 -> 10")
    ((1, 8, 10), (32, 16, None))
    """
    parts = [part.strip() for part in spec.replace("→", "->").split("->")]
    if len(parts) < 2:
        raise ArgumentError(f"network: expected at least an input and a layer, 'a/b -> c', got {spec!r}")
    channels: list[int] = []
    components: list[int | None] = []
    for i, part in enumerate(parts):
        match = _TOKEN.fullmatch(part)
        if match is None:
            raise ArgumentError(
                f"network: part {i} of {spec!r} is {part!r}, expected channels/components like '8/16'"
            )
        if match[2] is None and i < len(parts) - 1:
            raise ArgumentError(
                f"network: part {i} of {spec!r} is {part!r}; only the last part may go without '/components'"
            )
        channels.append(int(match[1]))
        components.append(None if match[2] is None else int(match[2]))
    return tuple(channels), tuple(components)


def format_spec(channels: tuple[int, ...], components: tuple[int | None, ...]) -> str:
    """Return the line that `parse_spec` reads as these channels and components."""
    pairs = zip(channels, components, strict=True)
    return " -> ".join(f"{c}" if n is None else f"{c}/{n}" for c, n in pairs)
