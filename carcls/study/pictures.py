"""The images in the report, with their augmented copies, predictions and heat maps."""

import base64
from collections.abc import Iterable

import pandas as pd

from carcls.evaluation import heatmap, shown
from carcls.imageset import images
from carcls.imageset.archive import ArchiveReader
from carcls.study import analysis, heat, naming
from carcls.study.run import LIMITS, Run

PAIRS = 9  # number of most confused pairs shown
LISTED = 24  # number of possible label errors and of unusual photographs shown
THUMBNAIL = 160  # pixels


def uri(data: bytes, kind: str) -> str:
    """`data` as a data URI, which embeds it in a page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def samples(run: Run) -> list[dict]:
    """The first image of each of at most shown.SHOWN classes."""
    index = run.index(run.shown)
    classes = index.drop_duplicates("label").sort_values("label")["class"].to_list()
    return [{"class": name, "uri": image} for name, image in _of_classes(run, shown.spread(classes)).items()]


def augmented(run: Run) -> list[dict]:
    """For each operation, an original and a copy made by it alone, from different parts of the set."""
    index = run.index("train")
    originals = index[index.operations == ""].set_index("source", drop=False)
    single = index[(index.operations != "") & ~index.operations.str.contains(" ")]
    groups = list(single.groupby(single.operations.str.split("(").str[0], sort=True))
    if not groups:
        return []
    pairs = []
    with ArchiveReader(run.tar("train")) as reader:
        for place, (operation, copies) in enumerate(groups):
            copy = copies.iloc[place * len(copies) // len(groups)]
            pairs.append(
                {
                    "operation": operation.replace("_", " "),
                    "strengths": copy.operations[len(operation) :].strip("()").replace(",", ", "),
                    "class": copy["class"],
                    "original": _thumbnail(reader, originals.loc[copy.source]),
                    "augmented": _thumbnail(reader, copy),
                }
            )
    return pairs


def worst(run: Run) -> list[dict]:
    """The classes with the lowest test F1: an image, and the most confident errors with their heat maps."""
    scores = shown.worst(run.csv("plots/test/per_class.csv"))
    answers = run.csv("plots/test/predictions.csv")
    first = _of_classes(run, scores["class"])
    rows = []
    for row in scores.to_dict("records"):
        misread = _looks(run, shown.misread(answers, row["class"]))
        near = _nearest(run, [answer["name"] for answer in misread])
        misread = [answer | {"near": near.get(answer["name"])} for answer in misread]
        rows.append(row | {"uri": first.get(row["class"]), "misread": misread})
    return rows


def _nearest(run: Run, names: Iterable[str]) -> dict[str, dict]:
    """The nearest training image (class, uri) of each of the test images `names`, if the model has LIMITS."""
    if not run.has(LIMITS):
        return {}
    nearest = run.csv(LIMITS).set_index("name")["nearest"]
    index = run.index("train").set_index("name", drop=False)
    rows = {name: index.loc[nearest[name]] for name in names}
    with ArchiveReader(run.tar("train")) as reader:
        return {name: {"class": row["class"], "uri": _thumbnail(reader, row)} for name, row in rows.items()}


def right(run: Run) -> list[dict]:
    """A correctly classified image of median confidence for each class, with its heat map."""
    return _looks(run, shown.typical(run.csv("plots/test/predictions.csv")))


def _looks(run: Run, answers: pd.DataFrame) -> list[dict]:
    """`answers` with the test image of each as `uri` and its heat map as `heat`."""
    places = run.index("test").set_index("name", drop=False)
    maps = run.csv("plots/test/heat.csv").set_index("name")
    rows = []
    with ArchiveReader(run.tar("test")) as reader:
        for answer in answers.to_dict("records"):
            row, level = places.loc[answer["name"]], maps.loc[answer["name"]].to_dict()
            image = images.decode(reader.read(row["offset"], row["size"]), answer["name"])
            heat_map = heatmap.read(level)
            overlaid = heat.overlay(images.resize(image, THUMBNAIL), heat_map)
            rows.append(
                answer
                | {
                    "uri": _thumbnail(reader, row),
                    "heat": uri(images.encode(overlaid, 85), "image/jpeg"),
                    "layer": level["layer"],
                    "grid": f"{level['height']} × {level['width']}",
                    "blank": not heat_map.any(),
                }
            )
    return rows


def pairs(run: Run) -> list[dict]:
    """The most confused pairs of classes with an image of each, and whether they share a make."""
    found = analysis.confused_pairs(run.csv("plots/test/confusion.csv")).head(PAIRS)
    support = run.csv("plots/test/per_class.csv").set_index("class")["support"]
    first = _of_classes(run, [*found["first"], *found["second"]])
    rows = []
    for pair in found.to_dict("records"):
        cars = [naming.parse(pair[side]) for side in ("first", "second")]
        same = cars[0].make == cars[1].make if cars[0] and cars[1] else None
        sides = [
            {"class": pair[side], "uri": first.get(pair[side]), "support": support[pair[side]]}
            for side in ("first", "second")
        ]
        rows.append(pair | {"sides": sides, "same_make": same})
    return rows


def listed(run: Run, path: str) -> list[dict]:
    """The first rows of the csv `path`, each with its image. The csv has the columns split and name."""
    rows = run.csv(path).head(LISTED).to_dict("records")
    places = {split: run.index(split).set_index("name") for split in {row["split"] for row in rows}}
    for row in rows:
        with ArchiveReader(run.tar(row["split"])) as reader:
            row["uri"] = _thumbnail(reader, places[row["split"]].loc[row["name"]])
    return rows


def _of_classes(run: Run, classes: Iterable[str]) -> dict[str, str]:
    """The first image of each of `classes` that has one, as a data URI."""
    index = run.index(run.shown)
    originals = index[index.operations == ""].drop_duplicates("class").set_index("class", drop=False)
    with ArchiveReader(run.tar(run.shown)) as reader:
        return {name: _thumbnail(reader, originals.loc[name]) for name in classes if name in originals.index}


def _thumbnail(reader: ArchiveReader, row: pd.Series) -> str:
    """The image of a row of an archive, reduced to at most THUMBNAIL pixels, as a data URI."""
    data = reader.read(row["offset"], row["size"])
    image = images.decode(data, str(row.name))
    if len(image) > THUMBNAIL:
        data = images.encode(images.resize(image, THUMBNAIL), 85)
    return uri(data, "image/jpeg")
