"""HTML fragments of the page, from pieces.html.j2, which escapes all text."""

import base64
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from carcls.evaluation.example import AttackResult
from carcls.study.wording import score
from carcls.web.names import shown


@cache
def _pieces() -> Any:
    """The macros of the template as functions."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {"code": _code, "data_uri": _data_uri, "score": score}
    return environment.get_template("pieces.html.j2").module


def _piece(name: str, *values: object) -> Markup:
    return getattr(_pieces(), name)(*values)


def _printable(value: object) -> str:
    """`value` as text without control characters. HTML of this module, which has none, stays as it is."""
    return value if isinstance(value, Markup) else shown(value)


def _code(sentence: str) -> Markup:
    """`sentence`, escaped, with text between backticks as code."""
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(shown(sentence)))))


def _data_uri(image: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def problem(sentence: str) -> Markup:
    """An error message: what is wrong and how to fix it."""
    return _piece("problem", sentence)


def note(sentence: str) -> Markup:
    return _piece("note", sentence)


def heading(text: str) -> Markup:
    return _piece("heading", text)


def done(sentence: str, *links: Markup) -> Markup:
    """A success message with links."""
    return _piece("done", sentence, links)


def report_link(text: str, name: object) -> Markup:
    """A relative link to the report of the results folder `name`."""
    return _piece("report_link", text, f"report/{quote(shown(name))}")


def study_report() -> Markup:
    """The report of the study in a frame, with a link to it."""
    return _piece("report_frame", "report")


def progress(share: float, sentence: str) -> Markup:
    """A progress bar for `share`, from 0 to 1, with a sentence below it."""
    return _piece("progress", share, sentence)


def answer(
    classes: Sequence[tuple[str, float | None]],
    novelty: float | None,
    threshold: float | None,
    nearest: Sequence[tuple[str, bytes]],
) -> Markup:
    """A table of classes with their probabilities, most probable first, each with a bar.

    Below the table are the novelty with its threshold, if it was measured, and the `nearest` training images
    (class, JPEG).
    """
    return _piece("answer", classes, novelty, threshold, nearest)


def attacked(result: AttackResult) -> Markup:
    """The right half of Figure 5: the first classes before and after the attack, and their new ranks.

    Below the table are the probabilities of the target and the effect of rounding to 8 bits.
    """
    moved = np.abs(result.row.adversarial.astype(np.int16) - result.row.original).max()
    return _piece("attacked", result, moved)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """A table. The first column is text or a link, the others are formatted numbers."""
    return _piece("table", columns, rows)


def pixels(image: np.ndarray, title: str) -> Markup:
    """A small image (uint8 RGB), enlarged without smoothing, with a title."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return _piece("pixels", png.tobytes(), title)


def beside(images: Sequence[Markup]) -> Markup:
    """`pixels` side by side."""
    return _piece("beside", images)


def picture(png: bytes, description: str) -> Markup:
    return _piece("picture", png, description)
