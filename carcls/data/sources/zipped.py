"""Read files from an untrusted zip without extracting it."""

import lzma
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from carcls.errors import InputError

MAX_MEMBER = 200 * 2**20  # bytes; large photographs have about 50 MB
UNIX = 3  # the system that created an entry; on Unix, a file name may contain "\\"
MAX_RATIO = 100  # bytes unpacked per byte of the zip: photographs have about 1, a zip bomb 1,000

# zipfile and the decompressors raise these on damaged input
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


class ZipReader:
    """Reads files of a zip by name."""

    def __init__(self, path: Path) -> None:
        """Raises InputError if `path` is not a zip, unpacks to over MAX_RATIO times its size, or has a member
        that is encrypted, is not a plain file, or has a path outside the archive.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise self._damaged(error) from None
        members = self._zip.infolist()
        for member in members:
            self._check(member)
        slashes = any("/" in member.filename for member in members)
        paths = [_path(member, slashes) for member in members]
        self._names = [path for path in paths if not path.endswith("/")]
        self._members = dict(zip(paths, members, strict=True))
        if sum(member.file_size for member in members) > MAX_RATIO * path.stat().st_size:
            raise InputError(
                f"{path} unpacks to over {MAX_RATIO} times its size, which photographs do not; delete it."
            )

    def names(self) -> list[str]:
        """The relative paths of all files, with "/", in the order of the zip."""
        return self._names

    def read(self, name: str) -> bytes:
        """The content of a file. Raises InputError if it is damaged or has over MAX_MEMBER bytes."""
        try:
            with self._zip.open(self._members[name]) as file:
                data = file.read(MAX_MEMBER + 1)  # reading to the end also checks the CRC
        except DAMAGE as error:
            raise self._damaged(f"{name}: {error}") from None
        if len(data) > MAX_MEMBER:
            raise InputError(
                f"{self.path}: {name} is larger than {MAX_MEMBER >> 20} MB; choose another data set."
            )
        if len(data) != self._members[name].file_size:
            raise self._damaged(f"{name} is truncated")
        return data

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or re.match("[A-Za-z]:/", name):
            raise self._refused(member, "is a path outside the archive")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._refused(member, "is a link or a device, not a file")
        if member.flag_bits & 1:
            raise self._refused(member, "is encrypted")

    def _refused(self, member: zipfile.ZipInfo, reason: str) -> InputError:
        return InputError(f"{self.path}: {member.filename!r} {reason}; choose another data set.")

    def _damaged(self, reason: object) -> InputError:
        return InputError(f"{self.path} is damaged ({reason}); delete it and run again.")


def _path(member: zipfile.ZipInfo, slashes: bool) -> str:
    """The path of `member` with "/". `slashes`: whether any name in its zip has one.

    Some Windows programs separate folders by "\\", against the standard.
    """
    if member.create_system == UNIX and slashes:
        return member.filename
    return member.filename.replace("\\", "/")
