"""``python -m bench.sparsity``: which pairs of a network's ReLU layers could be left out unnoticed?

A pair (point mu_i, component j) counts for nothing if both of its terms are at most eps / N of what the sums of `relu`
at that point cannot fall below: |w_j| G_ij <= eps / N max(|w_i| G_ii, e2) and x0_j G_ij <= eps / N (x0_i G_ii + e3).
The first bound is the component's own term, or the epsilon that is added to the rectified sum. All left-out terms
together are then below eps times the sum of absolute terms: one rounding. Terms cancel, so relative to
the *result* they can be more, but so can the rounding of the terms that stay.

For each layer: the share of pairs of which that is true (`own` without the epsilons, `pairs` with them), the share of
tiles of the Morton order where it is true of every pair (`exact`, which no bound can exceed) and where cheap bounds can
tell (`cheap`: boxes of means, largest variances; for tiles of one component balls of points). `at most` is the
speed-up if only the pairs left by the best cheap bounds took time, `net` that of 64x1 after sorting the points and
bounding, timed on one core beside the pair loop of `evaluate` on one core.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import gmengine as gm
from bench.harness import write_json
from gmengine.cpu._gaussian import SCALE
from gmengine.fitting import fit_images
from gmengine.nn import Network
from gmengine.ops.convolve import convolve
from gmengine.threads import kernel_threads
from gmengine.training.checkpoint import make_network
from gmengine.training.config import RunConfig
from gmengine.training.loop import Learner, train_epoch

EPSILONS = (0.1, 0.05, 0.05)
TILES = ((16, 16), (32, 32), (64, 16), (16, 1), (64, 1))
NETWORKS = {"digits": RunConfig().layers, "fashion-mnist": "1/64 -> 8/32 -> 16/16 -> 32/8 -> 10"}
FASHION = Path("/usr/share/datasets/fashion-mnist")


class Pairs:
    """One mixture, present components in Morton order, in float64: terms, and the limits below which they are nothing.

    g (N, N): G_ij of point i and component j; the rest has one entry per component.
    """

    def __init__(self, m: gm.Mixture, eps: float) -> None:
        w, mu, c = (a[np.asarray(m.weights) != 0].astype(np.float64) for a in m.arrays)
        order = morton_order(mu)
        self.w, self.mu, self.c = w[order], mu[order], c[order]
        self.n = len(w)
        self.a = math.sqrt(SCALE) * np.linalg.inv(np.linalg.cholesky(self.c))
        peak = 1.0 / np.sqrt(np.linalg.det(2.0 * np.pi * self.c))
        y = np.einsum("jkl,ijl->ijk", self.a, self.mu[:, None] - self.mu)
        self.g = peak * np.exp2(-np.sum(y * y, axis=-1))
        self.coarse = np.maximum(self.w, 0.0) + EPSILONS[0] * np.mean(np.abs(self.w))
        self.tops = np.abs(self.w) * peak, self.coarse * peak  # largest values of the terms of v and of u
        size = np.mean(self.tops[0])
        self.own = tuple(eps / self.n * top for top in self.tops)
        self.limits = (
            eps / self.n * np.maximum(self.tops[0], EPSILONS[1] * size),
            self.own[1] + (eps / self.n * EPSILONS[2] * size),
        )

    def nothing(self, limits: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return which pairs (N, N) count for nothing under limits of v and u at every point."""
        return (np.abs(self.w) * self.g <= limits[0][:, None]) & (self.coarse * self.g <= limits[1][:, None])


def morton_order(points: np.ndarray, bits: int = 10) -> np.ndarray:
    """Return the order of points (N, K) along a Morton curve."""
    low, high = points.min(axis=0), points.max(axis=0)
    cells = np.minimum((points - low) / np.where(high > low, high - low, 1.0) * (1 << bits), (1 << bits) - 1)
    code = np.zeros(len(points), np.int64)
    for b in range(bits):
        for k in range(points.shape[1]):
            code |= (cells[:, k].astype(np.int64) >> b & 1) << (b * points.shape[1] + k)
    return np.argsort(code, kind="stable")


