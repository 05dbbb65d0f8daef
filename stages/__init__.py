"""The stages of the pipeline: each script loads params and calls the library, which writes the stage's outs.

Run them as `python -m stages.NAME` in the project folder.
"""

import argparse
import functools
import inspect
import logging
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

if find_spec("pydantic") is None:  # DVC, if called by its path, starts the `python` in PATH
    sys.exit(f"error: {sys.executable} lacks the project's packages: run `. .venv/bin/activate` first.")

import carcls
from carcls.errors import InputError, reported
from carcls.experiment import make_collectable

log = logging.getLogger(__name__)


def stage(*set_up: Callable[[], None]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A decorator that turns a function into a command with the same arguments.

    The command first calls the functions `set_up`. Invalid input gives one message and exit status 1.
    """

    def decorate(main: Callable[..., None]) -> Callable[[], None]:
        @functools.wraps(main)
        def run() -> None:
            name = Path(sys.argv[0]).stem
            description = sys.modules[main.__module__].__doc__
            parser = argparse.ArgumentParser(f"stages.{name}", description=description)
            for argument in inspect.signature(main).parameters:
                parser.add_argument(argument)
            arguments = vars(parser.parse_args())
            with reported():
                _open_logs("-".join([name, *arguments.values()]))
                started = time.monotonic()
                _check_library()
                make_collectable()
                for function in set_up:
                    function()
                main(**arguments)
                log.debug("took %.1f s", time.monotonic() - started)

        return run

    return decorate


def _open_logs(name: str) -> None:
    """Log to the terminal and, with the time, to a file in logs/, which Git ignores."""
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.INFO)
    path = Path(f"logs/{name}.log")
    path.parent.mkdir(exist_ok=True)
    logging.raiseExceptions = False  # an unwritable log must not stop the stage
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[terminal, file])
    log.setLevel(logging.DEBUG)


def _check_library() -> None:
    """Check that an experiment in a copy of the project runs the code of the copy, not an installed one."""
    package = Path(carcls.__file__).resolve().parent
    if package.parent != Path.cwd().resolve():
        raise InputError(
            f"carcls is imported from {package}, not from {Path.cwd()}: run `python -m stages.NAME` in the "
            "project folder."
        )
