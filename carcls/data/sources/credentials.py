"""The user's Kaggle credentials: read, checked and never shown.

The official client has three faults: it sends credentials with surrounding white space, ignores a kaggle.json
that it cannot parse, and prints a header that it cannot send.
"""

import base64
import codecs
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from carcls.errors import InputError

TOKEN, USER, KEY = "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"
HOW = (
    "create a token at https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN to it or save it as "
    "~/.kaggle/access_token (an older key: KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json)"
)
HEADER = re.compile(r"\b(Bearer|Basic) [^\s'\"]+")
URL_USER = re.compile(r"://[^/\s@]+@")  # user and password, as in the address of a proxy


def environment() -> tuple[dict[str, str], str]:
    """The environment for the client with stripped credentials, and an error message about kaggle.json or "".

    Raises InputError for a credential that an HTTP header cannot contain, and for an unreadable token file.
    """
    found = dict(os.environ)
    for name in (TOKEN, USER, KEY):
        _put(found, name, found.pop(name, ""), name)
    folder = Path(os.path.expanduser("~/.kaggle"))
    named = [Path(found[TOKEN])] if TOKEN in found else [folder / "access_token", folder / "access_token.txt"]
    for path in filter(os.path.isfile, named):
        try:
            _put(found, TOKEN, _text(path), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({_reason(error)}); {HOW}.") from None
        if TOKEN in found:
            break
    if TOKEN in found or (USER in found and KEY in found):
        return found, ""
    path = _config_folder() / "kaggle.json"
    if not os.path.exists(path):
        return found, ""
    try:
        for name, value in zip((USER, KEY), _legacy(path), strict=True):
            _put(found, name, found.get(name, value), str(path))
    except InputError as error:
        return found, str(error)
    return found, ""


def redacted(text: str, secrets: Mapping[str, str] = os.environ) -> str:
    """`text` without the credentials in `secrets`, in request headers and in URLs."""
    values = [secrets[name] for name in (TOKEN, KEY) if secrets.get(name)]
    values.append(base64.b64encode(f"{secrets.get(USER)}:{secrets.get(KEY)}".encode()).decode())
    for value in values:
        text = text.replace(value, "***").replace(repr(value)[1:-1], "***")
    return URL_USER.sub("://***@", HEADER.sub(r"\1 ***", text))


class Redacted:
    """A text stream for the client that removes credentials from all output to `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(redacted(text))

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _put(found: dict[str, str], name: str, value: str, origin: str) -> None:
    """Set `name` in `found` to `value` without surrounding white space, unless it is empty."""
    value = value.strip().strip("\ufeff").strip()
    if not all("!" <= letter <= "~" for letter in value):
        raise InputError(
            f"{origin} contains a space, a line break or another character that is invalid in Kaggle "
            "credentials; copy it again from https://www.kaggle.com/settings/api."
        )
    if value:
        found[name] = value


def _config_folder() -> Path:
    """Where the client looks for kaggle.json."""
    home = Path(os.path.expanduser("~/.kaggle"))
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    if sys.platform.startswith("linux") and not os.path.exists(home):
        return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "kaggle"
    return home


def _text(path: Path) -> str:
    """The text of `path`, in UTF-8 or, as PowerShell writes it, UTF-16 with a byte order mark."""
    data = path.read_bytes()
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def _legacy(path: Path) -> tuple[str, str]:
    """User name and key in a kaggle.json. Raises InputError if the file is invalid."""
    again = "create a new one with `Create Legacy API Key` at https://www.kaggle.com/settings/api"
    try:
        text = _text(path).strip()
        content = json.loads(text) if text.startswith(("{", "[")) else text
    except json.JSONDecodeError as error:
        fault = f"is not valid JSON (line {error.lineno}, column {error.colno})"
        if not text.endswith(("}", "]")):
            fault = "is truncated: its closing brace is missing"
        raise InputError(f"{path} {fault}; {again}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({_reason(error)}); {again}.") from None
    if not content:
        raise InputError(f"{path} is empty; {again}.")
    if isinstance(content, str) and len(content.split()) == 1:
        raise InputError(f"{path} is a bare token, not JSON; save it as ~/.kaggle/access_token.")
    if isinstance(content, str):
        raise InputError(f"{path} is not JSON; {again}.")
    values = [content.get(key) for key in ("username", "key")] if isinstance(content, dict) else [None, None]
    if not all(isinstance(value, str) and value.strip() for value in values):
        raise InputError(f'{path} has no text as "username" or "key"; {again}.')
    return str(values[0]), str(values[1])


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is neither UTF-8 nor UTF-16"
