"""Labelled mixtures: data sets, their files, splits and batches."""

from gmengine.data.augment import Augmentation, augmented, random_linear
from gmengine.data.batches import batches
from gmengine.data.build import build
from gmengine.data.cache import cache_folder
from gmengine.data.catalogue import DATASETS
from gmengine.data.collection import Collection
from gmengine.data.dataset import Dataset
from gmengine.data.digits import digits, digits_images
from gmengine.data.fitted import fitted, kept_store, load
from gmengine.data.raw import RawData
from gmengine.data.sampled import sampled_quality
from gmengine.data.shards import Store, open_store
from gmengine.data.split import split
from gmengine.data.store import load_dataset, save_dataset

__all__ = [
    "DATASETS",
    "Augmentation",
    "Collection",
    "Dataset",
    "RawData",
    "Store",
    "augmented",
    "batches",
    "build",
    "cache_folder",
    "digits",
    "digits_images",
    "fitted",
    "kept_store",
    "load",
    "load_dataset",
    "open_store",
    "random_linear",
    "sampled_quality",
    "save_dataset",
    "split",
]
