"""The training process behind the page: `python -m carcls.web.worker FOLDER`, FOLDER holding params.yaml.

It does the same as `carcls train`. It reports its progress as lines of JSON on the pipe that is its standard
output at the start. Afterwards, standard output and standard error both are the log. SIGINT stops it, and it
keeps what was learned so far. The end of standard input, which means that the server ended, does the same.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from carcls import params
from carcls.base.startup import set_up
from carcls.errors import reported
from carcls.params import Train
from carcls.results import folder as files
from carcls.results.train import train

GRACE = 30  # seconds to save the model in, once the server is gone
PAUSE = 0.2  # seconds between two lines of progress


def main() -> None:
    say = _progress_pipe()
    set_up()
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=_end_with_server, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with reported():
            bar = _progress(params.load(folder / files.PARAMS).train, say)
            train(folder, lambda doing: say(doing=doing), bar)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"error: {_sentence(error, folder)}")


def _stop(*_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not interrupt saving the model
    raise KeyboardInterrupt


def _end_with_server() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that waits in it blocks the exit of the program
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def _progress_pipe() -> Callable[..., None]:
    """A function that sends its keyword arguments to `jobs.Job`. From now on, all output goes to the log."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in order with the log

    def say(**progress) -> None:
        try:
            os.write(pipe, json.dumps(progress).encode() + b"\n")
        except BrokenPipeError:  # the server ended, which _end_with_server handles
            pass

    return say


def _sentence(error: Exception, folder: Path) -> str:
    """A one-line message for an unexpected error, with a fix. The traceback is in the log."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    log = folder / files.LOG
    return f"Training failed ({reason[:200]}): see {log}; train again, or report the error with that file."


def _progress(recipe: Train, say: Callable[..., None]) -> type[tqdm]:
    """A tqdm for `fit` that sends the progress to the page instead of drawing a bar."""
    start, epoch = time.monotonic(), 0

    class Progress(tqdm):
        def __init__(self, total: int, **_) -> None:
            nonlocal epoch
            super().__init__(total=total, disable=True)
            epoch += 1
            self.images, self.done, self.said = total, 0, 0.0

        def update(self, n: int = 1) -> None:
            self.done += n
            now = time.monotonic()
            if now - self.said < PAUSE and self.done < self.images:
                return
            self.said = now
            behind = (epoch - 1) * self.images + self.done
            left = (now - start) * (recipe.epochs * self.images / behind - 1)
            say(
                epoch=epoch,
                epochs=recipe.epochs,
                batch=-(-self.done // recipe.batch_size),
                batches=-(-self.images // recipe.batch_size),
                share=behind / (recipe.epochs * self.images),
                left=left,
            )

    return Progress


if __name__ == "__main__":
    main()
