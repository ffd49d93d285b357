"""Draw the pictures of the documentation.

    python docs/pictures.py digit RUN [--index I]     a digit as Gaussians, and channels of a trained first layer
    python docs/pictures.py fashion                   images of clothes as 64 Gaussians (paper, figure 5)
    python docs/pictures.py furniture                 clouds as 128 Gaussians, four methods (paper, figure 6)

Each takes --out FILE.
"""

from __future__ import annotations

import argparse

from matplotlib.figure import Figure

import gmengine as gm
from gmengine import plot
from gmengine.cli.main import main as gmengine

FASHION = ("fashion-mnist", "--count", "4", "--dpi", "100", "--method", "kmeans+em")
METHODS = ("kmeans", "kmeans+em", "random+em", "eckart-soft")
FURNITURE = ("synth-furniture", "--count", "3", "--dpi", "72", *(x for m in METHODS for x in ("--method", m)))


def main() -> int:
    """Draw the picture asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", choices=("digit", "fashion", "furniture"))
    parser.add_argument("run", nargs="?", help="digit: folder of a finished run on the digits")
    parser.add_argument("--index", type=int, default=0, help="digit: which test sample")
    parser.add_argument("--out", help="default docs/<picture>.png")
    arguments = parser.parse_args()
    out = arguments.out or f"docs/{arguments.picture}.png"
    if arguments.picture != "digit":
        return gmengine(["plot", *(FASHION if arguments.picture == "fashion" else FURNITURE), "--out", out])
    if arguments.run is None:
        parser.error("digit: name the folder of a run")
    _digit(arguments.run, arguments.index, out)
    return 0


def _digit(run: str, index: int, out: str) -> None:
    """Load the run, push one test sample through its network, draw it before and after the first layer."""
    net, params, state, config = gm.training.load(run)
    _, _, test = gm.data.load(config.dataset, components=net.components[0])
    sample = test[index : index + 1]
    before, after, *_ = net.activations(params, state, sample.mixtures)

    figure = Figure(figsize=(10, 4.2))
    axes = figure.subplots(2, 5)
    digit = before[0, 0]
    plot.density(axes[0, 0], digit)
    plot.ellipses(axes[1, 0], digit)
    axes[0, 0].set_title(f"input, {int((digit.weights != 0).sum())} Gaussians", fontsize=9)
    for column in range(4):
        channel = after[0, column]
        plot.density(axes[0, column + 1], channel)
        plot.ellipses(axes[1, column + 1], channel)
        axes[0, column + 1].set_title(
            f"layer 1, channel {column}, {int((channel.weights != 0).sum())}", fontsize=9
        )
    figure.tight_layout()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
