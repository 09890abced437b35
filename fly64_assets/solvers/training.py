"""One training loop for every network: schedule, averaged and best weights, history, divergence.

The loop knows index rows and a loss; what a row means is the model's business. It draws nothing at
random itself: the rows of an epoch are a function of the epoch alone, so that a run continued from
a checkpoint sees what an uninterrupted one sees. What does not belong here: losses, networks,
files. Imports TensorFlow at the top: import this module only after ``start_tensorflow``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from fly64_assets.solvers.interface import (
    NO_CHECKPOINT,
    Checkpoint,
    Progress,
    ProgressCallback,
    Snapshot,
)
from fly64_assets.study.model import TrainingSettings

HistoryRow = dict[str, float]
LossOfRows = Callable[[tf.Tensor], tf.Tensor]


class TrainingDiverged(RuntimeError):
    """The loss is no finite number any more."""


def epoch_rows(epoch: int, size: int, rows_of_pass: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return the rows of one epoch, when every epoch has ``size`` rows however many a pass has.

    Passes over the data are strung together and cut into epochs of equal length, so that views
    with few and with many images are trained with the same number of steps.

    Args:
        epoch: from 0.
        size: rows of an epoch.
        rows_of_pass: pass, from 0 -> (m, k) rows in the order to visit, m the same for all passes.
    """
    rows = rows_of_pass(0)
    first, last = epoch * size // len(rows), ((epoch + 1) * size - 1) // len(rows)
    passes = [rows_of_pass(number) for number in range(first, last + 1)]
    start = epoch * size - first * len(rows)
    return np.concatenate(passes)[start : start + size]


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What the loop goes through.

    Attributes:
        of_epoch: epoch, from 0 -> (rows, k) int32 in the order to visit; the same number of rows
            for every epoch.
        validation: (rows, k) int32, visited as they are.
        patterns_per_row: diffraction patterns that the network sees for one row.
    """

    of_epoch: Callable[[int], np.ndarray]
    validation: np.ndarray
    patterns_per_row: int


class Companion(Protocol):
    """What changes with the weights from epoch to epoch, beside them."""

    def advance(self, epoch: int) -> None:
        """Change after ``epoch``, from 0, but the last; the model holds averaged weights then."""

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All of its state, for a snapshot; names without a slash."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the state of a snapshot."""


class NoCompanion:
    """Nothing changes but the weights."""

    def advance(self, epoch: int) -> None:
        pass

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        pass


