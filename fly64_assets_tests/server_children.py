"""A script: what processes find loaded that servers of steps fork, as one JSON line.

It waits for a line on its standard input before it ends, so that it can be killed meanwhile.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys

from fly64_assets.pipeline.process_identity import sign_children
from fly64_assets.runs.step_servers import (
    LIGHT,
    LOADERS,
    SERVERS,
    TABLES,
    ServerContext,
    start_servers,
)
from fly64_assets.study.model import load_study

NAMES = ("keras", "matplotlib", "numpy", "pandas", "ptychi", "tensorflow", "torch")


def tell(queue: multiprocessing.Queue) -> None:
    """What this process is, and whether what was loaded for it has begun to compute."""
    begun = False
    if "tensorflow" in sys.modules:
        from tensorflow.python.eager import context

        begun = context.context()._context_handle is not None
    elif "torch" in sys.modules:
        import torch

        begun = torch.cuda.is_initialized()
    loaded = [name for name in NAMES if name in sys.modules]
    threads = os.environ.get("OMP_NUM_THREADS")
    interrupt = str(signal.getsignal(signal.SIGINT))
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
    tables = [step for step, server in SERVERS.items() if server == TABLES][:4]
    study = load_study(study_file)
    start_servers(study, ["pinn_model", "test_ptychi_reconstruction", *tables], [])
    contexts = {name: ServerContext(name) for name in (LIGHT, *LOADERS)}
    found = {name: [told(context), told(context)] for name, context in contexts.items()}
    # Another one meanwhile has not changed where a server's processes come from.
    found["after"] = [told(contexts["torch"]), told(contexts[LIGHT])]
    here = [name for name in NAMES if name in sys.modules]
    print(json.dumps([here, found]), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1])
