"""Draw the README's picture: ``python docs/pictures.py RUN [--index I] [--out docs/digit.png]``.

A test digit, the same digit as Gaussians, and channels of the trained network's first layer.
"""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

import gmengine as gm
from gmengine import plot


def main() -> None:
    """Load the run, push one test sample through its network, draw it before and after the first layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a finished run on the digits")
    parser.add_argument("--index", type=int, default=0, help="which test sample")
    parser.add_argument("--out", default="docs/digit.png")
    arguments = parser.parse_args()

    net, params, state, config = gm.training.load(arguments.run)
    _, _, test = gm.data.load(config.dataset, components=net.components[0])
    sample = test[arguments.index : arguments.index + 1]
    before, after, *_ = net.activations(params, state, sample.mixtures)

    figure, axes = pyplot.subplots(2, 5, figsize=(10, 4.2))
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
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
