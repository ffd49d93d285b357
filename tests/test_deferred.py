"""Deferred checks: what waits, for how long, in which order, and what an error in the block does to it."""

from __future__ import annotations

import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from remote import WaitedError, home, house, remote

from gmengine import deferred
from gmengine.autograd import grad, value_and_grad
from gmengine.deferred import check, collected_checks, deferred_checks
from gmengine.errors import ArgumentError, NonFiniteError
from gmengine.mixture import Mixture
from gmengine.nn import negative_log_likelihood, network
from gmengine.ops.affine import scale, translate
from gmengine.ops.normalise import domain_scale
from gmengine.ops.relu import relu
from gmengine.testing import assert_close
from gmengine.testing.strategies import random_mixture


@pytest.fixture(autouse=True)
def transfers(monkeypatch):
    """Stand-ins for what copies to the host, at once and behind the GPU's work; returns what was copied, in order."""
    copies = []

    def fetch(values, device="cpu"):
        copies.append(home(values).copy())
        return copies[-1]

    def start_copy(values):
        found = fetch(values)
        return lambda: found

    monkeypatch.setattr(deferred, "to_device", fetch)
    monkeypatch.setitem(sys.modules, "gmengine.cuda._transfer", ModuleType("_transfer"))
    sys.modules["gmengine.cuda._transfer"].start_copy = start_copy
    return copies


def refuse(word):
    def judge(values):
        assert type(values) is np.ndarray
        if not values.all():
            raise NonFiniteError(word)

    return judge


GOOD, BAD = [True, True], [True, False]


def test_values_on_the_cpu_are_judged_at_once_in_a_block_too(transfers):
    for value in (np.asarray(BAD), np.asarray(BAD)[1], np.asarray(False)):
        with pytest.raises(NonFiniteError, match="now"):
            check(value, refuse("now"))
        after = []
        with pytest.raises(NonFiniteError, match="now"), deferred_checks():  # noqa: PT012
            check(value, refuse("now"))
            after.append(1)
        assert after == []
    assert transfers == []


def test_values_on_a_gpu_are_judged_at_once_outside_of_blocks(transfers):
    with pytest.raises(NonFiniteError, match="now"):
        check(remote(np.asarray(BAD)), refuse("now"))
    check(remote(np.asarray(GOOD)), refuse("never"))
    assert len(transfers) == 2


def test_in_a_block_nobody_looks_before_its_end(transfers):
    steps = []
    with pytest.raises(NonFiniteError, match="late"), deferred_checks():  # noqa: PT012
        check(remote(np.asarray(BAD)), refuse("late"))
        steps.append(len(transfers))
    assert steps == [0]
    assert len(transfers) == 1


def test_of_several_that_fail_the_first_is_raised():
    with pytest.raises(NonFiniteError, match="second"), deferred_checks():  # noqa: PT012
        check(remote(np.asarray(GOOD)), refuse("first"))
        check(remote(np.asarray(BAD)), refuse("second"))
        check(remote(np.asarray(BAD)), refuse("third"))


def test_an_error_in_the_block_gives_way_to_the_check_that_may_name_its_cause():
    with pytest.raises(NonFiniteError, match="cause") as caught, deferred_checks():  # noqa: PT012
        check(remote(np.asarray(BAD)), refuse("cause"))
        raise ValueError("effect")
    assert isinstance(caught.value.__context__, ValueError)
    with pytest.raises(ValueError, match="effect"), deferred_checks():  # noqa: PT012
        check(remote(np.asarray(GOOD)), refuse("never"))
        raise ValueError("effect")
    with pytest.raises(NonFiniteError, match="now"):  # the block is over
        check(remote(np.asarray(BAD)), refuse("now"))


def test_an_interrupt_is_never_replaced(transfers):
    with pytest.raises(KeyboardInterrupt), deferred_checks():  # noqa: PT012
        check(remote(np.asarray(BAD)), refuse("unheard"))
        raise KeyboardInterrupt
    assert transfers == []
    with pytest.raises(NonFiniteError, match="now"):
        check(remote(np.asarray(BAD)), refuse("now"))


def test_an_inner_block_settles_its_own_checks_and_no_others(transfers):
    seen = []
    with deferred_checks():
        check(remote(np.asarray([1.0])), lambda v: seen.append("before"))
        with deferred_checks():
            check(remote(np.asarray([2.0])), lambda v: seen.append("inside"))
            assert seen == []
        assert seen == ["inside"]
        check(remote(np.asarray([3.0])), lambda v: seen.append("after"))
        assert seen == ["inside"]
    assert seen == ["inside", "before", "after"]


def test_collected_checks_are_copied_when_the_block_ends_and_judged_when_asked_for_once(transfers):
    seen = []
    with collected_checks() as checks:
        for i in range(3):
            check(remote(np.asarray([i])), lambda v: seen.append(int(v[0])))
        assert transfers == []
    assert [int(c[0]) for c in transfers] == [0, 1, 2]
    assert seen == []
    checks.settle()
    checks.settle()
    assert seen == [0, 1, 2]
    assert len(transfers) == 3


