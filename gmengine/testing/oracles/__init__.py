"""What every op should give, slow and obvious: shares no code with the package.

NumPy arrays in, NumPy float64 out. A mixture is three arrays, ``weights (*batch, N)``, ``means (*batch, N,
K)``, ``covariances (*batch, N, K, K)``; a component of weight 0 is absent. Closed forms are loops over
components, by SciPy and, where digits cancel, by mpmath; what ends in ``_on_grid`` sums values over a grid and
knows nothing of the algebra.
"""

from gmengine.testing.oracles._formulas import (
    Triple,
    conditional,
    convolve,
    density,
    derivatives,
    domain_scale,
    evaluate,
    evaluate_precise,
    integrate,
    l2_distance,
    mean_and_covariance,
    moments,
    peak_sum,
    peaks,
    present,
    product,
    push_forward,
    relu,
)
from gmengine.testing.oracles._grids import (
    convolve_on_grid,
    grid_over,
    integral_on_grid,
    l2_distance_on_grid,
    moments_on_grid,
    product_on_grid,
)

__all__ = [
    "Triple",
    "conditional",
    "convolve",
    "convolve_on_grid",
    "density",
    "derivatives",
    "domain_scale",
    "evaluate",
    "evaluate_precise",
    "grid_over",
    "integral_on_grid",
    "integrate",
    "l2_distance",
    "l2_distance_on_grid",
    "mean_and_covariance",
    "moments",
    "moments_on_grid",
    "peak_sum",
    "peaks",
    "present",
    "product",
    "product_on_grid",
    "push_forward",
    "relu",
]
