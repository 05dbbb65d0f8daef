"""Photographs from a Kaggle data set, downloaded with the official client.

The client runs in a child process, because `import kaggle` uses the network, prints, may call exit() and has
no timeout. This module is also the program of that child process.
"""

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from carcls.data.sources import Photograph, Source, credentials
from carcls.data.sources.devkit import arrange
from carcls.data.sources.layout import Placed
from carcls.data.sources.zipped import ZipReader
from carcls.errors import InputError

POLL_S = 0.2
STALL_S = 90.0  # longest wait for a byte; the five retries of the client take 62 s in total

log = logging.getLogger(__name__)


def open_kaggle(dataset: str, download_folder: Path) -> Source:
    """The photographs of the Kaggle data set `dataset`, "OWNER/NAME", read from its zip one at a time.

    The zip is downloaded to `download_folder`/OWNER/NAME.zip, unless it exists, and stays there until
    `forget`. An interrupted download is resumed. The layout is class folders or Stanford Cars' devkit (see
    `devkit.arrange`). Raises InputError, also while the photographs are read, if the download fails, or the
    zip is damaged, unsafe or has an unknown layout.
    """
    path = download_folder / f"{dataset}.zip"
    if not path.exists() or _marker(path).exists():
        _download(dataset, path)
    archive = ZipReader(path)
    rows, left_out = arrange(archive.names(), archive.read, f"data.kaggle.dataset: {dataset}")
    return Source(sorted({row.class_name for row in rows}), len(rows), _photographs(archive, rows), left_out)


def forget(download_folder: Path) -> None:
    """Remove the downloads. Call it after their photographs were copied."""
    shutil.rmtree(download_folder, ignore_errors=True)


def _photographs(archive: ZipReader, rows: list[Placed]) -> Iterator[Photograph]:
    for row in rows:
        yield Photograph(row.name, row.class_name, row.split, archive.read(row.path))


def _marker(path: Path) -> Path:
    """The client's state of the download of `path`. It exists while the download is incomplete."""
    return path.with_name(path.name + ".kaggle-partial")


def _download(dataset: str, path: Path) -> None:
    """Download `path` with the client in a child process, which shows its progress bar on stderr."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(_unwritable(path.parent, error)) from None
    environment, fault = credentials.environment()
    if fault:
        log.warning("%s", fault)  # many data sets need no credentials
    command = [sys.executable, "-m", "carcls.data.sources.kaggle", dataset, str(path.parent), fault]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as child:
        try:
            _watch(child, dataset, path)
        finally:  # also on Ctrl-C
            child.kill()
        assert child.stdout  # a pipe
        message = child.stdout.read().decode()
    if message:
        raise InputError(message)
    if child.returncode or not path.exists():
        raise InputError(
            f"The Kaggle client stopped (exit status {child.returncode}); run again to continue."
        )


def _watch(child: subprocess.Popen, dataset: str, path: Path) -> None:
    """Wait for the child. Raises InputError if no byte arrives for STALL_S or the disk is too small."""
    size, since = 0, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(POLL_S)
            return
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > STALL_S:
            raise InputError(
                f"The download of {dataset} received no data for {STALL_S:.0f} s; check the network and run "
                "again to continue it."
            )
        missing, free = _total(path) - size, shutil.disk_usage(path.parent).free
        if missing > free:
            raise InputError(
                f"{path.parent} has {free / 1e6:,.0f} MB free, but the rest of {dataset} needs "
                f"{missing / 1e6:,.0f} MB; free disk space and run again to continue the download."
            )


def _total(path: Path) -> int:
    """The size of the complete zip in bytes according to the client; 0 while it is unknown."""
    try:
        return json.loads(_marker(path).read_text())["size"] or 0
    except (OSError, ValueError, KeyError):
        return 0


def _client(dataset: str, folder: str, fault: str) -> None:
    """The program of the child: download, and print nothing to stdout except the message of an error.

    `fault` is the error message about the user's kaggle.json, or "".
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the parent ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stderr = cast(TextIO, credentials.Redacted(sys.stderr))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import kaggle  # logs in, and prints a long message if it has no credentials
        with contextlib.redirect_stdout(sys.stderr):
            kaggle.api.dataset_download_files(dataset, path=folder, quiet=False)
    except (Exception, SystemExit) as error:
        sys.stdout.buffer.write(_message(error, dataset, Path(folder), fault).encode())


def _end_with_parent() -> None:
    # the pipe closes when the parent ends, even by SIGKILL
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _message(error: BaseException, dataset: str, folder: Path, fault: str) -> str:
    """The message for an exception of the client: what is wrong and how to fix it."""
    import requests

    response = getattr(error, "response", None)
    if isinstance(error, requests.HTTPError) and response is not None:
        first = (response.history or [response])[0].request  # a redirect to another host drops credentials
        return _http_message(response.status_code, "Authorization" in first.headers, dataset, fault)
    reason = " ".join(credentials.redacted(str(error)).split())[:200]
    if isinstance(error, requests.RequestException):  # before OSError, of which it is a subclass
        return (
            f"Kaggle cannot be reached ({reason}); check the network and run again to continue the download."
        )
    if isinstance(error, OSError):
        return _unwritable(folder, error)
    if fault:
        return f"The Kaggle client failed on {dataset}: {fault}"
    return f"The Kaggle client failed on {dataset} ({type(error).__name__}: {reason}); run again."


def _unwritable(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be written ({error.strerror}); fix this and run again."


def _http_message(status: int, signed_in: bool, dataset: str, fault: str) -> str:
    page = f"https://www.kaggle.com/datasets/{dataset}"
    if not signed_in and status in (401, 403):
        return f"Kaggle requires credentials for {dataset}: {fault or f'there are none; {credentials.HOW}.'}"
    match status:
        case 401:
            return f"Kaggle rejects your credentials (401): {fault or f'{credentials.HOW}.'}"
        case 403:
            return f"Kaggle denies access to {dataset} (403): sign in and accept its terms at {page}."
        case 404:
            return (
                f"Kaggle has no data set {dataset} (404): check data.kaggle.dataset, OWNER/NAME as in {page}."
            )
        case 429:
            return f"Kaggle allows no more downloads for now (429): wait and run again for {dataset}."
    return f"Kaggle failed on {dataset} (HTTP status {status}): run again later."


if __name__ == "__main__":
    _client(*sys.argv[1:])
