"""Least squares on stacks of matrices through their singular values, with gradients; float64 arrays only."""

from __future__ import annotations

from typing import Any, NamedTuple

from gmengine.backend import Array, namespace


class Spectrum(NamedTuple):
    """A = U diag(s) V^T and what is made of each singular value: y = V diag(f) U^T t."""

    u: Array
    s: Array
    vt: Array
    f: Array
    f_over_s: Array
    kept: Array


def spectrum(a: Array, ridge: float, cutoff: Array) -> Spectrum:
    """Decompose the matrices (B, P, N).

    f(s) = s / (s^2 + ridge) if ridge > 0; else 1 / s for s > cutoff * largest s (cutoff (B, 1)), and 0 below.
    """
    xp = namespace(a)
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    kept = s > cutoff * xp.max(s, axis=-1, keepdims=True)
    if ridge > 0.0:
        over = 1.0 / (s * s + ridge)
        return Spectrum(u, s, vt, s * over, over, kept)
    f = xp.where(kept, 1.0 / xp.where(kept, s, xp.ones_like(s)), 0.0)
    return Spectrum(u, s, vt, f, f * f, kept)


def solution(d: Spectrum, t: Array) -> Array:
    """Return y = V diag(f) U^T t, (B, N), for right sides (B, P)."""
    return _apply(_swap(d.vt), d.f * _apply(_swap(d.u), t))


def solution_vjp(d: Spectrum, ridge: float, t: Array, g: Array) -> tuple[Array, Array]:
    """Return the gradients of A (B, P, N) and of t (B, P) from the cotangent g (B, N) of the solution.

    The solution is y = F t with F^T = U f(S) V^T, where f is odd and f(0) = 0: a function of the symmetric matrix
    [[0, A], [A^T, 0]], whose eigenvalues are +-s and 0. Its differential (Daleckii and Krein) has in the singular
    bases, with E = U^T dA V, the entries

        p_ij E_ij + q_ij E_ji,      p, q = 1/2 ((f_i - f_j) / (s_i - s_j) +- (f_i + f_j) / (s_i + s_j)),

    and (f_j / s_j) u^T dA v_j for u orthogonal to U, (f_i / s_i) u_i^T dA v for v orthogonal to V. With a = U^T t,
    b = V^T g and the rests t' = t - U a, g' = g - V b, <g, dF t> = <G, dA> for

        G = U (p o a b^T + q o b a^T) V^T + t' (b f/s)^T V^T + U (a f/s) g'^T,       g_t = U (f b).

    With s_i > s_j where that matters, the coefficients are

        ridge:           p = ridge / ((s_i^2 + ridge) (s_j^2 + ridge))        q = -f_i f_j
        both kept:       p = 0                                                q = -f_i f_j
        i kept, j not:   p = 1 / (s_i^2 - s_j^2)                              q = (s_j / s_i) p
        neither:         p = q = 0.

    If what is dropped is exactly 0 this is the formula of Golub and Pereyra for constant rank. It holds also where
    dropped values are merely small, as those of overlapping Gaussians are, while none crosses the cutoff.
    """
    xp = namespace(t)
    along, weight = _apply(_swap(d.u), t), _apply(d.vt, g)
    si, sj = d.s[..., :, None], d.s[..., None, :]
    q = -(d.f[..., :, None] * d.f[..., None, :])
    if ridge > 0.0:
        p = ridge * (d.f_over_s[..., :, None] * d.f_over_s[..., None, :])
    else:
        mixed = d.kept[..., :, None] != d.kept[..., None, :]
        gap = xp.where(mixed, xp.abs(si - sj) * (si + sj), xp.ones_like(q))
        p = xp.where(mixed, 1.0 / gap, 0.0)
        larger = xp.where(mixed, xp.maximum(si, sj), xp.ones_like(q))
        q = xp.where(mixed, xp.minimum(si, sj) / larger * p, q)
    core = p * _outer(along, weight) + q * _outer(weight, along)
    rest_t = t - _apply(d.u, along)
    rest_g = g - _apply(_swap(d.vt), weight)
    g_a = d.u @ (core @ d.vt + _outer(d.f_over_s * along, rest_g))
    g_a = g_a + _outer(rest_t, _apply(_swap(d.vt), d.f_over_s * weight))
    return g_a, _apply(d.u, d.f * weight)


def lengths(a: Array) -> Array:
    """Return the length of each column of (B, P, N), 1 for a column of zeros: shape (B, N)."""
    xp = namespace(a)
    found = xp.sqrt(xp.sum(a * a, axis=-2))
    return xp.where(found > 0.0, found, xp.ones_like(found))


def _swap(x: Array) -> Array:
    return namespace(x).matrix_transpose(x)


def _apply(matrices: Array, vectors: Array) -> Any:
    return (matrices @ vectors[..., None])[..., 0]


def _outer(x: Array, y: Array) -> Any:
    return x[..., :, None] * y[..., None, :]
