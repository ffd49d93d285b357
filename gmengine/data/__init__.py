"""Labelled mixtures: data sets, their files, splits and batches."""

from gmengine.data.augment import random_linear
from gmengine.data.batches import batches
from gmengine.data.cache import cache_folder
from gmengine.data.catalogue import DATASETS, load
from gmengine.data.dataset import Dataset
from gmengine.data.digits import digits, digits_images
from gmengine.data.split import split
from gmengine.data.store import load_dataset, save_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "batches",
    "cache_folder",
    "digits",
    "digits_images",
    "load",
    "load_dataset",
    "random_linear",
    "save_dataset",
    "split",
]
