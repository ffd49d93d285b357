"""One small mesh in several formats, and how far a share of random points may be off."""

import numpy as np

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])
OBJ = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0.5\nf 1 2 3 4\n"
OFF = b"OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n4 0 1 2 3\n"
XYZ = b"0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n"


def unsure(samples, doubt=1e-9):
    """How far a mean of `samples` numbers in [0, 1] is from its expectation, but for the odds `doubt` (Hoeffding)."""
    return np.sqrt(np.log(2 / doubt) / (2 * samples))
