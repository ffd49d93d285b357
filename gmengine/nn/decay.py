"""Weight decay of kernels (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace


def kernel_decay(params: Mapping[str, Any]) -> Any:
    """Return ``mean(w^2) + mean((A A^T - I)^2)``, the decay loss of one layer's kernels, a scalar.

    Paper eq. 8 with, as in the published code, the raw weights w and the covariances A A^T before their floor
    and radius are applied, and the mean over all kernel components and matrix entries of the layer. It pushes
    weights to `Kernel.weight_mean` and covariances to isotropy; means and biases do not decay.

    Parameters
    ----------
    params : {"weights": (O, I, M), "factors": (O, I, M, K, K), ...}
        Of one `Kernel`.
    """
    factors = params["factors"]
    value = value_of(factors)
    identity = namespace(value).eye(value.shape[-1], dtype=value.dtype)
    deviation = arrays.subtract(arrays.matmul(factors, arrays.matrix_transpose(factors)), identity)
    return arrays.add(arrays.mean(arrays.square(params["weights"])), arrays.mean(arrays.square(deviation)))
