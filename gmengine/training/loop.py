"""The training loop: values in, new values out. Files, threads and printing are other people's business."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from gmengine.autograd import Tape, leaves, tree_map, value_and_grad
from gmengine.autograd.trees import walk
from gmengine.backend import namespace, to_device
from gmengine.data import Dataset, augmented, batches
from gmengine.deferred import Checks, check, collected_checks
from gmengine.errors import NonFiniteError, NotPositiveDefinite
from gmengine.nn import Network, negative_log_likelihood
from gmengine.optim import (
    SGD,
    Adam,
    ConstantSchedule,
    OneCycle,
    ReduceOnPlateau,
    clip_by_global_norm,
)
from gmengine.training.config import RunConfig
from gmengine.training.place import in_place, place_of
from gmengine.training.progress import Arrays, Best, Model, Progress, Tally, evaluated

CALIBRATION_BATCHES = 10


@dataclass(frozen=True)
class Learner:
    """A network and the rules by which it learns from one training split.

    Parameters
    ----------
    config : RunConfig
        The rules' numbers.
    net : Network
        What learns.
    n_train : int
        Size of the training split.

    Raises
    ------
    ArgumentError
        If the configured augmentation cannot be of the network's dimension.
    """

    config: RunConfig
    net: Network
    n_train: int

    def __post_init__(self) -> None:
        self.config.variation.check_dim(self.net.dim)

    @property
    def batch_size(self) -> int:
        """The configured size, or the whole split where that is smaller."""
        return min(self.config.batch_size, self.n_train)

    @property
    def steps_per_epoch(self) -> int:
        """How many full batches an epoch has; the samples left over differ from epoch to epoch."""
        return self.n_train // self.batch_size

    @cached_property
    def adam(self) -> Adam:
        """The optimiser of the loss."""
        return Adam(lr=self.config.lr)

    @cached_property
    def decay(self) -> SGD | None:
        """The optimiser of the weight decay (paper eq. 8): its own, so that Adam does not rescale it."""
        rate = self.config.weight_decay * self.config.lr
        return SGD(lr=rate) if rate > 0 else None

    @cached_property
    def plateau(self) -> ReduceOnPlateau:
        """The schedule driven by the validation loss."""
        return ReduceOnPlateau(mode="min")

    @cached_property
    def pace(self) -> OneCycle | ConstantSchedule:
        """The schedule that knows the step alone."""
        total = self.config.epochs * self.steps_per_epoch
        if self.config.schedule == "one_cycle" and total > 1:
            return OneCycle(max_scale=1.0, total_steps=total)
        return ConstantSchedule()

    def scale(self, progress: Progress) -> float:
        """Return what all rates are multiplied by at the next step."""
        return self.pace.scale(progress.step) * progress.plateau.scale

    def init(self) -> Progress:
        """Return the progress before the first epoch, on the configured device."""
        params, state = self.net.init(np.random.default_rng(self.config.seed))
        model = tree_map(lambda a: to_device(a, self.config.device), Model(params, state))
        with place_of(model.params):
            moments = self.adam.init(model.params)
        return Progress(
            epoch=0,
            step=0,
            model=model,
            adam=moments,
            plateau=self.plateau.init(),
            average=model if self.config.average else None,
            best=Best(0, 0.0, math.inf, model),
            history=(),
        )

    def result(self, progress: Progress) -> tuple[int, Model]:
        """Return the epoch and the model that the run stands for so far."""
        if self.config.keeps_best:
            return progress.best.epoch, progress.best.model
        return progress.epoch, evaluated(progress)


@in_place
def train_step(learner: Learner, progress: Progress, batch: Dataset) -> tuple[Progress, Any, Any]:
    """Return the progress after one step, the loss of the batch and how many of it were classified correctly.

    Both numbers are scalars of the array library in use: on a GPU they need not have been computed yet.

    Adam on the clipped gradient of the loss, then the decay's own gradient step, both at the scheduled rate.

    Raises
    ------
    NonFiniteError
        If the loss or a gradient is NaN or infinite (see `gmengine.deferred`).
    """
    mixtures = batch.mixtures.to(learner.config.device)

    def loss(params: Arrays) -> tuple[Any, tuple[Any, Arrays]]:
        log_probabilities, state = learner.net.apply(params, progress.model.state, mixtures, training=True)
        return negative_log_likelihood(log_probabilities, batch.labels), (log_probabilities, state)

    (value, (log_probabilities, state)), grads = value_and_grad(loss, aux=True)(progress.model.params)
    check(value, _check_loss)
    scale = learner.scale(progress)
    grads, _ = clip_by_global_norm(grads, learner.config.max_norm)
    params, adam = learner.adam.update(progress.model.params, grads, progress.adam, scale)
    model = Model(_decayed(learner, params, scale), state)
    average = progress.average and _blend(progress.average, model, learner.config.average)
    xp = namespace(log_probabilities)
    hits = xp.sum(xp.argmax(log_probabilities, axis=1) == xp.asarray(batch.labels))
    after = progress._replace(step=progress.step + 1, model=model, adam=adam, average=average)
    return after, value, hits


def _together(loss: Any, correct: Any) -> Any:
    """Return both numbers as one array, where they are, so that they travel together."""
    if isinstance(loss, float | np.generic):
        return np.asarray([loss, correct], dtype=np.float64)
    xp = namespace(loss)
    return xp.stack([xp.astype(loss, xp.float64), xp.astype(correct, xp.float64)])


def _check_loss(value: np.ndarray) -> None:
    if not math.isfinite(float(value)):
        raise NonFiniteError(f"the loss is {float(value)}")


def _decayed(learner: Learner, params: Arrays, scale: float) -> Arrays:
    if learner.decay is None:
        return params
    tape = Tape()
    watched = tape.watch(params)
    slopes = tape.pull_back(learner.net.weight_decay(watched), leaves(watched))
    grads = {name: g for name, g in zip(params, slopes, strict=True) if g is not None}  # means do not decay
    decaying = {name: params[name] for name in grads}
    updated, _ = learner.decay.update(decaying, grads, learner.decay.init(decaying), scale)
    return params | updated


def _blend(average: Model, model: Model, rate: float) -> Model:
    pairs = zip(average, model, strict=True)
    return Model(*({k: rate * old[k] + (1.0 - rate) * new[k] for k in old} for old, new in pairs))


@in_place
def train_epoch(
    learner: Learner, progress: Progress, train: Dataset, on_batch: Callable[[int, Tally], None] | None = None
) -> tuple[Progress, Tally]:
    """Return the progress after all batches of the next epoch, and their sums.

    The order of the samples and their random variations depend on the seed and the number of the epoch alone.

    Parameters
    ----------
    learner : Learner
        The network and its rules.
    progress : Progress
        As the epoch before left it.
    train : Dataset
        The training split, of `learner.n_train` samples.
    on_batch : callable, optional
        Is called with the number of the epoch and the sums so far after every batch.

    Raises
    ------
    NonFiniteError
        As `train_step`; names the epoch, the batch and the step.
    """
    tally, number = Tally(), progress.epoch + 1
    rng = np.random.default_rng([learner.config.seed, number])

    def count(sums: np.ndarray) -> None:
        nonlocal tally
        (loss, correct), n = sums.tolist(), learner.batch_size
        tally = Tally(
            tally.batches + 1, tally.samples + n, tally.loss + loss * n, tally.correct + int(correct)
        )
        if on_batch is not None:
            on_batch(number, tally)

    # A GPU is given a step before the host looks at the one before it; on the CPU nothing waits.
    before, where = Checks(), ""
    for i, batch in enumerate(batches(train, learner.batch_size, rng=rng, drop_last=True)):
        batch = replace(batch, mixtures=augmented(batch.mixtures, learner.config.variation, rng=rng))
        here = f"epoch {number}, batch {i + 1}, step {progress.step + 1}"
        with _diverging(here), collected_checks() as checks:
            progress, loss, correct = train_step(learner, progress, batch)
            check(_together(loss, correct), count)
        with _diverging(where):
            before.settle()
        before, where = checks, here
    with _diverging(where):
        before.settle()
    return progress, tally


@contextmanager
def _diverging(where: str) -> Iterator[None]:
    """Turn what comes of numbers beyond the dtype into one error that says where and what to try."""
    try:
        with np.errstate(all="ignore"):  # every step and every evaluation is checked for what these announce
            yield
    except (NonFiniteError, NotPositiveDefinite) as error:
        advice = "the training diverged; try a smaller lr or max_norm"
        raise NonFiniteError(f"train: {error}, at {where}: {advice}") from error


@in_place
def run_epoch(
    learner: Learner,
    progress: Progress,
    train: Dataset,
    valid: Dataset,
    on_batch: Callable[[int, Tally], None] | None = None,
) -> Progress:
    """Return the progress after the next epoch and its validation, one line longer in the history."""
    start = time.perf_counter()
    progress, tally = train_epoch(learner, progress, train, on_batch)
    rate = learner.config.lr * learner.scale(progress._replace(step=progress.step - 1))
    trained = time.perf_counter()
    with _diverging(f"the end of epoch {progress.epoch + 1}"):
        _check_finite(progress)
        progress = _calibrated(learner, progress, train)
        found = evaluated(progress).measured(learner.net, valid)
    plateau = progress.plateau
    if learner.config.schedule == "plateau":
        plateau = learner.plateau.update(found.loss, plateau)
    line = {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "train_loss": tally.mean_loss,
        "train_accuracy": tally.accuracy,
        "valid_loss": found.loss,
        "valid_accuracy": found.accuracy,
        "lr": rate,
        "seconds": time.perf_counter() - start,
        "train_seconds": trained - start,
    }
    return progress._replace(
        epoch=progress.epoch + 1,
        plateau=plateau,
        best=_better(
            progress.best, Best(progress.epoch + 1, found.accuracy, found.loss, evaluated(progress))
        ),
        history=(*progress.history, line),
    )


def _calibrated(learner: Learner, progress: Progress, train: Dataset) -> Progress:
    """Return the progress with statistics of the present parameters in place of running averages.

    The averages lag behind parameters that move fast, and evaluation with them jumps from epoch to epoch.
    """
    rng = np.random.default_rng([learner.config.seed, progress.epoch + 1, 1])
    shown = islice(batches(train, learner.batch_size, rng=rng, drop_last=True), CALIBRATION_BATCHES)
    mixtures = [batch.mixtures.to(learner.config.device) for batch in shown]

    def fresh(model: Model) -> Model:
        return model._replace(state=learner.net.calibrate(model.params, mixtures))

    average = None if progress.average is None else fresh(progress.average)
    return progress._replace(model=fresh(progress.model), average=average)


def _better(old: Best, new: Best) -> Best:
    return new if old.epoch == 0 or (new.accuracy, -new.loss) > (old.accuracy, -old.loss) else old


def _check_finite(progress: Progress) -> None:
    """A checkpoint that no run can go on from must not replace a good one."""
    for path, leaf in walk((progress.model, progress.adam)):
        if hasattr(leaf, "shape") and not bool(namespace(leaf).all(namespace(leaf).isfinite(leaf))):
            raise NonFiniteError(f"{path} holds NaN or infinity")
