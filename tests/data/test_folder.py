import os
from pathlib import Path

import pytest
from kaggle_server import PHOTOGRAPHS, annotations, class_names, mat, numbered_folders

from carcls.data.sources import Photograph
from carcls.data.sources.folder import as_named, open_folder
from carcls.errors import InputError


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())


def error_message(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        list(open_folder(folder).photographs)
    return str(error.value)


def test_photographs_are_sorted_by_name_and_have_the_bytes_of_the_files(tmp_path):
    write(tmp_path, "deep/train/B/1.jpg", "deep/train/A/2.png", "deep/test/A/3.JPG", "deep/train/A/notes.txt")
    source = open_folder(tmp_path)
    assert (source.classes, source.total) == (["A", "B"], 3)
    assert list(source.photographs) == [
        Photograph("test/A/3.JPG", "A", "test", b"deep/test/A/3.JPG"),
        Photograph("train/A/2.png", "A", "train", b"deep/train/A/2.png"),
        Photograph("train/B/1.jpg", "B", "train", b"deep/train/B/1.jpg"),
    ]


def test_the_name_of_the_folder_itself_is_not_a_split(tmp_path):
    write(tmp_path / "test", "A/1.jpg", "B/1.jpg")
    assert [photograph.split for photograph in open_folder(tmp_path / "test").photographs] == ["", ""]


def test_the_folders_of_the_devkit_are_supported(tmp_path):
    files = numbered_folders() | {"cars_meta.mat": mat(class_names=class_names())}
    files |= {f"cars_{split}_annos.mat": annotations(split) for split in ("train", "test")}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    source = open_folder(tmp_path)
    assert next(source.photographs).name == "test/AM General Hummer SUV 2000/00001.jpg"
    assert source.total == len(PHOTOGRAPHS)


def test_links_are_followed_once(tmp_path):
    write(tmp_path / "elsewhere", "1.jpg")
    write(tmp_path / "cars", "A/1.jpg")
    (tmp_path / "cars" / "B").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "cars" / "A" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (tmp_path / "cars" / "A" / "up").symlink_to("..")
    (tmp_path / "elsewhere" / "self").symlink_to(".")
    names = [photograph.name for photograph in open_folder(tmp_path / "cars").photographs]
    assert names == ["A/1.jpg", "A/2.jpg", "B/1.jpg"]


def test_a_missing_folder_a_file_and_an_empty_folder_are_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("none", "does not exist"),
        ("file", "is not a folder"),
        ("empty", "contains no images"),
    ):
        text = error_message(tmp_path / name)
        assert text.startswith(f"data.folder: {tmp_path / name} {words}") and "class folders" in text


@pytest.mark.parametrize("name", ["B/2.jpg", "C"])
def test_a_dangling_link_is_named(tmp_path, name):
    write(tmp_path, "A/1.jpg", "B/1.jpg")
    (tmp_path / name).symlink_to("nowhere")
    assert f"{tmp_path / name} cannot be read (No such file or directory)" in error_message(tmp_path)


def test_a_link_to_itself_is_named(tmp_path):
    write(tmp_path, "A/1.jpg", "B/1.jpg")
    (tmp_path / "C").symlink_to("C")
    assert f"{tmp_path / 'C'} cannot be read (Too many levels of symbolic links)" in error_message(tmp_path)


def test_a_hidden_dangling_link_is_skipped(tmp_path):
    write(tmp_path, "A/1.jpg", "B/1.jpg")
    (tmp_path / "A" / ".#1.jpg").symlink_to("user@host.1")  # a lock file of Emacs
    source = open_folder(tmp_path)
    assert source.total == 2 and source.left_out == [("hidden", "A/.#1.jpg")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("path", ["B/1.jpg", "B"])
def test_unreadable_files_are_named(tmp_path, path):
    write(tmp_path, "A/1.jpg", "B/1.jpg")
    (tmp_path / path).chmod(0)
    try:
        assert f"{tmp_path / path} cannot be read (Permission denied)" in error_message(tmp_path)
    finally:
        (tmp_path / path).chmod(0o700)


def test_a_pipe_with_the_name_of_a_photograph_is_named(tmp_path):
    write(tmp_path, "A/1.jpg", "B/1.jpg")
    os.mkfifo(tmp_path / "B" / "pipe")
    assert open_folder(tmp_path).total == 2
    os.mkfifo(tmp_path / "B" / "2.jpg")
    assert f"{tmp_path / 'B' / '2.jpg'} cannot be read (it is not a regular file)" in error_message(tmp_path)


def test_white_space_is_stripped_only_if_no_folder_has_the_exact_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cars").mkdir()
    assert as_named(" cars ") == Path("cars")
    (tmp_path / "cars ").mkdir()
    assert as_named("cars ") == Path("cars ")
    with pytest.raises(InputError, match=r"is not valid UTF-8: rename the folder"):
        as_named("cars\udcff")
