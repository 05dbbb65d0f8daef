"""The pipeline's stages: each script loads params, calls the library and writes the files of dvc.yaml.

Run as `python -m stages.NAME` from the project's folder.
"""

import argparse
import functools
import gc
import inspect
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import carcls
from carcls.base import startup as process
from carcls.errors import InputError, reported

log = logging.getLogger(__name__)
gc.disable()  # until process.set_up: a fifth of the imports' time would go into looking for garbage


def stage(main: Callable[..., None]) -> Callable[[], None]:
    """`main` as a command whose arguments are those of `main`.

    What is wrong with the input is one sentence and exit status 1.
    """

    @functools.wraps(main)
    def run() -> None:
        name = Path(sys.argv[0]).stem
        parser = argparse.ArgumentParser(f"stages.{name}", description=sys.modules[main.__module__].__doc__)
        for argument in inspect.signature(main).parameters:
            parser.add_argument(argument)
        arguments = vars(parser.parse_args())
        _open_logs("-".join([name, *arguments.values()]))
        started = time.monotonic()
        with reported():
            _check_library()
            process.set_up()
            main(**arguments)
            log.debug("took %.1f s", time.monotonic() - started)
        if main.__module__ == "__main__":
            process.leave()

    return run


def _open_logs(name: str) -> None:
    """What happens goes to the terminal, and with the time to a file in logs/, which Git ignores."""
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.INFO)
    path = Path(f"logs/{name}.log")
    path.parent.mkdir(exist_ok=True)
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[terminal, file])
    log.setLevel(logging.DEBUG)


def _check_library() -> None:
    """An experiment in a copy of the project must run the copy's code, not an installed one."""
    package = Path(carcls.__file__).resolve().parent
    if package.parent != Path.cwd().resolve():
        raise InputError(
            f"carcls comes from {package}, not from {Path.cwd()}: run `python -m stages.NAME` there."
        )
