"""The functions that an audit examines, and what they can be given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from gmengine.errors import ArgumentError
from gmengine.testing.auditing._own import FUNCTIONS
from gmengine.testing.laws import on_mixtures

Fn = Callable[..., Any]

_GIVE_MIXTURES = {
    "convolve",
    "translate",
    "scale",
    "relu",
    "reduce",
    "evaluate_vjp",
    "convolve_vjp",
    "relu_vjp",
}


@dataclass(frozen=True)
class Algebra:
    """Functions on mixtures, each optional, and the inputs that they are made for.

    Functions take and return Mixtures; `from_triples` takes functions of ``(weights, means, covariances)``.
    Shapes: a mixture has weights (*batch, N), means (*batch, N, K), covariances (*batch, N, K, K).

    Parameters
    ----------
    evaluate : ``(m, points (*batch', P, K)) -> (*batch, P)``
        Values; batches broadcast.
    evaluate_vjp : ``(m, points, cotangent) -> gradient``
        The gradient of ``sum(cotangent * evaluate(m, points))`` for m, of the shapes of m.
    density_gradient, density_hessian : ``(m, points) -> (*batch, P, K)`` and ``(*batch, P, K, K)``
        Derivatives for the point.
    integrate : ``m -> (*batch,)``
    convolve : ``(a, b) -> mixture``
        Of two single mixtures; the order of its components is free.
    convolve_vjp : ``(a, b, cotangent) -> (gradient of a, gradient of b)``
        The cotangent is three arrays of the shapes of the result.
    translate, scale : ``(m, t (K,)) -> mixture`` and ``(m, number) -> mixture``
        Pushed forward: the integral is kept.
    relu : ``(m, bias) -> mixture``
        New weights for ``max(0, m + bias)``, minus ``max(0, bias)``.
    relu_vjp : ``(m, bias, cotangent) -> gradient``
    reduce : ``(m, n) -> mixture``
        Merges to n components, or fewer where there were fewer; either sign by itself.
    product, l2_distance : ``(a, b) -> (*batch,)``
        The integral of a(x) b(x), and the square root of that of (a(x) - b(x))^2.
    signed : bool
        Whether weights may be negative.
    absent : bool
        Whether a component of weight exactly 0 is absent: no result depends on its mean and covariance.
    batches : tuple of shapes
        Leading shapes that mixtures may have; ``((),)`` for functions of single mixtures.
    dtypes : tuple of str
        What they compute in: "float64", and "float32" if that is to be examined too.
    max_condition : float
        Bound of the condition numbers of covariances.
    """

    evaluate: Fn | None = None
    evaluate_vjp: Fn | None = None
    density_gradient: Fn | None = None
    density_hessian: Fn | None = None
    integrate: Fn | None = None
    convolve: Fn | None = None
    convolve_vjp: Fn | None = None
    translate: Fn | None = None
    scale: Fn | None = None
    relu: Fn | None = None
    relu_vjp: Fn | None = None
    reduce: Fn | None = None
    product: Fn | None = None
    l2_distance: Fn | None = None
    signed: bool = True
    absent: bool = True
    batches: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 2))
    dtypes: tuple[str, ...] = ("float64", "float32")
    max_condition: float = 10.0

    def __post_init__(self) -> None:
        if not self.functions:
            raise ArgumentError("Algebra: expected at least one function")
        if "float64" not in self.dtypes or not set(self.dtypes) <= {"float64", "float32"}:
            raise ArgumentError(f"Algebra: expected float64 and perhaps float32, got {self.dtypes}")
        if not self.batches:
            raise ArgumentError("Algebra: expected at least one batch shape; () is that of a single mixture")
        for name in ("evaluate", "convolve", "relu"):
            if getattr(self, f"{name}_vjp") is not None and getattr(self, name) is None:
                raise ArgumentError(f"Algebra: {name}_vjp was given without {name}")

    @property
    def functions(self) -> dict[str, Fn]:
        """The functions that were given, by name."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: fn for name, fn in given.items() if callable(fn)}

    @staticmethod
    def from_triples(**options: Any) -> Algebra:
        """Return the algebra of functions on triples ``(weights, means, covariances)`` of NumPy arrays.

        The parameters are those of `Algebra`; wherever a function there takes a mixture, or a cotangent that has
        the shapes of one, here it takes a triple, and returns a triple (`convolve_vjp` two of them).
        """
        wrapped: dict[str, Any] = {
            name: on_mixtures(x, gives_mixtures=name in _GIVE_MIXTURES) if callable(x) else x
            for name, x in options.items()
        }
        return Algebra(**wrapped)

    @staticmethod
    def of_gmengine(**options: Any) -> Algebra:
        """Return gmengine's own algebra; `options` replace functions or the inputs they are given."""
        return Algebra(**{**FUNCTIONS, **options})
