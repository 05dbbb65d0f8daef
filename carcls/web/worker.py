"""The process of a training that was started on the page: `python -m carcls.web.worker FOLDER`.

FOLDER contains params.yaml. The process does the same as `carcls train`. It writes its progress as lines of
JSON to the pipe that is its standard output at the start. All other output goes to the log. SIGINT stops the
training and keeps the epochs finished so far. So does the end of standard input, because it means that the
server has ended.
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

GRACE = 30  # seconds to save the model after the server has ended
PAUSE = 0.2  # minimum seconds between two lines of progress


def main() -> None:
    send = _progress_pipe()
    set_up()
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=_end_with_server, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with reported():
            bar = _progress(params.load(folder / files.PARAMS).train, send)
            train(folder, lambda doing: send(doing=doing), bar)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"error: {_message(error, folder)}")


def _stop(*_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second SIGINT must not interrupt saving the model
    raise KeyboardInterrupt


def _end_with_server() -> None:
    while os.read(0, 1):  # a thread that waits in sys.stdin would block the exit of the program
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def _progress_pipe() -> Callable[..., None]:
    """A function that sends its keyword arguments to `jobs.Job`. From now on, all output goes to the log."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in order with the log

    def send(**progress) -> None:
        try:
            os.write(pipe, json.dumps(progress).encode() + b"\n")
        except BrokenPipeError:  # _end_with_server handles the end of the server
            pass

    return send


def _message(error: Exception, folder: Path) -> str:
    """A one-line message for an unexpected error, with a fix. The traceback is in the log."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    log = folder / files.LOG
    return f"Training failed ({reason[:200]}): see {log}; train again, or report the error with that file."


def _progress(recipe: Train, send: Callable[..., None]) -> type[tqdm]:
    """A tqdm for `fit` that sends the progress to the page instead of drawing a bar."""
    start, epoch = time.monotonic(), 0

    class Progress(tqdm):
        def __init__(self, total: int, **_) -> None:
            nonlocal epoch
            super().__init__(total=total, disable=True)
            epoch += 1
            self.images, self.done, self.sent = total, 0, 0.0

        def update(self, n: int = 1) -> None:
            self.done += n
            now = time.monotonic()
            if now - self.sent < PAUSE and self.done < self.images:
                return
            self.sent = now
            finished = (epoch - 1) * self.images + self.done
            left = (now - start) * (recipe.epochs * self.images / finished - 1)
            send(
                epoch=epoch,
                epochs=recipe.epochs,
                batch=-(-self.done // recipe.batch_size),
                batches=-(-self.images // recipe.batch_size),
                share=finished / (recipe.epochs * self.images),
                left=left,
            )

    return Progress


if __name__ == "__main__":
    main()
