"""Where the console scripts begin: what must be done before the slow imports.

A Ctrl-C or SIGTERM that comes while Python imports, for half a second or more, is held back until
somebody can heed it. As process 1 of a container it would else be lost.
"""

import gc
import os
import signal


def tool() -> int:
    """Entry point of ``queue-connector``."""
    _begin()
    from .cli import run

    return run()


def server() -> int:
    """Entry point of ``SDPQueueConnector``."""
    _begin()
    from .device.server import main

    return main()


def _begin() -> None:
    # What is under way are thousands of objects that come and go, and no garbage: looking through
    # them, and every now and then through all there are, is an eighth of the work, 50 ms at a time.
    gc.set_threshold(10_000, 10, 10)
    # A thread for each processor, for linear algebra, of which there is none here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    from .runtime.process import fill_descriptors  # not before: it takes some milliseconds

    fill_descriptors()
