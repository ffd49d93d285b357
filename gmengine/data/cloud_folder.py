"""A folder of point clouds and meshes, by classes or all alike."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gmengine.data._class_folders import listed_files
from gmengine.data._cloud_files import OPTIONS, read_clouds
from gmengine.data._parts import parts_of_files
from gmengine.data.collection import Collection
from gmengine.data.entry import Entry
from gmengine.data.formats.mesh_files import SUFFIXES, suffix_of
from gmengine.data.places import find

NAME = "clouds"
_ADVICE = f"name a folder of point clouds or meshes: {NAME}:/folder"
_ONLY_CLASS = "cloud"


def locate(folder: Path | None = None) -> Path:
    """Return the folder, by default ``$GMENGINE_DATA_DIR/clouds``; DataError if there is none."""
    return find(NAME, folder, (), lambda p: p.is_dir() and (folder is not None or p.name == NAME), _ADVICE)


def cloud_folder(
    folder: str | os.PathLike[str] | None = None,
    *,
    points: int = 1024,
    seed: int = 0,
    normalise: bool = True,
    workers: int = 1,
) -> Collection:
    """Return the clouds and meshes of a folder as point clouds, in a fixed order: by class, part and name.

    Read are .off, .obj, .ply, .xyz, .txt, .csv and .npy files, gzip or not (``.off.gz``), and with trimesh
    .stl, .glb, .gltf, .dae and .3mf; all else is passed over. Points are drawn from the surface of meshes,
    uniformly; a mesh without faces is refused, a cloud of a single point is not.

    The folders may be arranged as ``<class>/files``, split at random, always the same, 70/10/20 class by
    class; as ``<class>/{train,test}/files`` or ``{train,test}/<class>/files``, which gives the split, and
    with ``valid`` (or ``val``, ``validation``) beside train and test, without which a tenth of each class in
    train is for validation. Files in the folder itself are one class, "cloud".

    Parameters
    ----------
    folder : path-like or None
        By default ``$GMENGINE_DATA_DIR/clouds``.
    points : int
        Drawn from each mesh; of larger clouds so many are chosen, smaller ones are taken as they are.
    seed : int
        Of the points. A file's random numbers depend on this and its name within the folder alone: more
        files change no other cloud.
    normalise : bool
        Move each cloud's centroid to 0 and its farthest point to distance 1.
    workers : int
        Processes that read files; with more than one, a script must guard its main part by
        ``if __name__ == "__main__":``.

    Returns
    -------
    Collection
        Clouds of float32 points (P, 3).

    Raises
    ------
    ArgumentError
        If an option is out of range.
    DataError
        If there are no files, the arrangement is none of these, or trimesh is needed and missing.
    FileFormatError
        If a file is damaged, empty, or has a place that is not finite; names it.
    """
    place = locate(None if folder is None else Path(folder))
    files = listed_files(place, lambda path: suffix_of(path) in SUFFIXES, _ONLY_CLASS)
    classes = tuple(dict.fromkeys(file.label for file in files))
    numbers = {label: number for number, label in enumerate(classes)}
    labels = np.array([numbers[file.label] for file in files], np.int64)
    parts = parts_of_files([file.part for file in files], labels)
    names = [file.name for file in files]
    clouds = read_clouds(place, names, points=points, seed=seed, normalise=normalise, workers=workers)
    source = f"point clouds of the folder {place.resolve().name!r}"
    return Collection(clouds, labels, classes, parts, NAME, source, "")


ENTRY = Entry(
    NAME,
    "a folder of point clouds or meshes of your own: <class>/*.ply, with train and test folders if you like",
    "clouds",
    "",
    "",
    "",
    locate,
    cloud_folder,
    OPTIONS,
    {"layers": "1/64 -> 8/16 -> 10", "epochs": 20},  # the last number becomes that of the classes
)
