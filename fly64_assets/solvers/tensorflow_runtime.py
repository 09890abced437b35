"""How a process becomes a TensorFlow process: quiet, deterministic, with a fixed number of threads.

Call `start_tensorflow` before anything that imports TensorFlow or Keras. What does not belong here:
networks, training, and anything that is specific to one model.
"""

from __future__ import annotations

import os

from fly64_assets.errors import SolverEnvironmentError
from fly64_assets.solvers.interface import claim_process_for


def settle_environment() -> None:
    """Claim this process for TensorFlow and set what the library reads when it is loaded.

    Raises:
        SolverEnvironmentError: torch is loaded in this process.
    """
    claim_process_for("tensorflow", forbidden="torch")
    # A user's own setting wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def start_tensorflow(threads: int) -> None:
    """Claim this process for TensorFlow and fix its threads. Calling it again is harmless.

    Operations are made deterministic, so that a result depends on seeds, threads and processor
    type only. A GPU is used when there is one, and its memory is taken as it is needed.

    Args:
        threads: threads within an operation.

    Raises:
        SolverEnvironmentError: torch is loaded in this process, or TensorFlow already runs here
            with another number of threads.
    """
    settle_environment()
    import tensorflow as tf

    config = tf.config.threading
    try:
        config.set_intra_op_parallelism_threads(threads)
        # One operation at a time: two would each take all of the threads.
        config.set_inter_op_parallelism_threads(1)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:  # TensorFlow has computed something already: its threads are settled
        settled = config.get_intra_op_parallelism_threads()
        if settled != threads:
            raise SolverEnvironmentError(
                f"TensorFlow already runs in this process with {settled} threads, "
                f"{threads} were asked for; bitwise results hold for equal threads only"
            ) from None
    tf.config.experimental.enable_op_determinism()
