"""Installed fonts for the characters that DejaVu Sans, the font of the figures, lacks."""

import logging
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

log = logging.getLogger(__name__)
_reported: set[str] = set()


def add_fallbacks(figure: Figure) -> None:
    """Add installed fonts as fallbacks for the characters of `figure` that the font of their text lacks.

    A text is unchanged if its font has all of its characters. If no installed font has a character, a warning
    is logged, once per process.
    """
    missing = {text: characters for text in figure.findobj(Text) if (characters := _missing(text))}
    families = _families(frozenset().union(*missing.values()))
    for text in missing:
        text.set_fontfamily([*text.get_fontfamily(), *families])


def _missing(text: Text) -> set[str]:
    """The characters of `text` that its font lacks."""
    characters = {
        character
        for character in text.get_text()
        if not character.isascii() and unicodedata.category(character) != "Cf"  # Cf characters are invisible
    }
    return characters - _characters(findfont(text.get_fontproperties())) if characters else characters


@lru_cache
def _characters(path: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(path).get_charmap()))


@lru_cache
def _families(characters: frozenset[str]) -> tuple[str, ...]:
    """Installed families that together have `characters`, selected greedily: most characters first."""
    if not characters:
        return ()
    left, families = characters, []
    covered = {
        family: frozenset(character for character in characters if font.get_char_index(ord(character)))
        for family, font in _installed()
    }
    while found := max((has & left for has in covered.values()), key=len, default=frozenset()):
        families.append(next(family for family, has in covered.items() if has & left == found))
        left -= found
    if left and not _reported:
        _reported.update(left)
        log.warning(
            "Figures show boxes for the characters %s, which no installed font has: install a font with "
            "these characters, for example Noto Sans CJK for Chinese, Japanese and Korean (Debian: "
            "fonts-noto-cjk), Noto Sans for other scripts (fonts-noto-core) or Symbola for emoji "
            "(fonts-symbola).",
            " ".join(sorted(left)[:20]),
        )
    return tuple(families)


def _installed() -> Iterator[tuple[str, FT2Font]]:
    """Each installed family with its most regular font: sans-serif families first, monospaced ones last."""
    known = {entry.fname for entry in fontManager.ttflist}  # this list may be older than a font
    for path in sorted(set(findSystemFonts()) - known):
        with suppress(Exception):  # skip a font that Matplotlib cannot read, as its own search does
            fontManager.addfont(path)
    entries = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal"
        and "lastresort" not in entry.name.replace(" ", "").lower()  # it has boxes for all characters
        and getattr(entry, "index", 0) == 0  # the fonts of a collection have the same characters
    ]
    entries.sort(
        key=lambda entry: (
            "Mono" in entry.name,
            "Sans" not in entry.name,
            entry.name,
            abs(int(entry.weight) - 400),
            entry.fname,
        )
    )
    seen: set[str] = set()
    for entry in entries:
        if entry.name not in seen:
            with suppress(OSError, RuntimeError):  # removed or damaged since Matplotlib listed it
                yield entry.name, FT2Font(entry.fname)
                seen.add(entry.name)
