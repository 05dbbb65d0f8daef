"""The Kaggle source: the real client against a server on the loopback interface."""

import base64
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple

import pytest
from kaggle_server import (
    CLASSES,
    PHOTOGRAPHS,
    Server,
    annotations,
    class_folders,
    class_names,
    jpeg,
    mat,
    numbered_folders,
    structs,
    zipped,
)

from carcls.data.sources import Source, devkit, kaggle
from carcls.data.sources import zipped as zip_source
from carcls.data.sources.credentials import redacted
from carcls.data.sources.kaggle import forget, open_kaggle
from carcls.data.sources.layout import Placed
from carcls.data.sources.zipped import ZipReader
from carcls.errors import InputError

META = mat(class_names=class_names())
DEVKIT = {
    **numbered_folders("{folder}/{folder}/"),
    "car_devkit/devkit/cars_meta.mat": META,
    "car_devkit/devkit/cars_train_annos.mat": annotations("train"),
    "car_devkit/devkit/cars_test_annos.mat": annotations("test", labelled=False),
}
TEST_LABELS = {"cars_test_annos_withlabels (1).mat": annotations("test")}


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("KAGGLE_"):
            monkeypatch.delenv(name)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.kaggle
        monkeypatch.setenv("KAGGLE_USERNAME", "user")
        monkeypatch.setenv("KAGGLE_KEY", "key")
        yield server
        server.shutdown()


def error_message(call, *arguments) -> str:
    with pytest.raises(InputError) as error:
        call(*arguments)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    return text


def arranged(files: dict[str, bytes]) -> list[Placed]:
    return devkit.arrange(files, files.__getitem__, "cars").rows


def expected() -> list[tuple]:
    rows = [(split, CLASSES[label - 1].replace("/", "-"), number) for split, number, label in PHOTOGRAPHS]
    return sorted(
        (f"{split}/{name}/{number:05d}.jpg", name, split, jpeg(split, number)) for split, name, number in rows
    )


def test_every_layout_gives_the_same_photographs(server, tmp_path):
    server.archives = {
        "a/nested": zipped(class_folders("car_data/car_data/")),
        "b/flat": zipped(class_folders("", slash="_") | {"names.csv": b""}),
        "c/devkit": zipped(DEVKIT | TEST_LABELS),
    }
    for dataset in server.archives:
        server.redirects = dataset != "b/flat"
        source: Source = open_kaggle(dataset, tmp_path / "downloads")
        assert (source.classes, source.total) == (
            [CLASSES[0], CLASSES[1].replace("/", "-")],
            len(PHOTOGRAPHS),
        )
        assert list(source.photographs) == expected()


def test_a_complete_download_is_reused_until_forget(server, tmp_path):
    server.archives["a/b"] = zipped(class_folders(""))
    open_kaggle("a/b", tmp_path / "downloads")
    server.status = 500
    assert list(open_kaggle("a/b", tmp_path / "downloads").photographs) == expected()
    forget(tmp_path / "downloads")
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ["rejects your credentials", "settings/api", "KAGGLE_API_TOKEN", "KAGGLE_KEY", "~/.kaggle"]),
        (403, ["a/b (403)", "accept its terms at https://www.kaggle.com/datasets/a/b"]),
        (404, ["no data set a/b", "data.kaggle.dataset"]),
        (503, ["503", "run again later"]),
    ],
)
def test_each_http_error_has_its_message(server, tmp_path, status, words):
    server.status = status
    text = error_message(open_kaggle, "a/b", tmp_path)
    assert all(word in text for word in words), text
    assert not (tmp_path / "a" / "b.zip").exists()


