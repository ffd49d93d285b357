"""What the furniture of Sweet Home 3D is, by its English name."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PHRASE_END = re.compile(r"\s(?:with|on|and|under|for|-)\s|[,\d(]")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")

# Last words of a name -> class; the longest ending counts, None stands for none of the classes.
NAMES: Mapping[str, str | None] = {
    **dict.fromkeys(("bed", "crib", "futon", "opened convertible sofa bz"), "bed"),
    **dict.fromkeys(("cabinet", "cupboard", "wardrobe", "bookcase", "shelves", "dresser"), "cabinet"),
    **dict.fromkeys(("vanity", "bedside table"), "cabinet"),
    **dict.fromkeys(("chair", "armchair", "class seat"), "chair"),
    **dict.fromkeys(("door",), "door"),
    **dict.fromkeys(("lamp", "light", "lights", "lamppost", "spotlight", "lantern", "candle"), "lamp"),
    **dict.fromkeys(("female", "male", "boy", "girl"), "person"),
    **dict.fromkeys(("plant", "tree", "bush", "hedge", "pine", "poplar", "acacia", "cypress"), "plant"),
    **dict.fromkeys(("maple", "beech", "blossom", "bamboo", "ficus", "yucca", "cactus"), "plant"),
    **dict.fromkeys(("tulips", "orchids", "flowers", "white lily", "spathiphyllum"), "plant"),
    **dict.fromkeys(("plug", "switch", "wall socket", "double socket", "rj"), "plug"),
    **dict.fromkeys(("sofa", "couch", "sofa bz"), "sofa"),
    **dict.fromkeys(("table", "desk"), "table"),
    **dict.fromkeys(("changing table", "football table", "pool table"), None),
    **dict.fromkeys(("sedan", "car", "truck", "van", "bus", "suv", "scooter", "bicycle", "bike"), "vehicle"),
    **dict.fromkeys(("motorbike", "tricycle", "chevrolet", "ford focus", "new beetle"), "vehicle"),
    **dict.fromkeys(("seat leon", "peugeot", "renault scenic", "yamaha yzr r"), "vehicle"),
    **dict.fromkeys(("indoor bike",), None),
    **dict.fromkeys(("bottle", "glass", "cup", "mug", "vase", "bowl", "jar", "teapot", "pot"), "vessel"),
    **dict.fromkeys(("window", "window small panes"), "window"),
}

MODELNET10: Mapping[str, str | None] = {
    **dict.fromkeys(("bathtub", "bath"), "bathtub"),
    **dict.fromkeys(("bed", "crib"), "bed"),
    **dict.fromkeys(("chair", "armchair", "class seat"), "chair"),
    **dict.fromkeys(("desk", "desk table"), "desk"),
    **dict.fromkeys(("dresser", "drawers cabinet"), "dresser"),
    **dict.fromkeys(("tv", "screen", "imac"), "monitor"),
    **dict.fromkeys(("bedside table",), "night_stand"),
    **dict.fromkeys(("sofa", "couch", "sofa bz"), "sofa"),
    **dict.fromkeys(("table",), "table"),
    **dict.fromkeys(("toilets unit",), "toilet"),
    # Not what ModelNet has under the last word, or another thing altogether.
    **dict.fromkeys(("changing table", "dressing table", "football table", "pool table"), None),
    **dict.fromkeys(("opened convertible sofa bz",), None),
}


def class_by_name(name: str, endings: Mapping[str, str | None]) -> str | None:
    """Return the class of a piece of furniture, None if it has none.

    A name counts up to its first ``with``, ``on``, ``and``, ``under``, ``for``, comma or number.

    Examples
    --------
    >>> class_by_name("Bedside table", MODELNET10), class_by_name("Table on trestles", MODELNET10)
    ('night_stand', 'table')
    """
    words = _WORD.findall(_PHRASE_END.split(name.lower())[0])
    for begin in range(len(words)):
        ending = " ".join(words[begin:])
        if ending in endings:
            return endings[ending]
    return None
