"""A script: what processes find loaded that servers of libraries fork, as one JSON line.

It waits for a line on its standard input before it ends, so that it can be killed meanwhile.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys

from fly64_assets import solver_servers
from fly64_assets.solver_servers import LOADERS, start_servers
from fly64_assets.study import load_study
from fly64_assets.worker_process import sign_children


def tell(queue: multiprocessing.Queue) -> None:
    """What this process is, and whether what was loaded for it has begun to compute."""
    begun = False
    if "tensorflow" in sys.modules:
        from tensorflow.python.eager import context

        begun = context.context()._context_handle is not None
    elif "torch" in sys.modules:
        import torch

        begun = torch.cuda.is_initialized()
    loaded = [name for name in ("keras", "tensorflow", "ptychi", "torch") if name in sys.modules]
    threads = os.environ.get("OMP_NUM_THREADS")
    interrupt = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    queue.put([os.getppid(), loaded, begun, threads, interrupt])


def told(context: multiprocessing.context.BaseContext) -> list:
    queue = context.Queue()
    process = context.Process(target=tell, args=(queue,))
    process.start()
    answer = queue.get(timeout=120)
    process.join()
    return [process.exitcode, *answer]


def main(study_file: str) -> None:
    sign_children()
    study = load_study(study_file)
    usual = multiprocessing.get_context("forkserver")
    start_servers(study, ["specimen", "pinn_model", "test_ptychi_reconstruction"], [])
    contexts = {library: solver_servers._Context(library) for library in LOADERS}
    found = {library: [told(context), told(context)] for library, context in contexts.items()}
    found["usual"] = [told(usual), told(usual)]
    found["after"] = [told(contexts["torch"])]
    here = [name for name in LOADERS if name in sys.modules]
    print(json.dumps([here, found]), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1])
