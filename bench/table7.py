"""``python -m bench.table7``: the ReLU fit by least squares against the heuristic (paper table 7, figure 8).

Data: digits (seeded choice), fitted with N / 8 components and normalised, convolved with random 8-component kernels
as a first layer has them: real layer inputs of N = 256 components. With ``--data random``: no structure at all.
All fits run on float64 arrays; ``relu`` is timed in float32 as well, which networks use (least squares is solved in
float64 in any case).

For each method: seconds for all mixtures, forward and with the gradient of the sum of integrals, each followed by the
seconds that the processors were busy with it (which other work on the machine hardly changes); |A y - t| / |t| at
the method's own sample points; the L2 error against the true target max(0, f), relative to its norm, by quadrature
on a grid over mean +- 4 sigma of all components; overshoot, max |fit - target| / max target on that grid; the share
of mixtures whose L2 error is worse than the heuristic's; the largest |weight|, and the largest derivative of the
integral by a mean; how many components are present; in closed form, the norm of the fit and its distance to the
heuristic's, both relative to the heuristic's norm. No closed form exists for the distance to the target itself:
max(0, f) is no mixture. Figures are medians over the mixtures, with the worst in brackets where two are given.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import gmengine as gm
from bench.harness import write_json
from gmengine.fitting import fit_images
from gmengine.nn.kernel import Kernel
from gmengine.ops._sample_points import box_points
from gmengine.ops.relu_lstsq import relu_lstsq

PAPER = {
    "heuristic": "0.0038",
    "B": "10.2 / 1.1",
    "B + rand(N)": "10.9 / 1.5",
    "rand(4N)": "11.3 / 2.0",
}
"""Seconds on an RTX 2080 Ti (paper table 7): torch.linalg.pinv / lstsq. Of "109S" in the text we read 10.9 s."""
TIMES = ("seconds", "cpu_seconds", "with_gradient", "cpu_with_gradient")
PAPER_MIXTURES, PER_KERNEL, KERNELS, SEED = 800, 8, 8, 7


@dataclass(frozen=True)
class Method:
    """One row: its name, the fit, the sample points it used, and the paper's seconds."""

    name: str
    fit: Callable[[Any], Any]
    points: Callable[[gm.Mixture], Any]
    paper: str = ""
    dtype: str = "float64"


def random_mixtures(mixtures: int, components: int) -> gm.Mixture:
    """Return (mixtures, components) like the generator of the authors' code: broad, crowded, no structure."""
    rng = np.random.default_rng(SEED)
    shape = (mixtures, components)
    factors = rng.uniform(-1.0, 1.0, (*shape, 2, 2))
    covariances = 10.0 * (factors @ np.swapaxes(factors, -1, -2) + 0.01 * np.eye(2))
    return gm.Mixture(rng.uniform(-1.0, 1.0, shape), rng.uniform(-10.0, 10.0, (*shape, 2)), covariances)


