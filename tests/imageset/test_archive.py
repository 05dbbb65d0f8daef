import tarfile

import pytest

from carcls.errors import InputError
from carcls.imageset import archive

IMAGES = {"a/1.jpg": b"one", "a/2.jpg": b"x" * 512, "b/NA.jpg": b"", "b/" + "n" * 150 + ".jpg": b"long"}


@pytest.fixture
def tar(tmp_path):
    path = tmp_path / "set.tar"
    with archive.create(path, ["class"]) as writer:
        for name, data in sorted(IMAGES.items()):
            writer.add(name, data, **{"class": "NA"})
    return path


def test_offset_and_size_locate_what_a_tar_tool_extracts(tar):
    index = archive.read_index(tar)
    with archive.ArchiveReader(tar) as reader, tarfile.open(tar) as other:
        assert other.getnames() == list(index["name"]) == sorted(IMAGES)
        for row in index.itertuples():
            assert reader.read(row.offset, row.size) == other.extractfile(row.name).read() == IMAGES[row.name]


def test_a_class_may_be_called_na(tar):
    assert list(archive.read_index(tar)["class"]) == ["NA"] * len(IMAGES)


def test_a_failed_write_keeps_the_old_archive_and_no_partial_file(tar):
    before = tar.read_bytes()
    with pytest.raises(KeyboardInterrupt), archive.create(tar, []) as writer:
        writer.add("c", b"new")
        raise KeyboardInterrupt
    assert tar.read_bytes() == before
    assert sorted(path.name for path in tar.parent.iterdir()) == ["set.csv", "set.tar"]


def test_names_must_be_added_in_order(tmp_path):
    with pytest.raises(ValueError, match="increase"), archive.create(tmp_path / "set.tar", []) as writer:
        writer.add("b", b"")
        writer.add("a", b"")


def test_a_missing_or_short_archive_gives_one_message(tar):
    with pytest.raises(InputError, match="gone.tar is missing"):
        archive.ArchiveReader(tar.with_name("gone.tar"))
    with pytest.raises(InputError, match="gone.csv is missing"):
        archive.read_index(tar.with_name("gone.tar"))
    size = tar.stat().st_size
    with archive.ArchiveReader(tar) as reader, pytest.raises(InputError, match="shorter than its csv says"):
        reader.read(size - 1, 2)
