"""The report shows the right images, and blends heat maps over them."""

import base64

import matplotlib
import numpy as np
import pandas as pd
import pytest

from carcls.evaluation import heatmap, shown
from carcls.files import write_csv
from carcls.imageset import archive, images
from carcls.study import heat, pictures
from carcls.study.run import Run

MORE = 30  # images of the last class beyond those of the others
CLASSES = [f"Make{place % 2} Model Coupe {2000 + place}" for place in range(shown.SHOWN + 2)]
COLUMNS = ("label", "class", "source", "operations")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Two or more originals per class in each set, after a copy of the first. Each image has its own grey."""
    root = tmp_path_factory.mktemp("run")
    for split in ("train", "val", "test"):
        with archive.create(root / f"data/images/{split}.tar", COLUMNS) as writer:
            for number in range(3 * len(CLASSES) + MORE):
                label, place = min(number // 3, len(CLASSES) - 1), number % 3
                operations = ("blur(kernel=3)" if number % 2 else "rotate(degrees=2,about=1) blur", "", "")
                size = 200 if place == 1 else 40
                data = images.encode(np.full((size, size, 3), min(number * 3, 255), np.uint8), 95)
                row = {"label": label, "class": CLASSES[label], "source": f"s{label}-{max(place, 1)}"}
                writer.add(f"{number:03}.jpg", data, **row, operations=operations[place])
    return Run(root)


def grey(uri: str) -> tuple[int, int]:
    """The size of an image, and its number, which is encoded as its grey level."""
    image = images.decode(base64.b64decode(uri.partition("base64,")[2]), "it")
    return len(image), round(image.mean() / 3)


def test_samples_are_thumbnails_of_the_first_original_of_each_class(run):
    found = pictures.samples(run)
    assert [row["class"] for row in found] == shown.spread(CLASSES) and len(found) == shown.SHOWN
    for row in found:
        assert grey(row["uri"]) == (pictures.THUMBNAIL, 3 * CLASSES.index(row["class"]) + 1)
        assert row["uri"].startswith("data:image/jpeg;base64,")


def test_augmented_copy_is_paired_with_its_original(run):
    [pair] = pictures.augmented(run)
    assert (pair["operation"], pair["strengths"]) == ("blur", "kernel=3")
    number = grey(pair["augmented"])[1]
    assert pair["class"] == CLASSES[number // 3] and grey(pair["original"])[1] == number + 1


def test_augmented_pairs_come_from_different_parts_of_the_set(tmp_path):
    texts = ("", "gauss_noise(std=0.1,seed=7)", "blur")
    with archive.create(tmp_path / "data/images/train.tar", COLUMNS) as writer:
        for number in range(6):
            data = images.encode(np.full((8, 8, 3), number * 3, np.uint8), 95)
            row = {"label": 0, "class": "a", "source": f"s{number % 2}", "operations": texts[number // 2]}
            writer.add(f"{number}.jpg", data, **row)
    first, second = pictures.augmented(Run(tmp_path))
    assert (first["operation"], first["strengths"]) == ("blur", "")
    assert (second["operation"], second["strengths"]) == ("gauss noise", "std=0.1, seed=7")
    shown = [(grey(row["original"])[1], grey(row["augmented"])[1]) for row in (first, second)]
    assert shown == [(0, 4), (1, 3)]


def test_worst_and_correct_predictions_have_heat_maps(run):
    scores = pd.DataFrame({"class": CLASSES, "f1": np.linspace(0, 1, len(CLASSES)), "support": 2})
    write_csv(run.root / "plots/test/per_class.csv", scores)
    rows = [
        (f"{3 * label + place:03}.jpg", CLASSES[label], CLASSES[label if place == 1 else label - 1], 0.5)
        for label in range(len(CLASSES))
        for place in (1, 2)
    ]
    answers = pd.DataFrame(rows, columns=["name", "actual", "predicted", "confidence"])
    write_csv(run.root / "plots/test/predictions.csv", answers)
    maps = np.zeros((len(answers), 2, 3))
    maps[0, 0, 0] = 1
    write_csv(run.root / "plots/test/heat.csv", heatmap.table(answers["name"], maps, "layer3"))
    fresh = Run(run.root)
    worst = pictures.worst(fresh)
    assert [row["class"] for row in worst] == CLASSES[: shown.WORST]
    for label, row in enumerate(worst):
        [wrong] = row["misread"]
        assert grey(row["uri"])[1] == 3 * label + 1 and grey(wrong["uri"]) == (40, 3 * label + 2)
        assert grey(wrong["heat"]) == (
            pictures.THUMBNAIL,
            3 * label + 2,
        )  # the map is zero, so the image stays grey
        assert (wrong["layer"], wrong["grid"], wrong["predicted"]) == ("layer3", "2 × 3", CLASSES[label - 1])
    right = pictures.right(fresh)
    assert [grey(row["uri"])[1] % 3 for row in right] == [1] * shown.SHOWN
    assert [row["blank"] for row in right] == [False] + [True] * (shown.SHOWN - 1)


def test_confused_pairs_and_possible_label_errors_have_images(run):
    counts = [(CLASSES[0], CLASSES[2], 9), (CLASSES[0], CLASSES[1], 8)]
    counts += [(CLASSES[place], CLASSES[place + 1], 1) for place in range(2, 20)]
    write_csv(
        run.root / "plots/test/confusion.csv", pd.DataFrame(counts, columns=["actual", "predicted", "count"])
    )
    write_csv(run.root / "plots/test/per_class.csv", pd.DataFrame({"class": CLASSES, "support": range(26)}))
    rows = [{"split": ("val", "train")[n % 2], "name": f"{n:03}.jpg", "doubt": 1.0} for n in range(30)]
    write_csv(run.root / "plots/doubts.csv", rows)
    fresh = Run(run.root)
    first, second, *others = pictures.pairs(fresh)
    assert (first["same_make"], second["same_make"], len(others)) == (True, False, pictures.PAIRS - 2)
    assert [(side["support"], grey(side["uri"])[1]) for side in first["sides"]] == [(0, 1), (2, 7)]
    doubted = pictures.listed(fresh, "plots/doubts.csv")
    assert [grey(row["uri"])[1] for row in doubted] == list(range(pictures.LISTED))


def test_overlay_opacity_is_proportional_to_heat():
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0], image[..., 1] = 90, 60  # mean grey 50
    for level in (0.0, 0.5, 1.0):
        found = heat.overlay(image, np.full((2, 3), level))
        colour = np.array(matplotlib.colormaps["inferno"](level)[:3]) * 255
        expected = np.rint((1 - 0.7 * level) * 50 + 0.7 * level * colour)
        assert found.shape == image.shape and found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 1
    left = heat.overlay(image, np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert (left[:, :10] != 50).any() and (left[:, -10:] == 50).all()


def test_run_without_training_shows_only_test_images(run):
    tested = Run(run.root, trained=False)
    assert tested.index("train").empty and len(tested.index("test")) == 3 * len(CLASSES) + MORE
    assert len(run.index("train")) == 3 * len(CLASSES) + MORE
    (run.root / "data/images/train.tar").rename(run.root / "data/images/gone.tar")
    try:
        assert len(pictures.samples(tested)) == shown.SHOWN
        assert pictures.augmented(tested) == []
    finally:
        (run.root / "data/images/gone.tar").rename(run.root / "data/images/train.tar")
