"""A map that runs in several processes and returns the results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from signal import SIG_IGN, SIGINT, signal
from threading import Thread

from carcls.base.startup import set_up_images
from carcls.errors import ResourceError


@contextmanager
def in_order(workers: int) -> Iterator[Callable]:
    """Yield a `map` that runs in `workers` processes and returns the results in order.

    Per worker, it submits at most two calls ahead of the results that the caller has taken. Raises
    ResourceError if a worker is killed.
    """
    if workers == 1:
        yield map
        return
    # spawn: a forked worker would keep a pipe open, and others could not detect the end of the parent
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_set_up_worker)

    def run(function: Callable, items: Iterable) -> Iterator:
        pending: deque[Future] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield run
    except BrokenProcessPool:
        raise ResourceError(
            "A worker process was killed, probably because memory ran out: free memory and run again."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up_worker() -> None:
    """Leave Ctrl-C to the parent. End when the parent ends, even by SIGKILL, instead of waiting forever."""
    set_up_images()
    signal(SIGINT, SIG_IGN)

    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
