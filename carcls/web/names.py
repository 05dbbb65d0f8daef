"""Convert names of files and classes to text that HTML, JSON and URLs can contain, and back.

On Linux, a file name can contain any bytes. Python represents bytes that are not UTF-8 as lone surrogates,
which no encoder accepts. A newline in a name would break a one-line message.
"""

import re

_ESCAPED = re.compile(r"\\x([01][0-9a-f]|7f)|\\u(d[89a-f][0-9a-f]{2})")


def shown(name: object) -> str:
    """`name` with control characters and lone surrogates as Python escapes: `a\\x0ab`, `\\udcff`."""
    text = re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\x{ord(match[0]):02x}", str(name))
    return text.encode("utf-8", "backslashreplace").decode()


def meant(text: str) -> str:
    """The name for which `shown` returned `text`."""
    return _ESCAPED.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