NO_COMPANION = NoCompanion()
COMPANION = "companion_"
"""How the names of a companion's arrays begin in a snapshot."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """How a training went; the model holds the best weights.

    Attributes:
        history: one row per epoch: epoch (from 1), loss, validation_loss, learning_rate (at the
            epoch's end), seconds.
        best_epoch: the epoch, from 1, of the least validation loss.
    """

    history: list[HistoryRow]
    best_epoch: int


@dataclass(eq=False)
class _Course:
    """A training under way: with its snapshot it goes on in another process, to the same bits.

    Attributes:
        model, optimizer: built, with the variables that training changes.
        history: see `TrainingResult`.
        best_weights: averaged, after the epoch of least validation loss so far.
        companion: see `Companion`.
    """

    model: keras.Model
    optimizer: keras.Optimizer
    history: list[HistoryRow]
    best_weights: list[np.ndarray]
    companion: Companion

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the model the running mean of its weights, and its own weights back at the end."""
        own = self.model.get_weights()
        self.optimizer.finalize_variable_values(self.model.trainable_variables)
        yield
        self.model.set_weights(own)

    @property
    def best_epoch(self) -> int:
        """From 1; the first of equals."""
        return 1 + int(np.argmin([row["validation_loss"] for row in self.history]))

    def conclude_epoch(self, row: HistoryRow) -> None:
        self.history.append(row)
        if self.best_epoch == len(self.history):
            self.best_weights = self.model.get_weights()

    def snapshot(self, epochs: int) -> Snapshot:
        groups = {
            "weights": self.model.get_weights(),
            "best": self.best_weights,
            "optimizer": [variable.numpy() for variable in self.optimizer.variables],
        }
        arrays = {
            f"{group}_{number:04d}": values
            for group, members in groups.items()
            for number, values in enumerate(members)
        }
        arrays |= {COMPANION + name: values for name, values in self.companion.arrays().items()}
        state = {"history": [dict(row) for row in self.history]}
        return Snapshot(len(self.history), epochs, "epoch", arrays, state)

    def restore(self, snapshot: Snapshot) -> None:
        def group(name: str) -> list[np.ndarray]:
            names = sorted(key for key in snapshot.arrays if key.startswith(f"{name}_"))
            return [snapshot.arrays[key] for key in names]

        self.model.set_weights(group("weights"))
        for variable, value in zip(self.optimizer.variables, group("optimizer"), strict=True):
            variable.assign(value)
        self.best_weights = group("best")
        own = {
            key.removeprefix(COMPANION): values
            for key, values in snapshot.arrays.items()
            if key.startswith(COMPANION)
        }
        self.companion.restore(own)
        self.history = [dict(row) for row in snapshot.state["history"]]


def _batches(rows: np.ndarray, batch_size: int) -> list[tf.Tensor]:
    """All rows, in order; the last batch is as small as it comes."""
    starts = range(0, len(rows), batch_size)
    return [tf.constant(rows[start : start + batch_size], tf.int32) for start in starts]


def _mean_loss(evaluate: LossOfRows, batches: list[tf.Tensor]) -> float:
    """Mean over rows, whatever the batches: each batch counts by its rows."""
    sums = [evaluate(batch) * tf.cast(tf.shape(batch)[0], tf.float32) for batch in batches]
    return float(tf.add_n(sums)) / sum(int(batch.shape[0]) for batch in batches)


def fit(
    model: keras.Model,
    loss_of_rows: LossOfRows,
    rows: TrainingRows,
    settings: TrainingSettings,
    progress: ProgressCallback,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    companion: Companion = NO_COMPANION,
) -> TrainingResult:
    """Train ``model`` in place with Adam (Kingma and Ba, ICLR 2015) and keep its best weights.

    The learning rate falls as a half cosine to ``learning_rate * final_rate_fraction``; gradients
    are clipped by their global norm. What is validated and kept is a running mean of the weights
    (Polyak and Juditsky, SIAM J. Control Optim. 30, 838 (1992)).

    Args:
        model: its trainable weights are what is fitted.
        loss_of_rows: (b, k) int32 -> scalar, the mean over the rows.
        rows: see `TrainingRows`.
        settings: the model's section of the study.
        progress: called after each epoch.
        checkpoint: saved after each epoch, before ``progress`` tells of it; where it holds a
            snapshot, training goes on from there, and only ``seconds`` of what it returns differ.
        companion: advanced between epochs, and saved with the weights.

    Raises:
        TrainingDiverged: a loss is not finite; names the epoch.
    """
    steps = math.ceil(len(rows.of_epoch(0)) / settings.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, settings.epochs * steps, alpha=settings.final_rate_fraction
    )
    optimizer = keras.optimizers.Adam(
        schedule,
        global_clipnorm=settings.clip_norm,
        use_ema=True,
        ema_momentum=settings.weight_averaging,
    )
    weights = model.trainable_variables
    optimizer.build(weights)
    signature = [tf.TensorSpec((None, rows.validation.shape[1]), tf.int32)]

    @tf.function(input_signature=signature, autograph=False)
    def step(batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of_rows(batch)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    evaluate = tf.function(loss_of_rows, input_signature=signature, autograph=False)
    validation = _batches(rows.validation, settings.batch_size)
    course = _Course(model, optimizer, [], [], companion)
    saved = checkpoint.load()
    if saved is not None:
        course.restore(saved)
    for epoch in range(len(course.history), settings.epochs):
        started = time.perf_counter()
        order = rows.of_epoch(epoch)
        loss = _mean_loss(step, _batches(order, settings.batch_size))
        fitted = time.perf_counter()
        with course.averaged_weights():
            validation_loss = _mean_loss(evaluate, validation)
            if not math.isfinite(loss) or not math.isfinite(validation_loss):
                raise TrainingDiverged(
                    f"{model.name}: loss {loss}, validation loss {validation_loss} "
                    f"in epoch {epoch + 1} of {settings.epochs}"
                )
            row = {"epoch": epoch + 1, "loss": loss, "validation_loss": validation_loss}
            course.conclude_epoch(row | {"learning_rate": float(schedule((epoch + 1) * steps))})
            if epoch + 1 < settings.epochs:
                companion.advance(epoch)
        course.history[-1]["seconds"] = time.perf_counter() - started
        checkpoint.save(course.snapshot(settings.epochs))
        rate = len(order) * rows.patterns_per_row / (fitted - started)
        figures = {"loss": loss, "validation_loss": validation_loss, "patterns_per_s": rate}
        progress(Progress(epoch + 1, settings.epochs, "epoch", figures))
    model.set_weights(course.best_weights)
    return TrainingResult(course.history, course.best_epoch)