def cheap_exponents(p: Pairs, rows: slice, tile: int) -> np.ndarray:
    """Return for every tile of components an upper bound of -|A (x - mu)|^2 over a tile of points."""
    x = p.mu[rows]
    starts = np.arange(0, p.n, tile)
    low, high = (f.reduceat(p.mu, starts) for f in (np.minimum, np.maximum))
    gap = np.maximum(0.0, np.maximum(low - x.max(axis=0), x.min(axis=0) - high))
    widest = np.maximum.reduceat(np.linalg.eigvalsh(p.c)[:, -1], starts)
    variances = np.maximum.reduceat(np.diagonal(p.c, axis1=1, axis2=2), starts)
    square = SCALE * np.maximum(np.sum(gap**2, axis=1) / widest, np.max(gap**2 / variances, axis=1))
    if tile == 1:  # a ball of points, seen by each component in its own metric
        centre = 0.5 * (x.min(axis=0) + x.max(axis=0))
        radius = np.sqrt(np.max(np.sum((x - centre) ** 2, axis=1)))
        z = np.linalg.norm(np.einsum("jkl,jl->jk", p.a, centre - p.mu), axis=1)
        reach = np.linalg.norm(p.a, axis=(1, 2)) * radius
        square = np.maximum(square, np.maximum(z - reach, 0.0) ** 2)
    return -square


def shares(p: Pairs, shape: tuple[int, int]) -> tuple[float, float]:
    """Return the shares of pairs in tiles that can go: all that can, and all that cheap bounds find."""
    height, width = shape
    nothing, exact, cheap = p.nothing(p.limits), 0.0, 0.0
    starts = np.arange(0, p.n, width)
    sizes = np.diff([*starts, p.n])
    tops = [np.maximum.reduceat(top, starts) for top in p.tops]
    for first in range(0, p.n, height):
        rows = slice(first, first + height)
        all_of = np.logical_and.reduceat(nothing[rows].all(axis=0), starts)
        fall = np.exp2(cheap_exponents(p, rows, width))
        found = np.logical_and.reduce(
            [top * fall <= limit[rows].min() for top, limit in zip(tops, p.limits, strict=True)]
        )
        count = len(p.mu[rows])
        exact += count * float(sizes @ all_of)
        cheap += count * float(sizes @ found)
    return exact / p.n**2, cheap / p.n**2


def overhead(m: gm.Mixture) -> float:
    """Return the time of sorting points and bounding components per block of 64, by that of all pairs: one core."""
    from gmengine.cpu._values import values_planned
    from gmengine.cpu.evaluate import _every_pair as values_dense

    weights, means, covariances = (a[None].astype(np.float32) for a in m.arrays)
    inputs = weights, means, covariances, means
    with kernel_threads(1):
        dense = best_time(lambda: values_dense(*inputs))
        # All of the plan and all of the bounds, but no component is ever felt.
        looking = best_time(lambda: values_planned(*inputs, few=(1, 1), slack=np.inf))
    return looking / dense


def best_time(run: Callable[[], Any], repeats: int = 5) -> float:
    """Return the least time of several runs after a first."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def layer_inputs(net: Network, params: Any, state: Any, data: gm.Mixture) -> list[gm.Mixture]:
    """Return what every ReLU of the network is given: the convolved mixtures, batch (B, O)."""
    stages = net.activations(params, state, data)
    found = []
    for i, layer in enumerate(net.layers):
        prefix = f"layer{i}."
        of_layer = {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}
        found.append(convolve(stages[i], layer.kernel.mixture(of_layer)))
    return found


def measure_layer(m: gm.Mixture, count: int) -> dict[str, Any]:
    """Return the figures of one layer, means over `count` of its mixtures."""
    channels = m.batch[1]
    m = m.reshape((math.prod(m.batch),))
    chosen = np.random.default_rng(0).permutation(len(m))[:count]
    eps = float(np.finfo(np.float32).eps)
    every = [Pairs(m[int(i)], eps) for i in chosen if np.any(m.weights[i] != 0)]
    row: dict[str, Any] = {
        "channels": channels,
        "N": m.n_components,
        "own": float(np.mean([p.nothing(p.own).mean() for p in every])),
        "pairs": float(np.mean([p.nothing(p.limits).mean() for p in every])),
    }
    for shape in TILES:
        exact, cheap = np.mean([shares(p, shape) for p in every], axis=0)
        row |= {f"{shape[0]}x{shape[1]} exact": float(exact), f"{shape[0]}x{shape[1]} cheap": float(cheap)}
    row["overhead"] = overhead(m[int(chosen[0])])
    return bounded(row)


def bounded(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the speed-ups that its shares and overhead allow."""
    best = max(row[f"{h}x{w} cheap"] for h, w in TILES)
    net = 1.0 / (1.0 - row["64x1 cheap"] + row["overhead"])
    return row | {"at most": 1.0 / (1.0 - best), "net": net}


