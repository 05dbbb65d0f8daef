"""The pipeline's stages: each script loads params, calls the library and writes the files of dvc.yaml.

Run as `python -m stages.NAME` from the project's folder.
"""

import errno
import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import carcls
from carcls.errors import InputError


def stage(main: Callable[..., None]) -> Callable[..., None]:
    """`main` as a command: what is wrong with the input is one sentence and exit status 1."""

    @functools.wraps(main)
    def run(*arguments: str) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        try:
            _check_library()
            main(*arguments)
        except InputError as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            sys.exit(f"error: No space is left for {error.filename or Path.cwd()}: free some and run again.")
        except KeyboardInterrupt:
            sys.exit(130)

    return run


def _check_library() -> None:
    """An experiment in a copy of the project must run the copy's code, not an installed one."""
    package = Path(carcls.__file__).resolve().parent
    if package.parent != Path.cwd().resolve():
        raise InputError(
            f"carcls comes from {package}, not from {Path.cwd()}: run `python -m stages.NAME` there."
        )
