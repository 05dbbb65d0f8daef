"""A server on loopback that imitates Kaggle's download service for the real client, and archives for it."""

import http.server
import io
import json
import threading
import zipfile
from collections.abc import Mapping

import numpy as np
import scipy.io

from carcls.imageset.images import encode

CLASSES = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"]
# (split, number of the file, number of the class from 1)
PHOTOGRAPHS = [("train", n, 1 + n % 2) for n in range(1, 7)] + [("test", n, 1 + n // 3) for n in range(1, 5)]


def jpeg(split: str, number: int) -> bytes:
    return encode(np.full((8, 8, 3), 20 * number + (split == "test"), np.uint8), 90)


def class_folders(prefix: str, slash: str = "-") -> dict[str, bytes]:
    """The files of `prefix{train,test}/CLASS/*`, with `slash` instead of the slash in a class name."""
    return {
        f"{prefix}{split}/{CLASSES[label - 1].replace('/', slash)}/{number:05d}.jpg": jpeg(split, number)
        for split, number, label in PHOTOGRAPHS
    }


def numbered_folders(prefix: str = "{folder}/") -> dict[str, bytes]:
    """The images of the devkit without labels."""
    return {
        f"{prefix.format(folder=f'cars_{split}')}{number:05d}.jpg": jpeg(split, number)
        for split, number, _ in PHOTOGRAPHS
    }


def annotations(split: str, labelled: bool = True) -> bytes:
    """`cars_train_annos.mat`, `cars_test_annos_withlabels.mat` or, not `labelled`, `cars_test_annos.mat`."""
    fields = ["bbox_x1", "fname"] + ["class"] * labelled
    rows = [(1, f"{number:05d}.jpg", label) for other, number, label in PHOTOGRAPHS if other == split]
    return mat(annotations=structs(fields, rows))


def class_names() -> np.ndarray:
    names = np.empty((1, len(CLASSES)), object)
    names[0, :] = CLASSES
    return names


def structs(fields: list[str], rows: list[tuple]) -> np.ndarray:
    """A MATLAB struct array of shape (1, rows) with only `fields` of `rows`."""
    array = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    array[0, :] = [row[: len(fields)] for row in rows]
    return array


def mat(**variables: np.ndarray) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, variables)
    return file.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `archives` by data set. `status` rejects all requests; other options affect one download."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives: dict[str, bytes] = {}
        self.status = 200
        self.redirects = True  # as Kaggle does, to its storage
        self.silent = False  # sends no response
        self.cut_at: int | None = None  # the connection is closed after this many bytes
        self.hold_at: int | None = None  # nothing is sent after this many bytes
        self.ranges: list[str | None] = []  # the Range of each request for a zip
        self.authorizations: list[str | None] = []  # of each request, except those for the owner of a token
        self.hung_up = threading.Event()  # the client disconnected while nothing was sent


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "IntrospectToken" in self.path:
            self._answer(json.dumps({"active": True, "username": "user"}).encode())
            return
        self.server.authorizations.append(self.headers["Authorization"])
        if self.server.silent:
            self._wait()
        elif self.server.status != 200:
            self.send_error(self.server.status)
        elif self.server.redirects:
            self.send_response(302)
            self.send_header(
                "Location", f"http://localhost/files/{request['ownerSlug']}/{request['datasetSlug']}"
            )
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(f"{request['ownerSlug']}/{request['datasetSlug']}")

    def do_GET(self) -> None:
        self._send("/".join(self.path.split("/")[-2:]))

    def _send(self, dataset: str) -> None:
        data = self.server.archives[dataset]
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{dataset}"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        stop, self.server.cut_at, hold = self.server.cut_at, None, self.server.hold_at
        self.server.hold_at = None
        self.wfile.write(data[start : hold or stop])
        if hold:
            self._wait()
        self.close_connection = bool(hold or stop)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _wait(self) -> None:
        self.wfile.flush()
        try:
            gone = self.connection.recv(1) == b""
        except ConnectionResetError:  # a client was killed with unread bytes
            gone = True
        if gone:
            self.server.hung_up.set()
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass
