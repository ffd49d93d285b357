"""Training: configurations, the loop, checkpoints and measurements."""

from gmengine.training.checkpoint import CHECKPOINT, Checkpoint, load, load_checkpoint, result_of
from gmengine.training.config import RunConfig, environment_options
from gmengine.training.inputs import read_mixtures
from gmengine.training.loop import Learner, run_epoch, train_epoch, train_step
from gmengine.training.metrics import Evaluation, accuracy, evaluate, predict, read_lines
from gmengine.training.progress import Model, Progress, Tally
from gmengine.training.run import Run, Start, Watcher, resume, train
from gmengine.training.splits import PARTS, Splits, Task, load_part, load_splits
from gmengine.training.suited import suited_options
from gmengine.training.threads import limited_threads, requested_threads
from gmengine.training.warm_up import warm_up

__all__ = [
    "CHECKPOINT",
    "PARTS",
    "Checkpoint",
    "Evaluation",
    "Learner",
    "Model",
    "Progress",
    "Run",
    "RunConfig",
    "Splits",
    "Start",
    "Tally",
    "Task",
    "Watcher",
    "accuracy",
    "environment_options",
    "evaluate",
    "limited_threads",
    "load",
    "load_checkpoint",
    "load_part",
    "load_splits",
    "predict",
    "read_lines",
    "read_mixtures",
    "requested_threads",
    "result_of",
    "resume",
    "run_epoch",
    "suited_options",
    "train",
    "train_epoch",
    "train_step",
    "warm_up",
]
