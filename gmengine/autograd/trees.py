"""Structures of arrays: dicts, lists, tuples, named tuples and dataclasses (a Mixture is one), nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from gmengine.autograd.tensor import value_of as value_of

Step = tuple[str, Any]
"""How a child hangs on its parent: what one would type, such as ``.means`` or ``['bias']``, and the child."""


def is_record(x: Any) -> bool:
    """Return whether `x` is a dataclass instance: one value of several arrays, such as a Mixture."""
    return is_dataclass(x) and not isinstance(x, type)


def children(tree: Any) -> list[Step] | None:
    """Return the children of a node in order, or None for a leaf. None itself is a node without children."""
    if isinstance(tree, dict):
        return [(f"[{key!r}]", child) for key, child in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [(f".{name}", getattr(tree, name)) for name in tree._fields]
    if isinstance(tree, list | tuple):
        return [(f"[{i}]", child) for i, child in enumerate(tree)]
    if is_record(tree):
        return [(f".{field.name}", getattr(tree, field.name)) for field in fields(tree)]
    return [] if tree is None else None


def tree_map(f: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree of the same structure with `f(leaf)` for every leaf, called in the order of `leaves`.

    Dataclass instances are rebuilt as ``type(x)(**fields)``, named tuples as ``type(x)(*fields)``; None stays
    None.
    """
    if isinstance(tree, dict):
        return {key: tree_map(f, child) for key, child in tree.items()}
    if isinstance(tree, list):
        return [tree_map(f, child) for child in tree]
    if isinstance(tree, tuple):
        mapped = [tree_map(f, child) for child in tree]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else tuple(mapped)
    if is_record(tree):
        return type(tree)(**{field.name: tree_map(f, getattr(tree, field.name)) for field in fields(tree)})
    return None if tree is None else f(tree)


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of a tree: dicts in insertion order, dataclasses in the order of their fields."""
    return [leaf for _, leaf in walk(tree)]


def walk(tree: Any, path: str = "") -> Iterator[Step]:
    """Yield ``(path, leaf)`` for every leaf; the path is what one types behind the tree: ``['a'].means``."""
    below = children(tree)
    if below is None:
        yield path, tree
    else:
        for step, child in below:
            yield from walk(child, path + step)
