"""Non-negative least squares by Lawson and Hanson's active set, one problem at a time, on the host."""

from __future__ import annotations

import numpy as np

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)


def non_negative(a: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the y >= 0 of least |A y - t|, float64, for A (P, N) and t (P,).

    Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23: the column of steepest descent enters the
    passive set (the y that may differ from 0), columns whose y would turn negative leave. Columns are compared at
    unit length; of equal slopes the first enters. The subproblems are solved by QR, not by normal equations:
    columns of overlapping Gaussians are nearly dependent. Every step must lower the residual, so it ends.
    """
    length = np.linalg.norm(a, axis=0)
    absent, length = length == 0.0, np.where(length > 0.0, length, 1.0)
    columns = a / length
    slack = 64.0 * _EPS * np.sqrt(max(a.shape)) * np.linalg.norm(t)
    if a.shape[0] > a.shape[1]:
        q, columns = np.linalg.qr(columns)
        t = q.T @ t
    y, refused, solver = np.zeros(a.shape[1]), absent, _Subproblem(columns, t)
    residual, size = t, float(np.linalg.norm(t))
    while True:
        slope = columns.T @ residual
        slope[solver.passive] = -np.inf
        slope[refused] = -np.inf
        if len(solver.passive) == min(columns.shape) or not np.max(slope) > slack:
            return y / length
        entering = int(np.argmax(slope))
        trial = _enter(solver, y, entering)
        rest = t - columns @ trial
        if np.linalg.norm(rest) < size:
            y, residual, size, refused = trial, rest, float(np.linalg.norm(rest)), absent
        else:
            solver.restart(np.flatnonzero(y))
            refused = refused.copy()
            refused[entering] = True


def _enter(solver: _Subproblem, y: np.ndarray, entering: int) -> np.ndarray:
    """Let a column enter; return the next feasible y, whose columns are then the passive ones."""
    y = y.copy()
    solver.add(entering)
    while True:
        chosen, z = solver.passive, solver.solution()
        falling = z <= 0.0
        if not falling.any():
            y[chosen] = z
            return y
        steps = np.full(len(chosen), np.inf)
        steps[falling] = y[chosen][falling] / np.maximum((y[chosen] - z)[falling], _TINY)
        step = float(steps.min())
        y[chosen] += step * (z - y[chosen])
        y[chosen[steps <= step]] = 0.0
        solver.restart(chosen[steps > step])


class _Subproblem:
    """The least-squares problem in the passive columns: their QR decomposition, which grows column by column."""

    def __init__(self, columns: np.ndarray, t: np.ndarray) -> None:
        self.columns, self.t = columns, t
        self.restart(np.zeros(0, np.int64))

    @property
    def passive(self) -> np.ndarray:
        """The passive columns, in the order in which they entered."""
        return np.asarray(self._order, np.int64)

    def restart(self, passive: np.ndarray) -> None:
        """Decompose these columns anew."""
        self._order = [int(i) for i in passive]
        most = min(self.columns.shape)
        self._q, self._r = np.zeros((len(self.t), most)), np.zeros((most, most))
        n = len(self._order)
        self._q[:, :n], self._r[:n, :n] = np.linalg.qr(self.columns[:, self._order])

    def add(self, column: int) -> None:
        """Orthogonalise one more column, twice, which is enough."""
        n = len(self._order)
        q, rest = self._q[:, :n], self.columns[:, column]
        for _ in range(2):
            along = q.T @ rest
            rest = rest - q @ along
            self._r[:n, n] += along
        self._r[n, n] = np.linalg.norm(rest)
        self._q[:, n] = rest / max(self._r[n, n], _TINY)
        self._order.append(column)

    def solution(self) -> np.ndarray:
        n = len(self._order)
        return np.linalg.solve(self._r[:n, :n], self._q[:, :n].T @ self.t)