def test_checks_that_were_collected_do_not_hinder_later_blocks():
    with collected_checks() as first:
        check(remote(np.asarray(BAD)), refuse("first"))
    with deferred_checks():
        check(remote(np.asarray(GOOD)), refuse("never"))
    with pytest.raises(NonFiniteError, match="first"):
        first.settle()
    first.settle()  # what was raised is not raised again


def test_a_block_of_one_thread_defers_nothing_in_another():
    found = []

    def elsewhere():
        try:
            check(remote(np.asarray(BAD)), refuse("there"))
        except NonFiniteError as error:
            found.append(str(error))

    with deferred_checks():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert found == ["there"]


# --- what lies on the path of a training step ------------------------------------------------------------------


def remote_mixture():
    weights, means = np.ones((2, 3)), np.zeros((2, 3, 2))
    return Mixture(remote(weights), remote(means), remote(np.broadcast_to(np.eye(2), (2, 3, 2, 2)).copy()))


def flat(m):
    return Mixture(m.weights, m.means, 0.0 * m.covariances)


REFUSED = {
    "bias": (
        lambda m: relu(m, remote(np.asarray([0.0, np.nan]))),
        NonFiniteError,
        "relu: the bias holds NaN",
    ),
    "shift": (
        lambda m: translate(m, remote(np.asarray([np.inf, 0.0]))),
        NonFiniteError,
        "translate: t holds NaN",
    ),
    "factor": (
        lambda m: scale(m, remote(np.asarray([1.0, 0.0]))),
        ArgumentError,
        r"scale: factor \[1\] is 0.0",
    ),
    "trace": (lambda m: domain_scale(flat(m)), ArgumentError, r"mean trace of mixture \[0\] is 0.0"),
    "label": (
        lambda m: negative_log_likelihood(remote(np.zeros((2, 3))), remote(np.asarray([2, 3]))),
        ArgumentError,
        "label 1 is 3, expected 0 to 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_training_step_refuses_on_a_gpu_waits_for_the_end_of_the_block(case, transfers, monkeypatch):
    call, error, message = REFUSED[case]
    # as a kernel that has not been waited for: it computes something, whatever the bias
    careless = SimpleNamespace(forward=lambda weights, *others, **options: (weights, None))
    monkeypatch.setitem(sys.modules, "gmengine.cpu.relu", careless)
    with np.errstate(all="ignore"):
        with pytest.raises(error, match=message):
            call(remote_mixture())
        transfers.clear()
        with collected_checks() as checks:
            call(remote_mixture())
            assert transfers == []
    with pytest.raises(error, match=message):
        checks.settle()


@pytest.mark.parametrize("bias", [np.nan, float("inf"), [0.0, -np.inf]])
def test_a_bias_and_labels_from_the_host_are_refused_before_they_travel(bias, transfers):
    with deferred_checks():
        with pytest.raises(NonFiniteError, match="relu: the bias"):
            relu(remote_mixture(), bias)
        with pytest.raises(ArgumentError, match="label 1 is 3"):
            negative_log_likelihood(remote(np.zeros((2, 3))), np.asarray([2, 3]))
    assert transfers == []


@pytest.mark.parametrize("look", [bool, int, float, list, lambda x: x.tolist()])
def test_a_look_at_a_value_on_a_gpu_is_noticed(look):
    with pytest.raises(WaitedError):
        look(np.sum(remote(np.ones(2)) * 2.0))


@pytest.mark.parametrize(
    "options", [{"bias": True}, {"scale_per_sample": True, "share_scale": True}], ids=str
)
def test_a_training_step_never_waits_for_the_gpu(options, transfers, monkeypatch):
    net = network("2/6 -> 3/4 -> 2", dim=2, **options)
    batch = SimpleNamespace(
        mixtures=random_mixture(0, (3, 2), 6, 2, dtype="float32"), labels=np.asarray([0, 1, 1])
    )
    params, state = net.init(0)
    want, (grads, decays) = step(net, params, state, batch)
    for op in ("convolve", "relu", "tree_hem"):
        monkeypatch.setitem(sys.modules, f"gmengine.cpu.{op}", house(op))
    there = SimpleNamespace(mixtures=Mixture(*remote(batch.mixtures.arrays)), labels=batch.labels)
    with collected_checks() as checks:
        value, found = step(
            net, *({name: remote(a) for name, a in tree.items()} for tree in (params, state)), there
        )
        assert transfers == []
    checks.settle()
    assert_close("exact", home(value), want)
    for got, expected in zip(found, (grads, decays), strict=True):
        for name, array in expected.items():
            assert_close("exact", home(got[name]), array, name=name)


def step(net, params, state, batch):
    """Return the loss of a batch, its gradient, and that of the weight decay."""
    (value, _), grads = value_and_grad(net.loss, aux=True)(params, state, batch)
    kernels = {name: a for name, a in params.items() if name.endswith((".weights", ".factors"))}
    return value, (grads, grad(net.weight_decay)(kernels))
