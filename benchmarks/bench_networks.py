"""Training and inference of both networks against the same network bare, in the same process.

Bare training is the same loss on the same rows in a plain loop of compiled Adam steps; "passes" is
less than that, the network's forward and backward pass alone. Bare inference is one compiled pass
over as many patterns. Rates are patterns per CPU-second, tracing left out, from the finished demo's
train view (``make demo``). PtychoPINN improves its physics estimates between epochs, which is no
training of the network and is told by itself, as a share of both. Its inference has an estimate and
its rounds in it, which a bare pass lacks. Run: ``python benchmarks/bench_networks.py [--repeats
2]``.

Goal: training at least .9 of the passes alone, inference of the bare passes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ratios import note

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.ptychography.data001.dataset import Dataset, read_dataset
from fly64_assets.solvers import model_bundle
from fly64_assets.solvers.interface import NO_CHECKPOINT, Progress, measurement_of, network_module
from fly64_assets.solvers.stitched_object import stitched_object
from fly64_assets.study.arms import NETWORKS, Network
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import product

DEMO = PROJECT_ROOT / "studies" / "demo.yaml"
EPOCHS = 4
CONDITION = Condition(1000, "dense")


def cpu_of(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def quiet(_: Progress) -> None:
    pass


def train(network: Network, dataset: Dataset, settings: dict[str, Any]) -> Any:
    """What was trained, and with what; CPU-seconds of the epochs after the first.

    ``between`` is what the companion of the training took of them, and not in ``cpu``.
    """
    from fly64_assets.solvers import training

    fit, seen = training.fit, SimpleNamespace(marks=[], between=0.0)

    def watched(model, loss, rows, section, progress, checkpoint, *companions):  # noqa: ANN001, ANN002, ANN202
        seen.model, seen.loss, seen.rows, seen.section = model, loss, rows, section
        for companion in companions:
            advance = companion.advance

            def timed(epoch: int, advance: Callable[[int], None] = advance) -> None:
                spent = cpu_of(lambda: advance(epoch))
                seen.between += spent if epoch else 0.0  # the first epoch is left out

            companion.advance = timed
        return fit(model, loss, rows, section, progress, checkpoint, *companions)

    def mark(told: Progress) -> None:
        if told.unit == "epoch":
            seen.marks.append(time.process_time())

    training.fit = watched
    try:
        seen.trained = network_module(network).train_on(
            dataset,
            settings,
            kind=network.name,
            seed=settings["seed"],
            progress=mark,
            checkpoint=NO_CHECKPOINT,
        )
    finally:
        training.fit = fit
    seen.cpu = seen.marks[-1] - seen.marks[0] - seen.between
    return seen


def bare_training(seen: Any) -> tuple[float, float]:
    """CPU-seconds of an epoch: of the same loss in a plain loop, and of the network's passes."""
    import keras
    import tensorflow as tf

    model, weights = seen.model, seen.model.trainable_variables
    optimizer = keras.optimizers.Adam(seen.section.learning_rate)
    optimizer.build(weights)
    order, size = seen.rows.of_epoch(1), seen.section.batch_size
    batches = [tf.constant(order[i : i + size], tf.int32) for i in range(0, len(order), size)]
    inputs = [tf.ones((size, *given.shape[1:]), given.dtype) for given in model.inputs]

    @tf.function(reduce_retracing=True, autograph=False)
    def step(batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = seen.loss(batch)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    @tf.function(autograph=False)
    def passes() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(inputs)))
        return tape.gradient(loss, weights)

    def loop(work: Callable[[], Any], times: int) -> float:
        work()
        return cpu_of(lambda: [work() for _ in range(times)])

    step(batches[-1])
    step(batches[0])
    whole = cpu_of(lambda: [step(batch).numpy() for batch in batches])
    return whole, loop(lambda: passes()[0].numpy(), len(batches))


def inference(network: Network, seen: Any, dataset: Dataset, settings: Any) -> tuple[float, float]:
    """CPU-seconds for all positions: our reconstruction, and bare passes over as many."""
    import tensorflow as tf

    measurement = measurement_of(dataset)
    with tempfile.TemporaryDirectory() as folder:
        model_bundle.save(seen.trained, Path(folder), extra={}, transformations=[])
        loaded = model_bundle.load(Path(folder), expected_kind=network.name)

    def reconstruct() -> None:
        stitched_object(
            network,
            loaded,
            measurement,
            crop_px=20,
            seed=settings["seed"],
            threads=settings["threads"],
            progress=quiet,
        )

    model = loaded.network(settings["threads"])
    inputs = [tf.ones((64, *given.shape[1:]), given.dtype) for given in model.inputs]
    predict = tf.function(model, autograph=False)
    predict(inputs)
    reconstruct()
    passes = -(-len(measurement) // 64)
    return cpu_of(reconstruct), cpu_of(lambda: [predict(inputs).numpy() for _ in range(passes)])


def measure(network: Network, dataset: Dataset, settings: dict[str, Any]) -> dict[str, float]:
    section = settings[network.section]
    shorter = {**settings, network.section: section | {"epochs": EPOCHS}}
    seen = train(network, dataset, shorter)
    whole, passes = bare_training(seen)
    epoch = seen.cpu / (EPOCHS - 1)
    ours, bare = inference(network, seen, dataset, settings)
    rows = len(seen.rows.of_epoch(0)) * seen.rows.patterns_per_row
    return {
        "trained a CPU-s": rows / epoch,
        "x bare loop": whole / epoch,
        "x passes": passes / epoch,
        "between epochs": seen.between / (seen.cpu + seen.between),
        "inferred a CPU-s": len(dataset.xcoords) / ours,
        "x bare passes": bare / ours,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    repeats = parser.parse_args().repeats
    context = StudyContext.load(DEMO)
    view = product("train", "overlap_view")
    dataset = read_dataset(context.store.path(view, CONDITION, "train.npz"))
    print(f"{'':<12}" + "".join(f"{name:>18}" for name in MEASURED))
    for network in NETWORKS:
        if network.name in context.study.arms:
            settings = dict(product(*network.model_key).settings(context.study, CONDITION))
            runs = [measure(network, dataset, settings) for _ in range(repeats)]
            best = [max(run[name] for run in runs) for name in MEASURED]
            print(f"{network.name:<12}" + "".join(f"{value:>18.2f}" for value in best))
            _, loop, passes, between, _, bare = best
            note(f"{network.name} training: rate to the same loss in a bare loop", loop)
            note(f"{network.name} training: rate to its passes' alone", passes, at_least=0.9)
            if between:
                note(f"{network.name} training: estimates between epochs, share of both", between)
            note(f"{network.name} inference: rate to bare passes'", bare, at_least=0.9)


MEASURED = (
    *("trained a CPU-s", "x bare loop", "x passes", "between epochs"),
    *("inferred a CPU-s", "x bare passes"),
)

if __name__ == "__main__":
    main()