def whole(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all layers together, weighted by their numbers of pairs."""
    work = np.array([r["channels"] * r["N"] ** 2 for r in rows], np.float64)
    kept = {k: float(work @ [r[k] for r in rows] / work.sum()) for k in rows[0] if k not in ("channels", "N")}
    return bounded({"channels": sum(r["channels"] for r in rows), "N": 0} | kept)


def idx(path: Path) -> np.ndarray:
    """Return the array of a gzipped IDX file of bytes."""
    with gzip.open(path) as handle:
        raw = handle.read()
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def fashion(folder: Path, count: int, components: int) -> gm.data.Dataset:
    """Return the first images of Fashion-MNIST's training set as mixtures."""
    images = idx(folder / "train-images-idx3-ubyte.gz")[:count] / 255.0
    labels = idx(folder / "train-labels-idx1-ubyte.gz")[:count].astype(np.int64)
    mixtures = fit_images(images, components, dtype="float32")[:, None]
    names = tuple("0123456789")
    return gm.data.Dataset(mixtures, labels, names, "fashion-mnist", "Zalando Research", "MIT")


def networks(arguments: argparse.Namespace) -> Iterator[tuple[int, Network, Any, Any, gm.Mixture]]:
    """Yield (epochs, network, parameters, calibrated state, some inputs) as initialised and as trained."""
    config = RunConfig(layers=arguments.network, batch_size=16)
    net = make_network(config, dim=2)
    components = net.components[0] or 1
    if arguments.data == "digits":
        train = gm.data.digits(components=components)[0]
        train = train[: arguments.images] if arguments.smoke else train
    else:
        train = fashion(arguments.folder, arguments.images, components)
    learner = Learner(replace(config, epochs=max(1, arguments.epochs)), net, len(train))
    progress = learner.init()
    for epoch in range(arguments.epochs + 1):
        if epoch in (0, arguments.epochs):
            params = progress.model.params
            some = [train.mixtures[i : i + 16] for i in range(0, min(64, len(train)), 16)]
            yield epoch, net, params, net.calibrate(params, some), train.mixtures[:8]
        if epoch < arguments.epochs:
            progress, tally = train_epoch(learner, progress, train)
            progress = progress._replace(epoch=epoch + 1)
            print(f"epoch {epoch + 1}: loss {tally.loss / tally.samples:.3f}", flush=True)


def show(name: str, row: dict[str, Any]) -> None:
    """Print one row of the Markdown table."""
    cells = [name, str(row["N"] or ""), *(f"{row[k]:.3f}" for k in ("own", "pairs"))]
    cells += [f"{row[f'{h}x{w} exact']:.3f} / {row[f'{h}x{w} cheap']:.3f}" for h, w in TILES]
    cells += [f"{row[k]:.2f}" for k in ("overhead", "at most", "net")]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure the layers of one network, as initialised and as trained."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sparsity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", choices=tuple(NETWORKS), default="digits")
    parser.add_argument("--network", help="channels/components per layer; by default that of the data")
    parser.add_argument("--epochs", type=int, default=2, help="0: only as initialised")
    parser.add_argument("--images", type=int, default=256, help="of Fashion-MNIST")
    parser.add_argument("--mixtures", type=int, default=12, help="looked at in each layer")
    parser.add_argument("--folder", type=Path, default=FASHION, help="where Fashion-MNIST's .gz files are")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it still run?")
    parser.add_argument("--json", metavar="FILE", help="also write the figures, with machine and versions")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.network = arguments.network or "1/8 -> 2/4 -> 10"
        arguments.images, arguments.mixtures = 32, 2
    arguments.network = arguments.network or NETWORKS[arguments.data]
    if arguments.data == "fashion-mnist" and not (arguments.folder / "train-images-idx3-ubyte.gz").exists():
        print(
            f"{arguments.folder} holds no Fashion-MNIST. On Debian: apt-get install dataset-fashion-mnist; "
            "else name the folder of its four .gz files with --folder",
            file=sys.stderr,
        )
        sys.exit(2)
    found = []
    print(f"{arguments.data}, {arguments.network}: share that can be left out, exact / cheap")
    for epoch, net, params, state, data in networks(arguments):
        inputs = layer_inputs(net, params, state, data)
        rows = [measure_layer(m, arguments.mixtures) for m in inputs]
        heads = ["layer", "N", "own", "pairs", *(f"{h}x{w}" for h, w in TILES), "overhead", "at most", "net"]
        print(f"after {epoch} epochs\n| {' | '.join(heads)} |\n|{' ---: |' * len(heads)}")
        for i, row in enumerate([*rows, whole(rows)]):
            name = str(i) if i < len(rows) else "all"
            show(name, row)
            sizes = {"data": arguments.data, "network": arguments.network, "epochs": epoch, "layer": name}
            found.append(sizes | row)
    if arguments.json:
        write_json(arguments.json, found)


if __name__ == "__main__":
    main()
