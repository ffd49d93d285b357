"""A state machine holds the tape equal to a naive graph that multiplies Jacobians along every path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from gmengine.autograd import Primitive, Tape, arrays
from gmengine.errors import TapeError
from gmengine.testing import assert_close

LENGTHS = (1, 3)
MATRIX = np.array([[0.5, -1.0, 0.0], [2.0, 0.25, 1.0], [0.0, -0.5, 1.5]])


@Primitive
def sine_and_cosine_p(x):
    s, c = np.sin(x), np.cos(x)
    return (s, c), (s, c)


@sine_and_cosine_p.defvjp
def _(residuals, cotangents, needs):
    (s, c), (gs, gc) = residuals, cotangents
    return (gs * c - gc * s,)


class Node:
    """A vector, and the Jacobian of it with respect to each parent."""

    def __init__(self, value, *edges):
        self.value, self.edges = value, edges


def jacobian(target: Node, source: Node, size: bool, known: dict | None = None):
    """Return d target / d source, summed over all paths; None without one; with `size`, of absolute terms."""
    known = {} if known is None else known
    if target is source:
        return np.eye(len(target.value))
    if target not in known:
        total = None
        for parent, local in target.edges:
            above = jacobian(parent, source, size, known)
            if above is not None:
                term = (abs(local) if size else local) @ above
                total = term if total is None else total + term
        known[target] = total
    return known[target]


def ones(node: Node, length: int) -> np.ndarray:
    """Return the Jacobian of broadcasting a node to `length`."""
    return np.eye(length) if len(node.value) == length else np.ones((length, 1))


class TapeAgainstGraph(RuleBasedStateMachine):
    nodes = Bundle("nodes")
    seeds = st.integers(0, 2**32 - 1)

    @initialize()
    def start(self):
        self.tape = Tape()
        self.tensor_of = {}

    def known(self, tensor, node):
        assert_close("exact", tensor.value, node.value)
        self.tensor_of[node] = tensor
        return node

    @rule(target=nodes, seed=seeds, length=st.sampled_from(LENGTHS))
    def watch(self, seed, length):
        value = np.random.default_rng(seed).uniform(-1.0, 1.0, length)
        return self.known(self.tape.watch(value), Node(value))

    @rule(target=nodes, a=nodes, b=nodes)
    def add(self, a, b):
        n = max(len(a.value), len(b.value))
        node = Node(a.value + b.value, (a, ones(a, n)), (b, ones(b, n)))
        return self.known(self.tensor_of[a] + self.tensor_of[b], node)

    @rule(target=nodes, a=nodes, b=nodes)
    def multiply(self, a, b):
        assume(max(abs(a.value).max(), abs(b.value).max()) < 10.0)
        n = max(len(a.value), len(b.value))
        left, right = np.diag(np.broadcast_to(b.value, n)), np.diag(np.broadcast_to(a.value, n))
        node = Node(a.value * b.value, (a, left @ ones(a, n)), (b, right @ ones(b, n)))
        return self.known(self.tensor_of[a] * self.tensor_of[b], node)

    @rule(target=nodes, a=nodes, seed=seeds)
    def times_a_constant(self, a, seed):
        factor = np.random.default_rng(seed).uniform(-1.0, 1.0, 3)
        node = Node(factor * a.value, (a, np.diag(factor) @ ones(a, 3)))
        return self.known(factor * self.tensor_of[a], node)

    @rule(target=nodes, a=nodes)
    def sine_and_cosine(self, a):
        sine, cosine = sine_and_cosine_p(self.tensor_of[a])
        s, c = np.sin(a.value), np.cos(a.value)
        return multiple(
            self.known(sine, Node(s, (a, np.diag(c)))), self.known(cosine, Node(c, (a, -np.diag(s))))
        )

    @rule(target=nodes, a=nodes, indices=st.lists(st.integers(0, 2), min_size=3, max_size=3))
    def take(self, a, indices):
        picked = np.array(indices) % len(a.value)
        node = Node(a.value[picked], (a, np.eye(len(a.value))[picked]))
        return self.known(arrays.take(self.tensor_of[a], picked, 0), node)

    @rule(target=nodes, a=nodes)
    def mean(self, a):
        n = len(a.value)
        return self.known(
            self.tensor_of[a].mean(keepdims=True),
            Node(a.value.mean(keepdims=True), (a, np.full((1, n), 1 / n))),
        )

    @rule(target=nodes, a=nodes)
    def transform(self, a):
        assume(len(a.value) == 3)
        return self.known(MATRIX @ self.tensor_of[a], Node(MATRIX @ a.value, (a, MATRIX)))

    @rule(a=nodes)
    def refuse_another_tape(self, a):
        entries = len(self.tape._entries)
        with pytest.raises(TapeError):
            self.tensor_of[a] + Tape().watch(np.ones(1))
        assert len(self.tape._entries) == entries

    @rule(goal=nodes, sources=st.lists(nodes, min_size=1, max_size=4), seed=seeds)
    def differentiate(self, goal, sources, seed):
        g = np.random.default_rng(seed).standard_normal(len(goal.value))
        target, tensors = self.tensor_of[goal], [self.tensor_of[s] for s in sources]
        got = self.tape.pull_back(target, tensors, g)
        for grad, source in zip(got, sources, strict=True):
            whole = jacobian(goal, source, size=False)
            if whole is None:
                assert grad is None
            else:
                scale = np.max(abs(g) @ jacobian(goal, source, size=True))
                assert_close("sum", grad, g @ whole, size=1000, scale=max(scale, 1e-300))
        if any(grad is None for grad in got):
            with pytest.raises(TapeError, match="never reached"):
                self.tape.gradient(target, tensors, g)


TestTapeAgainstGraph = TapeAgainstGraph.TestCase
TestTapeAgainstGraph.settings = settings(stateful_step_count=25)
