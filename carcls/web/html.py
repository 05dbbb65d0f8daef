"""The page's pieces of HTML. Every text from outside is escaped here."""

import base64
import re
from collections.abc import Sequence

import cv2
import numpy as np
from markupsafe import Markup, escape

from carcls.evaluation.example import Trial
from carcls.study.wording import score


def problem(sentence: str) -> str:
    """What is wrong, and the way out."""
    return f'<p class="problem" role="alert">{_with_code(sentence)}</p>'


def heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"


def note(sentence: str) -> str:
    return f'<p class="note">{_with_code(sentence)}</p>'


def _with_code(sentence: str) -> str:
    """`sentence`, escaped, with what stands between backticks as code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", str(escape(sentence)))


def done(sentence: str, *links: str) -> str:
    """What has ended well, and where to go from there."""
    return f'<p class="done" role="status">{" ".join((escape(sentence), *links))}</p>'


def link(text: str, address: str) -> Markup:
    """A link that opens a page of its own."""
    return Markup('<a href="{}" target="_blank">{}</a>').format(address, text)


def progress(share: float, sentence: str) -> str:
    """A bar filled by `share` of 1, and a sentence below it."""
    return (
        f'<div class="progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><div style="width:{100 * share:.2f}%"></div></div>'
        f'<p class="note" role="status">{escape(sentence)}</p>'
    )


def top(classes: Sequence[tuple[str, float]]) -> str:
    """Classes with their probabilities, best first, each over a bar."""
    rows = "".join(
        f'<tr><td>{rank}</td><td>{escape(name)}<div class="bar"><div style="width:{100 * probability:.2f}%">'
        f"</div></div></td><td>{score(probability)}</td></tr>"
        for rank, (name, probability) in enumerate(classes, start=1)
    )
    head = "<tr><th>#</th><th>Class</th><th>Probability</th></tr>"
    return f'<table class="top"><thead>{head}</thead>{rows}</table>'


def attacked(trial: Trial) -> str:
    """The right half of Figure 5: the first classes before and after, and where the former went.

    Below it what became of the class aimed at, and what rounding to 8 bits has to do with all of it.
    """
    pairs = zip(trial.row.before, trial.row.after, trial.row.rank_after, strict=True)
    rows = "".join(
        f"<tr><td>{rank}</td>{_named(*before)}<td>{_moved(rank, now)}</td>{_named(*after)}</tr>"
        for rank, (before, after, now) in enumerate(pairs, start=1)
    )
    head = "<tr><th>#</th><th>Before</th><th>Rank</th><th>After</th></tr>"
    table = f'<table class="attacked"><thead>{head}</thead>{rows}</table>'
    return table + _aimed(trial) + note(_rounding(trial))


def _aimed(trial: Trial) -> str:
    if trial.target is None:
        return ""
    name, before, after = trial.target
    return note(f"Target: {name}, {score(before)} before and {score(after)} after.")


def _rounding(trial: Trial) -> str:
    row, (name, probability) = trial.row, trial.unrounded
    moved = np.abs(row.adversarial.astype(np.int16) - row.original).max()
    went = f"values moved by up to {moved}" if moved else "no value moved: nothing is left of the attack"
    return (
        "After is the answer to the picture that you see. A picture has 8 bits for a value: steps of 1/255. "
        f"Epsilon is {255 * row.epsilon:.2f} steps; rounded to whole ones, {went}. "
        f"Before rounding, the first class is {name}, {score(probability)}."
    )


def _named(name: str, probability: float) -> str:
    return f'<td>{escape(name)}<div class="probability">{score(probability)}</div></td>'


def _moved(rank: int, now: int) -> str:
    arrow = "▼" if now > rank else "▲" if now < rank else "="
    return f'<span class="{"lost" if now > rank else "kept"}">{rank} → {now} {arrow}</span>'


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose first column is text or a `link` and whose others are numbers, as they are given."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table class="numbers"><thead><tr>{head}</tr></thead>{body}</table></div>'


def pixels(image: np.ndarray, title: str) -> str:
    """A small image (uint8 RGB) drawn large under its title, pixel by pixel."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    data = base64.b64encode(png.tobytes()).decode()
    shown = f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'
    return f'<figure class="seen"><figcaption>{escape(title)}</figcaption>{shown}</figure>'


def picture(png: bytes, description: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img class="figure" alt="{escape(description)}" src="data:image/png;base64,{data}">'