def layer_inputs(mixtures: int, components: int) -> gm.Mixture:
    """Return (mixtures, components): convolutions of fitted digits with random kernels."""
    rng = np.random.default_rng(SEED)
    images, _ = gm.data.digits_images()
    chosen = images[rng.permutation(len(images))[: -(-mixtures // KERNELS)]]
    digits = gm.normalise(fit_images(chosen, components // PER_KERNEL, rng=rng))
    kernel = Kernel(outputs=KERNELS, inputs=1, components=PER_KERNEL)
    blurred = gm.convolve(digits.reshape((len(chosen), 1)), kernel.mixture(kernel.init(rng, "float64")))
    return blurred.reshape((len(chosen) * KERNELS,))[:mixtures]


def methods(m: gm.Mixture) -> list[Method]:
    """Return the rows of the table."""
    random = {k: box_points(m, k * m.n_components, SEED) for k in (1, 4)}
    places: dict[str, tuple[str, Callable[[gm.Mixture], Any]]] = {
        "B": ("means", lambda m: m.means),
        "B + rand(N)": ("means+random", lambda m: np.concatenate([m.means, random[1]], axis=-2)),
        "rand(4N)": ("random", lambda m: random[4]),
    }

    def row(kind: str, place: str, paper: str = "", **options: Any) -> Method:
        points, at = places[place]
        return Method(
            f"{kind} {place}", lambda m: relu_lstsq(m, points=points, rng=SEED, **options), at, paper
        )

    return [
        Method("heuristic float32", gm.relu, places["B"][1], PAPER["heuristic"], "float32"),
        Method("heuristic", gm.relu, places["B"][1]),
        *(row("lstsq", place, PAPER[place]) for place in places),
        *(row("ridge 1e-4", place, ridge=1e-4) for place in places),
        *(row("non-negative", place, non_negative=True) for place in places),
    ]


def blocks(n: int, size: int = 25) -> Iterator[slice]:
    """Yield slices of mixtures, so that the grids of all need not fit into memory at once."""
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def grids(m: gm.Mixture, side: int) -> Any:
    """Return (M, side^2, 2) points over the box of mean +- 4 sigma of the components present."""
    present = (m.weights != 0)[..., None]
    sigma = 4.0 * np.sqrt(np.diagonal(m.covariances, axis1=-2, axis2=-1))
    low = np.min(np.where(present, m.means - sigma, np.inf), axis=-2)
    high = np.max(np.where(present, m.means + sigma, -np.inf), axis=-2)
    unit = np.stack(np.meshgrid(*[np.linspace(0.0, 1.0, side)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    return low[:, None] + (high - low)[:, None] * unit


def errors(m: gm.Mixture, fits: dict[str, gm.Mixture], side: int) -> dict[str, dict[str, list[float]]]:
    """Return for every fit the relative L2 error and the overshoot of each mixture, on a grid."""
    found: dict[str, dict[str, list[float]]] = {name: {"l2": [], "overshoot": []} for name in fits}
    for block in blocks(len(m)):
        points = grids(m[block], side)
        target = np.maximum(gm.evaluate(m[block], points), 0.0)
        for name, fit in fits.items():
            gap = gm.evaluate(fit[block], points) - target
            found[name]["l2"] += list(np.linalg.norm(gap, axis=-1) / np.linalg.norm(target, axis=-1))
            found[name]["overshoot"] += list(np.abs(gap).max(axis=-1) / target.max(axis=-1))
    return found


def residuals(m: gm.Mixture, fit: gm.Mixture, points: Any) -> Any:
    """Return |A y - t| / |t| of each mixture at a method's own sample points."""
    rows = np.ones(points.shape[:-1])
    rows[:, : m.n_components] = (m.weights != 0) if points.shape[1] < 4 * m.n_components else 1.0
    target = np.maximum(gm.evaluate(m, points), 0.0) * rows
    gap = gm.evaluate(fit, points) * rows - target
    size = np.linalg.norm(target, axis=-1)
    return np.linalg.norm(gap, axis=-1) / np.where(
        size > 0.0, size, np.nan
    )  # some are negative at every mean


def closed_form(fit: gm.Mixture, heuristic: gm.Mixture) -> dict[str, float]:
    """Return medians of the norm of the fit and of its distance to the heuristic's, by the inner product."""
    from gmengine.ops.product import l2_distance, product

    norm = np.sqrt(product(heuristic, heuristic))
    return {
        "norm": float(np.median(np.sqrt(np.maximum(product(fit, fit), 0.0)) / norm)),
        "from_heuristic": float(np.median(l2_distance(fit, heuristic) / norm)),
    }


def timed(fn: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return (seconds, seconds of all threads on processors, result)."""
    began, busy = time.perf_counter(), time.process_time()
    result = fn()
    return time.perf_counter() - began, time.process_time() - busy, result


def run(m: gm.Mixture, side: int) -> list[dict[str, Any]]:
    """Time and judge every method."""
    rows, fits, chosen = [], {}, methods(m)
    for method in chosen:
        given = m.astype(method.dtype)

        def both(given: gm.Mixture = given, fit: Callable[[Any], Any] = method.fit) -> Any:
            return gm.value_and_grad(lambda a: gm.integrate(fit(a)).sum())(given)

        if method.fit is gm.relu:  # once for the compiler; least squares compiles nothing
            both()
        seconds, busy, fit = timed(lambda method=method, given=given: method.fit(given))
        with_gradient, busy_with_gradient, (_, grads) = timed(both)
        fits[method.name] = fit.astype("float64")
        rows.append({"method": method.name, "seconds": seconds, "with_gradient": with_gradient})
        rows[-1] |= {"cpu_seconds": busy, "cpu_with_gradient": busy_with_gradient}
        rows[-1] |= {"gradient": float(np.median(np.abs(grads.means).max(axis=(-1, -2))))}
        print(f"  {method.name}: {seconds:.3g} s, with gradient {with_gradient:.3g} s", flush=True)
    judged = errors(m, fits, side)
    for row, method in zip(rows, chosen, strict=True):
        fit = fits[method.name]
        row |= {"paper": method.paper, "residual": float(np.nanmedian(residuals(m, fit, method.points(m))))}
        for key, values in judged[method.name].items():
            row |= {key: float(np.median(values)), f"{key}_worst": float(np.max(values))}
        worse = np.asarray(judged[method.name]["l2"]) > np.asarray(judged["heuristic"]["l2"])
        row |= {"worse_than_heuristic": float(np.mean(worse))}
        row |= {"largest": float(np.median(np.abs(fit.weights).max(axis=-1)))}
        row |= {"present": float(np.mean(np.count_nonzero(fit.weights, axis=-1)))}
        row |= closed_form(fit, fits["heuristic"])
    return rows


def show(rows: list[dict[str, Any]], mixtures: int) -> None:
    """Print what it costs, and what one gets."""
    factor = PAPER_MIXTURES / mixtures
    print_table(
        ("method", "seconds", "(busy)", "with gradient", "(busy)", "paper"),
        [(r["method"], *(f"{r[key] * factor:.3g}" for key in TIMES), r["paper"]) for r in rows],
    )
    if mixtures != PAPER_MIXTURES:
        print(f"Seconds are EXTRAPOLATED from {mixtures} to {PAPER_MIXTURES} mixtures.")
    print("paper: seconds on an RTX 2080 Ti (pinv / lstsq), without gradient; no errors are given there.\n")
    head = (
        "method",
        "residual",
        "L2 error (worst)",
        "overshoot (worst)",
        "worse",
        "max |w|",
        "max |grad|",
        "present",
    )
    print_table(
        (*head, "norm", "to heuristic"),
        [
            (
                r["method"],
                f"{r['residual']:.2g}",
                *(f"{r[key]:.3g} ({r[key + '_worst']:.3g})" for key in ("l2", "overshoot")),
                f"{100 * r['worse_than_heuristic']:.0f} %",
                f"{r['largest']:.3g}",
                f"{r['gradient']:.2g}",
                f"{r['present']:.0f}",
                f"{r['norm']:.3g}",
                f"{r['from_heuristic']:.3g}",
            )
            for r in rows
        ],
    )


def print_table(head: tuple[str, ...], cells: list[tuple[str, ...]]) -> None:
    """Print right-aligned columns."""
    widths = [max(len(row[i]) for row in [head, *cells]) + 2 for i in range(len(head))]
    for row in [head, *cells]:
        print("".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))


def main() -> None:
    """Make the data, run every method, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.table7", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--mixtures", type=int, default=PAPER_MIXTURES)
    parser.add_argument("--components", type=int, default=256, help=f"a multiple of {PER_KERNEL}")
    parser.add_argument("--data", choices=("digits", "random"), default="digits")
    parser.add_argument("--grid", type=int, default=128, help="points per axis of the quadrature")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it still run?")
    parser.add_argument("--json", metavar="FILE", help="also write the figures, with machine and versions")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.mixtures, arguments.components, arguments.grid = 8, 32, 32
    if arguments.mixtures < 1 or arguments.components < PER_KERNEL or arguments.components % PER_KERNEL:
        parser.error(f"expected mixtures >= 1 and components a multiple of {PER_KERNEL}")
    make = {"digits": layer_inputs, "random": random_mixtures}[arguments.data]
    m = make(arguments.mixtures, arguments.components)
    print(f"{arguments.data}: {len(m)} mixtures of {m.n_components} components, {m.dim}D")
    rows = run(m, arguments.grid)
    show(rows, len(m))
    if arguments.json:
        sizes: dict[str, Any] = {
            "data": arguments.data,
            "mixtures": len(m),
            "components": m.n_components,
            "grid": arguments.grid,
            "seed": SEED,
        }
        sizes |= {"load": os.getloadavg()[1]}
        write_json(arguments.json, [sizes | row for row in rows])


if __name__ == "__main__":
    main()
