"""What a user did that the pipeline cannot go on with."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(Exception):
    """One sentence for the user: it names the file, key or class at fault and the way out.

    The stages and the command line print it and exit with status 1, without a traceback.
    """


def printable(text: str) -> str:
    """`text` on one line, what no terminal shows written as Python would: file names can hold anything."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@contextmanager
def reported() -> Iterator[None]:
    """Inside, what is wrong with the input or the disk ends the program: one sentence and exit status 1."""
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        sys.exit(f"error: No space is left for {error.filename or Path.cwd()}: free some and run again.")
    except KeyboardInterrupt:
        sys.exit(130)
