"""Photographs from a data set of Kaggle, by the official client.

The client runs in a child process, because `import kaggle` talks to the network, prints, may call exit()
and has no time limit of its own. This module is also that child's program.
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
STALL_S = 90.0  # without a byte; the client's own five retries wait 62 s in all

log = logging.getLogger(__name__)


def open_kaggle(dataset: str, download_folder: Path) -> Source:
    """The photographs of the Kaggle data set `dataset`, "OWNER/NAME", read from its zip one at a time.

    The zip is downloaded to `download_folder`/OWNER/NAME.zip unless it is there already; a download that was
    cut off is taken up where it stopped. It stays until `forget`. Class folders and Stanford Cars' devkit are
    understood (see `devkit.arrange`). Raises InputError, also while the photographs are read, when Kaggle
    gives no zip, or one that is damaged, not to be trusted or laid out otherwise.
    """
    path = download_folder / f"{dataset}.zip"
    if not path.exists() or _marker(path).exists():
        _download(dataset, path)
    archive = ZipReader(path)
    rows, left_out = arrange(archive.names(), archive.read, f"data.kaggle.dataset: {dataset}")
    return Source(sorted({row.class_name for row in rows}), len(rows), _photographs(archive, rows), left_out)


def forget(download_folder: Path) -> None:
    """Remove the downloads, for when their photographs are safe elsewhere."""
    shutil.rmtree(download_folder, ignore_errors=True)


def _photographs(archive: ZipReader, rows: list[Placed]) -> Iterator[Photograph]:
    for row in rows:
        yield Photograph(row.name, row.class_name, row.split, archive.read(row.path))


def _marker(path: Path) -> Path:
    """Where the client keeps what it needs to resume the download of `path`; gone when that is complete."""
    return path.with_name(path.name + ".kaggle-partial")


def _download(dataset: str, path: Path) -> None:
    """Run the client in a child, its progress bar on our stderr, until `path` is there or it is given up."""
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
        sentence = child.stdout.read().decode()
    if sentence:
        raise InputError(sentence)
    if child.returncode or not path.exists():
        raise InputError(f"The Kaggle client stopped (exit status {child.returncode}); run again to go on.")


def _watch(child: subprocess.Popen, dataset: str, path: Path) -> None:
    """Wait for the child. Raises InputError when no byte has come for STALL_S or the disk is too small."""
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
                f"Kaggle sent nothing of {dataset} for {STALL_S:.0f} s; check the network and run again "
                "to go on where it stopped."
            )
        missing, free = _total(path) - size, shutil.disk_usage(path.parent).free
        if missing > free:
            raise InputError(
                f"{path.parent} has {free / 1e6:,.0f} MB free and the rest of {dataset} takes "
                f"{missing / 1e6:,.0f} MB; make room and run again to go on where it stopped."
            )


def _total(path: Path) -> int:
    """Size of the whole zip in bytes as the client noted it; 0 while it has not."""
    try:
        return json.loads(_marker(path).read_text())["size"] or 0
    except (OSError, ValueError, KeyError):
        return 0


def _client(dataset: str, folder: str, fault: str) -> None:
    """The child: download and print nothing to stdout, or the sentence that says why that failed.

    `fault`: what is wrong with the user's kaggle.json, or "".
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the parent ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stderr = cast(TextIO, credentials.Redacted(sys.stderr))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import kaggle  # logs in, and says at length when it has no credentials
        with contextlib.redirect_stdout(sys.stderr):
            kaggle.api.dataset_download_files(dataset, path=folder, quiet=False)
    except (Exception, SystemExit) as error:
        sys.stdout.buffer.write(_sentence(error, dataset, Path(folder), fault).encode())


def _end_with_parent() -> None:
    os.read(
        sys.stdin.fileno(), 1
    )  # the parent's end of the pipe closes however the parent ends, SIGKILL included
    os._exit(1)


def _sentence(error: BaseException, dataset: str, folder: Path, fault: str) -> str:
    """What the client's exception means to a user, and the way out."""
    import requests

    response = getattr(error, "response", None)
    if isinstance(error, requests.HTTPError) and response is not None:
        first = (response.history or [response])[0].request  # a redirect to another host drops credentials
        return _refusal(response.status_code, "Authorization" in first.headers, dataset, fault)
    reason = " ".join(credentials.redacted(str(error)).split())[:200]
    if isinstance(error, requests.RequestException):  # an OSError, too
        return (
            f"Kaggle cannot be reached ({reason}); check the network and run again to go on where it stopped."
        )
    if isinstance(error, OSError):
        return _unwritable(folder, error)
    if fault:
        return f"The Kaggle client failed on {dataset}: {fault}"
    return f"The Kaggle client failed on {dataset} ({type(error).__name__}: {reason}); run again."


def _unwritable(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be written ({error.strerror}); mend that and run again."


def _refusal(status: int, signed_in: bool, dataset: str, fault: str) -> str:
    page = f"https://www.kaggle.com/datasets/{dataset}"
    if not signed_in and status in (401, 403):
        return f"Kaggle wants credentials for {dataset}: {fault or f'there are none; {credentials.HOW}.'}"
    match status:
        case 401:
            return f"Kaggle refuses your credentials (401): {fault or f'{credentials.HOW}.'}"
        case 403:
            return (
                f"Kaggle refuses you {dataset} (403): accept its terms at {page}, signed in as the same user."
            )
        case 404:
            return (
                f"Kaggle has no data set {dataset} (404): check data.kaggle.dataset, OWNER/NAME as in {page}."
            )
        case 429:
            return f"Kaggle refuses more downloads for now (429): wait and run again for {dataset}."
    return f"Kaggle failed on {dataset} (HTTP status {status}): run again later."


if __name__ == "__main__":
    _client(*sys.argv[1:])
