"""What is worth knowing about a collection without having it in memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gmengine.data.collection import Collection
from gmengine.fitting.clouds import Clouds

KINDS = ("images", "clouds")
_TEXTS = ("name", "kind", "source", "licence", "checksum")


@dataclass(frozen=True)
class Summary:
    """Name, origin and size of a collection.

    Parameters
    ----------
    name, kind, source, licence, checksum : str
        Of the collection; kind is ``"images"`` or ``"clouds"``, the checksum `Collection.checksum`.
    dim : int
        K, of the mixtures that the objects become.
    class_names : tuple of str
        By label.
    counts : tuple of three tuples of int
        Objects of every class in the training, validation and test part.
    """

    name: str
    kind: str
    source: str
    licence: str
    checksum: str
    dim: int
    class_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, collection: Collection) -> Summary:
        """Return the summary of a collection; its checksum is computed."""
        classes = len(collection.class_names)
        counts = (
            np.bincount(collection.labels[collection.parts == part], minlength=classes) for part in range(3)
        )
        return cls(
            collection.name,
            KINDS[isinstance(collection.objects, Clouds)],
            collection.source,
            collection.licence,
            collection.checksum(),
            collection.dim,
            collection.class_names,
            tuple(tuple(each.tolist()) for each in counts),
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Objects in the training, validation and test part."""
        train, valid, test = (sum(part) for part in self.counts)
        return train, valid, test

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can carry."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Any) -> Summary:
        """Return the summary of `to_json`; ValueError, TypeError or KeyError if it is none."""
        names, counts = said["class_names"], said["counts"]
        if not all(isinstance(text, str) for text in (*(said[key] for key in _TEXTS), *names)):
            raise ValueError(f"one of {', '.join(_TEXTS)} or class_names is no text")
        if len(counts) != 3 or any(len(part) != len(names) for part in counts):
            raise ValueError("its counts are not of three parts and all classes")
        if not all(
            type(n) is int and 0 <= n < 2**48 for n in (said["dim"] - 1, *(n for p in counts for n in p))
        ):
            raise ValueError("a count is out of range")
        texts = {key: said[key] for key in _TEXTS}
        return cls(**texts, dim=said["dim"], class_names=tuple(names), counts=tuple(map(tuple, counts)))
