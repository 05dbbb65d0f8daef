"""Shortcuts are found, random measures are not reported, and unusual photographs are listed."""

import cv2
import numpy as np
import pandas as pd
import pytest

from carcls.evaluation.shortcuts import MEASURES, measure, shortcuts, unusual


def test_brightness_and_sharpness_are_computed_from_the_pixels(rng):
    noise = rng.integers(0, 255, (64, 64, 3), np.uint8)
    assert measure(np.full((8, 8, 3), 51, np.uint8)) == (pytest.approx(0.2), 0)
    assert measure(cv2.GaussianBlur(noise, (9, 9), 0))[1] < measure(noise)[1] / 10


def photographs(rng: np.random.Generator, classes: int, each: int) -> pd.DataFrame:
    table = pd.DataFrame(rng.lognormal(5, 0.3, (classes * each, 4)), columns=[*MEASURES])
    return table.assign(label=np.repeat(np.arange(classes), each))


def test_random_measures_are_rarely_reported_as_a_shortcut(rng):
    tables = [shortcuts(photographs(rng, classes, 20), 1) for classes in (2, 5) for _ in range(25)]
    assert sum((table.score > table.bound).sum() for table in tables) <= 1
    assert np.mean([table.score / table.chance for table in tables]) == pytest.approx(1, abs=0.1)


def test_a_darker_class_is_found_and_other_measures_are_not_reported(rng):
    table = photographs(rng, 3, 30)
    table.loc[table.label == 2, "brightness"] /= 5
    table.loc[len(table)] = [*table.iloc[0, :4], 7]  # a class of one photograph
    best, *others = shortcuts(table, 1).to_dict("records")
    assert best["measure"] == "brightness" and best["score"] > best["bound"] > best["chance"] == 1 / 3
    assert not [row for row in others if row["score"] > row["bound"]]
    assert shortcuts(photographs(rng, 3, 4), 1).empty


def test_dark_blurred_and_odd_sized_photographs_are_listed_and_only_these(rng):
    table = photographs(rng, 2, 50)
    assert unusual(table).empty
    changes = {"dark": ("brightness", 0.05), "blurred": ("sharpness", 0.05), "small": ("size", 0.03)}
    changes |= {"large": ("size", 40), "tall": ("aspect ratio", 0.02), "wide": ("aspect ratio", 50)}
    for place, (name, factor) in enumerate(changes.values()):
        table.loc[place, name] *= factor
    table.loc[90, ["brightness", "sharpness"]] *= 50
    found = unusual(table)
    assert sorted(found.kind) == sorted(changes) and found.deviation.is_monotonic_decreasing
    table["size"] = 640.0  # all from one camera
    assert set(unusual(table).kind) == set(changes) - {"small", "large"}