def test_missing_credentials_have_their_message(server, tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    server.status = 401
    text = error_message(open_kaggle, "a/b", tmp_path)
    assert "there are none" in text and "settings/api" in text and "KAGGLE_API_TOKEN" in text


SECRET = "!KGAT_0123456789abcdef~"
BASIC = "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()
BEARER = f"Bearer {SECRET}"


def signed_in_by(server, tmp_path, monkeypatch, variables: dict[str, str], files: dict[str, bytes]):
    """The Authorization header that the client sends with only `variables` and, in ~/.kaggle, `files`."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".kaggle").mkdir()
    for name, data in files.items():
        (tmp_path / ".kaggle" / name).write_bytes(data)
    server.archives["a/b"] = zipped(class_folders(""))
    open_kaggle("a/b", tmp_path / "downloads")
    return server.authorizations[0]


@pytest.mark.parametrize(
    ("variables", "files", "sent"),
    [
        ({"KAGGLE_API_TOKEN": f"{SECRET}\n"}, {}, BEARER),
        ({"KAGGLE_USERNAME": " user", "KAGGLE_KEY": f"\t{SECRET}\r\n"}, {}, BASIC),
        ({"KAGGLE_API_TOKEN": "\n"}, {"access_token": f"\n {SECRET} \n".encode()}, BEARER),
        ({}, {"access_token": f"{SECRET}\r\n".encode("utf-8-sig")}, BEARER),
        ({}, {"access_token.txt": f"{SECRET}\r\n".encode("utf-16")}, BEARER),
        ({}, {"kaggle.json": json.dumps({"username": "user ", "key": f" {SECRET}\n"}).encode()}, BASIC),
        ({}, {"kaggle.json": json.dumps({"username": "user", "key": SECRET}).encode("utf-8-sig")}, BASIC),
        ({"KAGGLE_API_TOKEN": SECRET}, {"kaggle.json": b"{"}, BEARER),
        (
            {"KAGGLE_USERNAME": "user"},
            {"kaggle.json": json.dumps({"username": "a", "key": SECRET}).encode()},
            BASIC,
        ),
    ],
)
def test_credentials_are_sent_without_white_space(server, tmp_path, monkeypatch, variables, files, sent):
    assert signed_in_by(server, tmp_path, monkeypatch, variables, files) == sent


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{}", "is empty"),
        (f'{{"username": "user", "key": "{SECRET}'.encode(), "is truncated"),
        (f'{{"username": "user" "key": "{SECRET}"}}'.encode(), "is not valid JSON (line 1, column 21)"),
        (SECRET.encode(), "is a bare token, not JSON; save it as ~/.kaggle/access_token"),
        (f'"{SECRET}"\n'.encode("utf-8-sig"), "is a bare token"),
        (b"<html>not found</html> nothing", "is not JSON"),
        (f'{{"key": "{SECRET}"}}'.encode(), 'has no text as "username" or "key"'),
        (f'["{SECRET}"]'.encode(), 'has no text as "username" or "key"'),
        (f'{{"username": "user", "key": "{SECRET} {SECRET}"}}'.encode(), "contains a space"),
        (b"\xe9" + SECRET.encode(), "cannot be read (it is neither UTF-8 nor UTF-16)"),
    ],
)
def test_the_error_in_a_kaggle_json_is_named(server, tmp_path, monkeypatch, caplog, content, words):
    server.status = 401
    with pytest.raises(InputError) as error:
        signed_in_by(server, tmp_path, monkeypatch, {}, {"kaggle.json": content})
    for text in (str(error.value), caplog.text):
        assert f"{tmp_path}/.kaggle/kaggle.json {words}" in text
        assert SECRET not in text


def test_a_token_file_that_is_not_text_is_named(server, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match="access_token cannot be read .it is neither UTF-8 nor UTF-16.; create"
    ):
        signed_in_by(server, tmp_path, monkeypatch, {}, {"access_token": b"\xe9" + SECRET.encode()})


def test_a_broken_kaggle_json_does_not_stop_a_download_without_credentials(server, tmp_path, monkeypatch):
    assert signed_in_by(server, tmp_path, monkeypatch, {}, {"kaggle.json": b"{"}) is None


@pytest.mark.parametrize("name", ["KAGGLE_API_TOKEN", "KAGGLE_KEY"])
def test_a_credential_with_a_line_break_in_it_is_not_shown(server, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, f"{SECRET}\n{SECRET}")
    text = error_message(open_kaggle, "a/b", tmp_path)
    assert text.startswith(f"{name} contains a space, a line break") and SECRET not in text


def test_no_secret_is_printed_when_the_network_fails(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:not-a-port")
    text = error_message(open_kaggle, "a/b", tmp_path)
    output = text + capfd.readouterr().err
    assert "127.0.0.1" in output and SECRET not in output


def test_secrets_are_removed_from_messages():
    secrets = {"KAGGLE_API_TOKEN": "t\\1", "KAGGLE_USERNAME": "user", "KAGGLE_KEY": SECRET}
    message = f"header value: 'Bearer x9\\n', {'t' + chr(92) + '1'!r}, {SECRET}, {BASIC.split()[1]}"
    assert redacted(message, secrets) == "header value: 'Bearer ***', '***', ***, ***"


def test_a_missing_network_has_its_message(server, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    assert "Kaggle cannot be reached" in error_message(open_kaggle, "a/b", tmp_path)


def test_a_stalled_download_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "STALL_S", 2.0)
    server.silent = True
    assert "The download of a/b received no data for 2 s" in error_message(open_kaggle, "a/b", tmp_path)


def test_a_disk_that_is_too_small_stops_the_download_early(server, tmp_path, monkeypatch):
    server.archives["a/b"] = zipped(class_folders("") | {"large": bytes(4_000_000)})
    server.hold_at = 1_000_000
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    text = error_message(open_kaggle, "a/b", tmp_path)
    assert "1 MB free" in text and "free disk space" in text
    assert server.hung_up.wait(10)


def test_a_folder_that_cannot_be_written_has_its_message(server, tmp_path):
    server.archives["a/b"] = zipped(class_folders(""))
    (tmp_path / "a").write_text("in the way")
    assert "cannot be written" in error_message(open_kaggle, "a/b", tmp_path)


def test_the_client_resumes_after_a_lost_connection(server, tmp_path):
    server.archives["a/b"] = zipped(class_folders("") | {"large": os.urandom(4_000_000)})
    server.cut_at = 2_500_000
    assert list(open_kaggle("a/b", tmp_path).photographs) == expected()
    assert server.ranges[0] is None and server.ranges[1].startswith("bytes=2")
    assert (tmp_path / "a" / "b.zip").read_bytes() == server.archives["a/b"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_leaves_no_process_and_is_resumed(server, tmp_path, end):
    server.archives["a/b"] = zipped(class_folders("") | {"large": os.urandom(4_000_000)})
    server.hold_at = 2_500_000
    program = (
        "import pathlib, signal; from carcls.data.sources.kaggle import open_kaggle; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # background jobs ignore SIGINT
        f"open_kaggle('a/b', pathlib.Path({str(tmp_path)!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    stage = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    part = tmp_path / "a" / "b.zip"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    if end == signal.SIGINT:  # Ctrl-C in a terminal reaches both processes
        os.killpg(stage.pid, end)
    else:
        stage.send_signal(end)
    _, errors = stage.communicate()
    assert errors.count(b"Traceback") == (end == signal.SIGINT)  # only that of the parent
    assert 0 < part.stat().st_size < len(server.archives["a/b"])
    assert server.hung_up.wait(10)  # the client ended with its parent
    assert list(open_kaggle("a/b", tmp_path).photographs) == expected()
    assert server.ranges[0] is None and server.ranges[-1].startswith("bytes=")
    assert part.read_bytes() == server.archives["a/b"]


def test_test_images_without_labels_are_skipped_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        rows = arranged(DEVKIT)
    assert [row.name for row in rows] == [name for name, _, split, _ in expected() if split == "train"]
    assert "no .mat file labels cars_test, so its 4 photographs are skipped" in caplog.text
    assert "split.test" in caplog.text


def whole_set() -> bytes:
    """cars_annos.mat, which numbers all images in car_ims."""
    fields = ["relative_im_path", "class", "test"]
    rows = [
        (f"car_ims/{n:06d}.jpg", label, int(split == "test"))
        for n, (split, _, label) in enumerate(PHOTOGRAPHS, 1)
    ]
    return mat(annotations=structs(fields, rows), class_names=class_names())


def test_cars_annos_labels_one_folder_of_all_images():
    images = {f"car_ims/{n:06d}.jpg": b"" for n in range(1, len(PHOTOGRAPHS) + 1)}
    rows = arranged(images | {"cars_annos.mat": whole_set()})
    assert rows[0].name == "test/AM General Hummer SUV 2000/000007.jpg"
    assert [row.split for row in rows].count("train") == 6


def test_cars_annos_does_not_label_folders_with_another_numbering():
    files = numbered_folders("{folder}/{folder}/") | {"cars_annos.mat": whole_set()}
    text = error_message(arranged, files)
    assert "cars_train/cars_train/00001.jpg has no label" in text and "another order" in text


def test_a_missing_or_invalid_label_is_named():
    extra = {"cars_test/cars_test/00099.jpg": b""}
    assert "cars_test/cars_test/00099.jpg has no label" in error_message(
        arranged, DEVKIT | TEST_LABELS | extra
    )
    wrong = mat(annotations=structs(["fname", "class"], [("00001.jpg", 3)]))
    assert "a.train.mat has a class 3, but only 2 classes have names" in error_message(
        arranged, DEVKIT | {"a.train.mat": wrong}
    )
    other = mat(annotations=structs(["fname", "class"], [("00001.jpg", 1)]))
    assert "contradicts another .mat file on cars_train/00001.jpg" in error_message(
        arranged, DEVKIT | {"train.mat": other}
    )


@pytest.mark.parametrize("data", [b"no MATLAB file", META[: len(META) // 2], b""])
def test_a_damaged_label_file_is_named(data):
    text = error_message(arranged, DEVKIT | {"car_devkit/devkit/cars_meta.mat": data})
    assert "car_devkit/devkit/cars_meta.mat is not a MATLAB file, or it is damaged" in text


def read_all(path) -> None:
    archive = ZipReader(path)
    for name in archive.names():
        archive.read(name)


def spoilt(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def test_a_damaged_zip_is_named(tmp_path):
    path = tmp_path / "b.zip"
    good = zipped({"A/1.jpg": b"photograph" * 10})
    for data in (
        b"",
        b"<html>no zip</html>",
        good[: len(good) // 2],
        spoilt(good, b"photograph", b"PHOTOGRAPH"),
        spoilt(good, (100).to_bytes(4, "little"), (99).to_bytes(4, "little")),
        spoilt(good, (100).to_bytes(4, "little"), (10_000).to_bytes(4, "little")),
    ):
        path.write_bytes(data)
        text = error_message(read_all, path)
        assert text.startswith(f"{path} is damaged (") and text.endswith("delete it and run again.")


@pytest.mark.parametrize(
    "name", ["/etc/1.jpg", "A/../../1.jpg", "..\\1.jpg", "A\\..\\..\\1.jpg", "\\1.jpg", "C:\\1.jpg"]
)
def test_a_path_outside_the_archive_is_rejected(tmp_path, name):
    path = tmp_path / "b.zip"
    path.write_bytes(zipped({"A/1.jpg": b"", name: b""}))
    text = error_message(read_all, path)
    assert repr(name) in text and "outside the archive" in text


def with_entries(path, *names: str, system: int) -> ZipReader:
    """A zip made by the operating system `system`: the entries `names`, each with its name as content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.create_system = name, system  # ZipInfo itself changes names on some systems
            archive.writestr(entry, b"" if name.endswith(("/", "\\")) else name)
    return ZipReader(path)


@pytest.mark.parametrize(
    ("system", "names"),
    [
        (0, ["Cars\\", "Cars\\A\\1.jpg", "Cars\\B\\2.jpg"]),
        (0, ["Cars/", "Cars/A\\1.jpg", "Cars\\B/2.jpg"]),
        (3, ["Cars\\A\\1.jpg", "Cars\\B\\2.jpg"]),
    ],
)
def test_a_zip_with_backslashes_has_folders(tmp_path, system, names):
    archive = with_entries(tmp_path / "b.zip", *names, system=system)
    assert archive.names() == ["Cars/A/1.jpg", "Cars/B/2.jpg"]
    assert archive.read("Cars/B/2.jpg") == names[-1].encode()


def test_a_backslash_in_a_unix_zip_is_part_of_the_name(tmp_path):
    assert with_entries(tmp_path / "b.zip", "A/1\\2.jpg", system=3).names() == ["A/1\\2.jpg"]


def test_a_link_is_rejected(tmp_path):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("A/1.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "'A/1.jpg' is a link" in error_message(read_all, path)


def test_an_encrypted_zip_is_rejected(tmp_path):
    path = tmp_path / "b.zip"
    central = zipped({"A/1.jpg": b""}).replace(
        b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"
    )
    path.write_bytes(central)
    assert "'A/1.jpg' is encrypted" in error_message(read_all, path)


def test_a_zip_bomb_is_rejected(tmp_path, monkeypatch):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A/1.jpg", bytes(10_000_000))
    assert f"{path} unpacks to over 100 times its size" in error_message(read_all, path)
    path.write_bytes(
        spoilt(path.read_bytes(), (10_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    )
    assert "is damaged" in error_message(read_all, path)
    monkeypatch.setattr(zip_source, "MAX_MEMBER", 1000)
    path.write_bytes(zipped({"A/1.jpg": bytes(1001)}))
    assert "A/1.jpg is larger than" in error_message(read_all, path)
