"""Messages for errors that users can fix, and files that exist after an error."""

import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from carcls.errors import InputError, ResourceError, explain
from carcls.files import replacing, write_bytes, write_json, write_text
from carcls.learning.checkpoint import Checkpoint


@pytest.fixture
def file_size_limit():
    """Limit the size of files that this process may write, like a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_name_of_maximum_length_can_be_written(tmp_path):
    name = "轿" * 84 + "abc"  # 255 bytes
    write_text(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole" and len(list(tmp_path.iterdir())) == 1


def test_a_write_error_names_the_file_and_leaves_the_old_one(tmp_path, file_size_limit):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    file_size_limit(1000)
    with pytest.raises(OSError) as raised:
        write_bytes(path, bytes(5000))
    assert explain(raised.value) == f"{path}: No space is left (File too large): free some space."
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_on_the_temporary_file_names_the_final_file(tmp_path):
    path = tmp_path / "out.png"
    with pytest.raises(IsADirectoryError) as raised, replacing(path) as [temporary]:
        temporary.touch()
        path.mkdir()  # so that the temporary file cannot be renamed
    assert explain(raised.value) == f"{path}: Is a directory: name a file, not a folder."
    assert not temporary.exists()


def test_a_path_below_a_file_and_a_too_long_name_are_named(tmp_path):
    (tmp_path / "file").touch()
    for path, named in (
        (tmp_path / "file/out.png", tmp_path / "file"),
        (tmp_path / ("x" * 300), tmp_path / ("x" * 300)),
    ):
        with pytest.raises(OSError) as raised:
            write_text(path, "text")
        assert str(explain(raised.value)).startswith(f"{named}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_read_error_does_not_name_the_file_that_is_written(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "out.csv"):
        (tmp_path / "photograph.jpg").read_bytes()
    assert raised.value.filename == str(tmp_path / "photograph.jpg")


def test_folders_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="is a folder or a device: name a file"):
            write_text(path, "text")
    assert not (tmp_path / "pipe").is_file()


@pytest.mark.parametrize(
    ("content", "key"),
    [({"val_f1": 1.0, "val_loss": float("nan")}, "val_loss"), ({"a": {"b": [1.0, -np.inf]}}, r"a\.b\.1")],
)
def test_json_with_a_number_that_is_not_finite_is_rejected_with_its_key(tmp_path, content, key):
    with pytest.raises(InputError, match=rf"metrics\.json: {key} is (nan|-inf), not a finite number"):
        write_json(tmp_path / "metrics.json", content)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_on_a_full_disk_names_its_file_and_keeps_the_last_one(tmp_path, file_size_limit):
    checkpoint = Checkpoint("a", "f", tmp_path)
    checkpoint.save({"epoch": 1})
    file_size_limit(5_000_000)
    with pytest.raises(OSError) as raised:
        checkpoint.save({"epoch": 2, "weights": [torch.zeros(1_000_000) for _ in range(3)]})
    assert str(explain(raised.value)).startswith(f"{tmp_path}/a.pt: No space is left")
    assert checkpoint.load() == {"epoch": 1}


def test_every_out_of_memory_error_is_explained():
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(1 << 50)
    with pytest.raises(MemoryError) as numpys:
        np.empty(1 << 50)
    for error in (torchs.value, numpys.value, torch.OutOfMemoryError("CUDA out of memory.")):
        assert str(explain(error)).startswith("Memory ran out")
    assert explain(RuntimeError("a defect")) is None and explain(ValueError("a defect")) is None
    assert issubclass(ResourceError, InputError)


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.EXDEV]
)
def test_every_os_error_gives_one_line_and_exit_status_1(code):
    source = (
        "from carcls.errors import reported\n"
        f"with reported(): raise OSError({code}, {os.strerror(code)!r}, 'here/two\\nlines')"
    )
    result = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("error: here/two\\nlines: ") and os.strerror(code) in line
