"""What every method of fitting makes of images and clouds, and how long it takes: a table for docs/fitting.md.

    python -m bench.fitting_quality [--smoke] [--json FILE]

200 images become 64 Gaussians each, 100 clouds of 1,024 points 128. Fits run with three seeds; figures are means over
seeds and objects, times the best of the three runs on all objects together, after a warm-up. Objects are those of
`bench.objects`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gmengine as gm
from bench.harness import write_json
from bench.objects import clouds, images
from gmengine import fitting
from gmengine.fitting.quality import Quality, image_quality, quality

SEEDS = 3
SAMPLES = 10_000
METHODS: dict[str, dict[str, Any]] = {
    "kmeans": {"method": "kmeans"},
    "kmeans, furthest, 1 round": {"method": "kmeans", "init": "furthest", "rounds": 1},
    "kmeans+em": {"method": "kmeans+em"},
    "kmeans+em, 20 steps": {"method": "kmeans+em", "steps": 20},
    "random+em": {"method": "random+em"},
    "eckart-soft": {"method": "eckart-soft"},
    "eckart-hard": {"method": "eckart-hard"},
    "hem": {"method": "hem"},
}
COLUMNS = {
    "log_likelihood": "log-likelihood",
    "image.rmse": "RMSE",
    "image.psnr": "PSNR",
    "reconstruction.chamfer": "chamfer",
    "reconstruction.rmsd": "RMSD",
    "reconstruction.coverage": "coverage",
    "components.live": "components",
    "components.condition": "condition",
}


def main() -> None:
    """Fit, report, print one table for images and one for clouds."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fitting_quality", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it still run?")
    parser.add_argument("--json", metavar="FILE", help="also write the figures, with machine and versions")
    arguments = parser.parse_args()
    results = _images(2, 4) if arguments.smoke else _images(200, 64)
    results += _clouds(2, 60, 4) if arguments.smoke else _clouds(100, 1024, 128)
    for title in dict.fromkeys(row["objects"] for row in results):
        _print_table(title, [row for row in results if row["objects"] == title])
    if arguments.json:
        write_json(arguments.json, results)


def _images(count: int, n: int) -> list[dict[str, Any]]:
    name, pictures = images(count)
    fits = {
        title: lambda seed, options=options: fitting.fit_images(pictures, n, rng=seed, **options)
        for title, options in METHODS.items()
        if "rounds" not in options
    }
    fits |= _scikit_learn("fit_images", pictures, n)
    return _measured(f"{name}, {count} images, {n} Gaussians", fits, lambda m: image_quality(m, pictures))


def _clouds(count: int, points: int, n: int) -> list[dict[str, Any]]:
    name, sets = clouds(count, points)
    fits = {
        title: lambda seed, options=options: fitting.fit(sets, n, rng=seed, **options)
        for title, options in METHODS.items()
    }
    fits |= _scikit_learn("fit_clouds", sets, n)
    title = f"{name}, {count} clouds of {points} points, {n} Gaussians"
    return _measured(title, fits, lambda m: quality(m, sets, samples=SAMPLES))


def _scikit_learn(op: str, objects: np.ndarray, n: int) -> dict[str, Callable[[int], Any]]:
    """Return its fit, KMeans and one step, on both cores; nothing if it is not installed."""
    try:
        from bench.peers import scikit_learn_fits
    except ImportError:
        return {}
    fit, form = getattr(scikit_learn_fits, op), scikit_learn_fits.FORMS[0]
    return {"scikit-learn, one step": lambda seed: gm.Mixture(*fit(objects, n, False, form, seed=seed)())}


def _measured(
    title: str, fits: dict[str, Callable[[int], Any]], report: Callable[[Any], Quality]
) -> list[dict[str, Any]]:
    rows = []
    for name, fit in fits.items():
        fit(0)
        seconds, figures = [], []
        for seed in range(SEEDS):
            began = time.perf_counter()
            mixtures = fit(seed)
            seconds.append(time.perf_counter() - began)
            found = report(mixtures)
            figures.append({key: row["mean"] for key, row in found.summary().items()})
        means = {key: float(np.mean([each[key] for each in figures])) for key in figures[0]}
        spread = float(np.std([each["log_likelihood"] for each in figures]))
        milliseconds = 1e3 * min(seconds) / len(found)
        rows.append(
            {"objects": title, "method": name, "milliseconds": milliseconds, "spread": spread, "means": means}
            | {"not_finite": found.summary()["log_likelihood"]["not_finite"]}
        )
        print(f"{title}: {name}: {milliseconds:.3f} ms, {means['log_likelihood']:.4f}", flush=True)
    return rows


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    columns = {key: name for key, name in COLUMNS.items() if key in rows[0]["means"]}
    print(f"\n{title}\n\n| method | {' | '.join(columns.values())} | ms per object |")
    print("|---" * (len(columns) + 2) + "|")
    for row in rows:
        cells = [f"{row['means'][key]:.4g}" for key in columns]
        cells[0] = f"{row['means']['log_likelihood']:.3f} ± {row['spread']:.3f}"
        print(f"| {row['method']} | {' | '.join(cells)} | {row['milliseconds']:.3g} |")


if __name__ == "__main__":
    main()
