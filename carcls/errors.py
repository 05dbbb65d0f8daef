"""Errors that a user can act on: one message each, exit status 1, no traceback."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """One or more messages for the user. Each says what is wrong, where, and how to fix it.

    Stages and command line print them without a traceback and exit with status 1.
    """


class ResourceError(InputError):
    """Memory, disk space or another resource ran out. The same command can succeed later."""


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FIXES = {
    errno.EACCES: "change its permissions or use another folder",
    errno.EPERM: "change its permissions or use another folder",
    errno.EROFS: "use a folder that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "name a folder, not a file",
    errno.EEXIST: "remove it or choose another name",
    errno.ENOENT: "check that the path exists and was not removed",
    errno.EIO: "check the disk and its connection",
    errno.ESTALE: "check the disk and its connection",
    errno.ENOTCONN: "check the disk and its connection",
    errno.ENOMEM: "free memory",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close programs that hold files open",
}


def printable(text: str) -> str:
    """`text` with each unprintable character, such as a newline in a file name, as a Python escape."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def explain(error: BaseException) -> str | None:
    """The message of `error` for the user; None for a defect of the program, which needs a traceback."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if is_out_of_memory(error):
        return "Memory ran out: close other programs, or use smaller images or a machine with more memory."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or PyTorch raised `error` because memory ran out. Does not import PyTorch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    texts = ("can't allocate memory", "out of memory", "_ALLOC_FAILED")  # the CPU, MPS, cuBLAS and cuDNN
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def _explain_os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    where = f"{printable(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
    if error.errno in NO_SPACE:
        return f"{where}No space is left ({reason}): free some space."
    fix = FIXES.get(error.errno or 0)
    return f"{where}{reason}: {fix}." if fix else f"{where}{reason}."


@contextmanager
def reported() -> Iterator[None]:
    """Inside, an error that the user can fix ends the program with its message and exit status 1."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _drop_failed_output()
        messages = error.args if isinstance(error, InputError) else [explain(error)]
        if messages == [None]:
            raise
        sys.exit("\n".join(f"error: {printable(str(message))}" for message in messages))


def _drop_failed_output() -> None:
    """Discard buffered output that cannot be written. Otherwise Python fails again at exit."""
    try:
        if sys.stdout:  # None when it was closed
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
