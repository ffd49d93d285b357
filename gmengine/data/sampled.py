"""How good the mixtures of a store are, on a sample of them."""

from __future__ import annotations

import numpy as np

from gmengine.data.collection import Collection
from gmengine.data.shards import Store
from gmengine.errors import DataError
from gmengine.fitting.clouds import Clouds
from gmengine.fitting.quality import Quality, image_quality, quality
from gmengine.mixture import Mixture


def sampled_quality(store: Store, collection: Collection, count: int = 64) -> Quality:
    """Return the quality of up to `count` mixtures, evenly spread over the store, beside what they stand for.

    Parameters
    ----------
    store : Store
        Of mixtures.
    collection : Collection
        What it was made of.
    count : int
        At least 1.

    Raises
    ------
    DataError
        If the store was made of another collection: the numbers of objects differ.
    FileFormatError
        If a shard is damaged.
    """
    if len(store) != len(collection):
        raise DataError(
            f"{store.folder}: {len(store)} mixtures, the collection has {len(collection)} objects"
        )
    chosen = np.unique(np.linspace(0, len(store) - 1, count).astype(np.int64))
    size = store.manifest.shard_objects
    pieces = [
        store.shard(int(index)).mixtures[chosen[chosen // size == index] % size]
        for index in np.unique(chosen // size)
    ]
    columns = zip(*(piece.arrays for piece in pieces), strict=True)
    mixtures = Mixture(*(np.concatenate(column) for column in columns))
    objects = collection[chosen].objects
    if isinstance(objects, Clouds):
        points = objects.points.astype(store.manifest.dtype)
        return quality(mixtures, Clouds(points, objects.offsets), samples=0)
    return image_quality(mixtures, objects)
