"""Work for several processes, whose results come in the order in which it was given."""

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
    """A `map` whose calls run in `workers` processes, at most two for each ahead of the results asked for.

    Raises ResourceError when one of them is killed.
    """
    if workers == 1:
        yield map
        return
    # spawn: a forked process would also hold the pipe by which the others notice that the parent is gone
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_live_and_die_with_parent)

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
            "A worker process was killed, perhaps because memory ran out: free memory."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _live_and_die_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even killed: an idle worker would wait for ever."""
    set_up_images()
    signal(SIGINT, SIG_IGN)

    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
