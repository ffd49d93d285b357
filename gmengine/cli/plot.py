"""Draw objects of a data set beside the mixtures fitted to them."""

from __future__ import annotations

import argparse
import os
from io import BytesIO
from typing import Any

import numpy as np

from gmengine import fitting, plot
from gmengine.cli.train import add_threads
from gmengine.data.collection import TEST, TRAIN, VALID, Collection
from gmengine.data.raw import RawData
from gmengine.errors import ArgumentError, DataError
from gmengine.files import atomic_write
from gmengine.fitting.clouds import Clouds
from gmengine.fitting.quality import Quality, image_quality, quality
from gmengine.mixture import Mixture
from gmengine.training import limited_threads

_PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}
_COMPONENTS = {"images": 64, "clouds": 128}  # the paper's figures 5 and 6
_UP = {"sweethome3d": "y"}  # elsewhere z
_SHOWN = ("log_likelihood", "image.rmse", "image.psnr", "reconstruction.chamfer")
_UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("spec", metavar="DATASET", help="name of a data set (see gmengine data list), or name:folder")
    add("--out", metavar="FILE", required=True, help="picture to write: .png, .pdf, .svg")
    add("--components", type=int, metavar="N", help="Gaussians per object (64 for images, 128 for clouds)")
    add("--count", type=int, default=5, metavar="M", help="objects, of different classes in turn (default 5)")
    text = "how to fit, as gmengine.fit does (default kmeans+em); repeat it to compare methods"
    add("--method", action="append", metavar="NAME", help=text)
    add("--seed", type=int, default=0, metavar="S", help="of the choice of objects and of the fits")
    add("--part", choices=_PARTS, default="test", help="part of the data set (default test)")
    add("--up", choices=("x", "y", "z"), help="axis of point clouds that points upwards (default z)")
    add("--dpi", type=int, default=110, help="pixels per inch (default 110)")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the picture; print what was fitted, and how well."""
    for name, least, most in (("count", 1, 1000), ("dpi", 1, 2400), ("seed", 0, 2**63)):
        if not least <= getattr(arguments, name) <= most:
            text = f"expected a whole number from {least} to {most}, got {getattr(arguments, name)}"
            raise ArgumentError(f"--{name}: {text}")
    kind = os.path.splitext(arguments.out)[1].lower().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        raise ArgumentError(f"--out: expected a name that ends in .png, .pdf or .svg, got {arguments.out!r}")
    if not os.path.isdir(os.path.dirname(os.path.abspath(arguments.out))):
        raise ArgumentError(f"--out: there is no folder for {arguments.out!r}")
    with limited_threads(arguments.threads):
        data = RawData(arguments.spec)
        chosen = choose(data.collection(), _PARTS[arguments.part], arguments.count, arguments.seed)
        usual = _COMPONENTS["clouds" if isinstance(chosen.objects, Clouds) else "images"]
        n = usual if arguments.components is None else arguments.components
        fits = {}
        for method in arguments.method or ["kmeans+em"]:
            fits[f"{method}, {n}"], report = _fit(chosen.objects, n, method, arguments.seed)
            rows = (f"{key} {row['mean']:.4g}" for key, row in report.summary().items() if key in _SHOWN)
            print(f"{method}: {', '.join(rows)}")
        names = [chosen.class_names[label] for label in chosen.labels]
        up = arguments.up or _UP.get(data.name, "z")
        figure = plot.comparison(chosen.objects, fits, names=names, up=up)
    page = BytesIO()
    try:
        figure.savefig(page, format=kind, dpi=arguments.dpi, metadata=_UNDATED.get(kind))
    except ValueError as error:  # Matplotlib's pictures have at most 65,536 rows
        raise ArgumentError(f"--count, --dpi: {error}") from None
    atomic_write(arguments.out, lambda handle: handle.write(page.getvalue()))
    print(f"{arguments.out}: {len(chosen)} objects of {data.name} ({chosen.licence})")
    return 0


def choose(collection: Collection, part: int, count: int, seed: int) -> Collection:
    """Return `count` objects of a part, or as many as there are, class after class in turn, drawn by `seed`.

    Raises
    ------
    DataError
        If the part is empty.
    """
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.flatnonzero(collection.parts == part))
    if not len(index):
        raise DataError(f"{collection.name}: nothing in this part of the data set")
    labels = collection.labels[index]
    turn = np.zeros(len(index), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return collection[index[np.lexsort((labels, turn))[:count]]]


def _fit(objects: np.ndarray | Clouds, n: int, method: str, seed: int) -> tuple[Mixture, Quality]:
    if isinstance(objects, Clouds):
        mixture = fitting.fit(objects, n, method=method, rng=seed)
        return mixture, quality(mixture, objects, rng=seed)
    mixture = fitting.fit_images(objects, n, method=method, rng=seed)
    return mixture, image_quality(mixture, objects)
