"""All tables and figures of a run on one HTML page that needs no other file and no network."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from carcls.data import archive, images
from carcls.data.sources.sift import summary
from carcls.errors import InputError
from carcls.params import Config, Params
from carcls.seeds import generator
from carcls.study import analysis, figures, naming, paper, wording

TEMPLATE = Path(__file__).with_name("report.html.j2")
SPLITS = ("train", "val", "test")
SAMPLES = 24  # classes shown by a picture
WORST = 6  # classes of the lowest F1 shown
MISREAD = 3  # wrong answers shown of each
PAIRS = 9  # most confused pairs shown
THUMBNAIL = 160  # pixels
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "scikit-learn")
CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")  # of a ResNet
COPIES = 24  # pictures that are there twice, named of each kind
TEXT = (  # a class may be called NA
    *("name", "class", "actual", "predicted", "split", "reason", "path"),
    *("kind", "other", "other_class", "other_split", "left_out"),
)


def build(params: Params, root: Path = Path(".")) -> str:
    """The page as HTML text, read from the outputs of the other stages under `root`.

    It shows every variant that metrics/train holds: the paper's eight in its order, then others by name.
    Equal files give equal text. Raises InputError naming the first file that is missing or lacks a key.
    """
    run = Run(root)
    chosen = f"{params.model.arch}-{params.model.config}"
    test = run.csv("plots/test/per_class.csv")
    classes = test["class"].to_list()
    answers = {name: run.csv(f"plots/{name}/predictions.csv") for name in ("test", "fgsm")}
    bins = analysis.calibration(answers["test"])
    variants = run.variants(chosen)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    written = {"arch": wording.arch_name, "variant": wording.variant_name, "score": wording.score}
    environment.filters |= written | {"listed": _listed, "signed": _signed, "span": _span}
    environment.globals |= {"number": run.number, "value": run.value, "exact": _exact}
    return environment.from_string(TEMPLATE.read_text()).render(
        params=params,
        chosen=chosen,
        variants=variants,
        best=max(variants, key=lambda variant: run.value(f"metrics/train/{variant}.json", "val_f1")),
        configs={name: _describe(config, params.weights) for name, config in params.configs.items()},
        source=_source(params),
        versions=_versions(),
        paper=paper,
        compared=paper.is_stanford_cars(classes),
        classes=classes,
        data=_data(run),
        left_out=summary(run.csv("data/left_out.csv").itertuples(index=False, name=None)),
        copies=_copies(run),
        samples=_samples(run),
        augmented=_augmented(run),
        test=test.to_dict("records"),
        intervals={
            name: analysis.intervals(frame, generator(params.seed, "bootstrap", name))
            for name, frame in answers.items()
        },
        resamples=analysis.RESAMPLES,
        worst=_worst(run),
        pairs=_pairs(run),
        same_make=analysis.same_make(run.csv("plots/test/confusion.csv"), classes),
        attributes=analysis.attribute_scores(answers["test"], classes).to_dict("records"),
        unparsed=[name for name in classes if naming.parse(name) is None],
        untyped=[name for name in classes if (car := naming.parse(name)) and car.type is None],
        bins=bins.to_dict("records"),
        calibration_error=analysis.calibration_error(bins),
        figures=_figures(run, variants, classes, bins),
    )


class Run:
    """The files of a run by their path from the project's folder, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.json = cache(self._json)
        self.csv = cache(self._csv)

    def bytes(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{self.root / path} is missing; `dvc repro` makes it.") from None

    def _json(self, path: str) -> dict:
        return json.loads(self.bytes(path))

    def _csv(self, path: str) -> pd.DataFrame:
        """Numbers are parsed by Python: pandas may lose the last bit of a float, and here that is shown."""
        frame = pd.read_csv(io.BytesIO(self.bytes(path)), dtype=str, keep_default_na=False)
        for column in frame.columns.difference(TEXT):
            frame[column] = [
                int(text) if text.isdecimal() else float(text or "nan") for text in frame[column]
            ]
        return frame

    def value(self, path: str, key: str) -> float | int:
        try:
            return self.json(path)[key]
        except KeyError:
            raise InputError(f"{self.root / path} has no {key}; `dvc repro -f` makes it anew.") from None

    def number(self, path: str, key: str, decimals: int = 4) -> Markup:
        """The number `key` of the metrics file `path`, rounded to read, with its exact value as attribute."""
        return _exact(self.value(path, key), f"{path}:{key}", decimals)

    def variants(self, chosen: str) -> list[str]:
        """What metrics/train holds, in the paper's order; `chosen` must be among it."""
        self.bytes(f"metrics/train/{chosen}.json")
        found = {path.stem for path in (self.root / "metrics/train").glob("*-*.json")}
        known = [variant for variant in paper.VARIANTS if variant in found]
        return known + sorted(found.difference(known))


def _exact(value: float | int, origin: str, decimals: int = 4) -> Markup:
    text = f"{value:,}" if isinstance(value, int) else f"{value:.{decimals}f}"
    return Markup('<data value="{}" title="{}">{}</data>').format(repr(value), f"{origin} = {value!r}", text)


def _signed(difference: float, decimals: int) -> str:
    """A difference with its sign, as in +0.012; one that rounds to zero has none."""
    text = f"{difference:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _listed(words: Sequence[str]) -> str:
    """Words as a sentence has them: a, b and c."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _describe(config: Config, weights: str) -> str:
    """A row of Table 1 in words."""
    if not config.pretrained:
        start = "Not pretrained"
    elif weights == "demo":
        start = "Pretrained on other drawn classes"
    elif weights == "imagenet":
        start = "Pretrained on ImageNet"
    else:
        start = f"Pretrained ({Path(weights).name})"
    frozen = CHILDREN[: config.frozen_layers]
    return f"{start}, first {len(frozen)} layers frozen ({', '.join(frozen)})" if frozen else start


def _source(params: Params) -> str:
    match params.data.source:
        case "demo":
            return "The embedded demo: drawn cars"
        case "folder":
            return f"Images of the folder “{Path(str(params.data.folder)).name}”"
        case "kaggle":
            return f"Kaggle data set {params.data.kaggle.dataset}"


def _versions() -> str:
    """Versions of what computes, as in "torch 2.11.0, ..."; what has another name here is left out."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _index(run: Run, split: str) -> pd.DataFrame:
    return archive.read_index(run.root / f"data/images/{split}.tar")


def _data(run: Run) -> pd.DataFrame:
    """Photographs (SPLIT) and images after augmentation (SPLIT_images) of each class, in order of label."""
    photographs = run.csv("data/split.csv")
    names = photographs.drop_duplicates("label").sort_values("label")["class"]
    counts = pd.DataFrame(index=names)
    for split in SPLITS:
        counts[split] = photographs[photographs["split"] == split]["class"].value_counts()
        counts[f"{split}_images"] = _index(run, split)["class"].value_counts()
    return counts.fillna(0).astype(int)


def _copies(run: Run) -> list[dict]:
    """For each kind of picture that is there twice: how many, how many were left out, and some rows."""
    return [
        {
            "kind": kind,
            "count": len(rows),
            "left_out": int((rows["left_out"] == "True").sum()),
            "rows": rows.head(COPIES).to_dict("records"),
        }
        for kind, rows in run.csv("data/copies.csv").groupby("kind", sort=False)
    ]


def _samples(run: Run) -> list[dict]:
    """The first training photograph of each class; of at most SAMPLES classes, evenly spaced by label."""
    index = _index(run, "train")
    classes = index.drop_duplicates("label").sort_values("label")["class"].to_list()
    shown = min(SAMPLES, len(classes))
    chosen = [classes[place * len(classes) // shown] for place in range(shown)]
    return [{"class": name, "uri": uri} for name, uri in _pictures(run, chosen).items()]


def _augmented(run: Run) -> list[dict]:
    """For each operation an original and the copy that it alone made, each from another part of the set."""
    index = _index(run, "train")
    originals = index[index.operations == ""].set_index("source", drop=False)
    single = index[(index.operations != "") & ~index.operations.str.contains(" ")]
    groups = list(single.groupby(single.operations.str.split("(").str[0], sort=True))
    pairs = []
    with archive.ArchiveReader(run.root / "data/images/train.tar") as reader:
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


def _thumbnail(reader: archive.ArchiveReader, row: dict | pd.Series) -> str:
    """The image of an archive's row, at most THUMBNAIL pixels a side, as a data URI."""
    data = reader.read(row["offset"], row["size"])
    image = images.decode(data, row["name"])
    if len(image) > THUMBNAIL:
        data = images.encode(images.resize(image, THUMBNAIL), 85)
    return _uri(data, "image/jpeg")


def _worst(run: Run) -> list[dict]:
    """The classes of the lowest test F1: a training picture, and the surest wrong answers to its images."""
    scores = run.csv("plots/test/per_class.csv").sort_values(["f1", "class"]).head(WORST)
    answers = run.csv("plots/test/predictions.csv")
    wrong = answers[answers.actual != answers.predicted]
    wrong = wrong.sort_values(["confidence", "name"], ascending=[False, True])
    places = _index(run, "test").set_index("name", drop=False)
    pictures = _pictures(run, scores["class"])
    with archive.ArchiveReader(run.root / "data/images/test.tar") as reader:
        return [
            row
            | {
                "uri": pictures[row["class"]],
                "misread": [
                    answer | {"uri": _thumbnail(reader, places.loc[answer["name"]])}
                    for answer in wrong[wrong.actual == row["class"]].head(MISREAD).to_dict("records")
                ],
            }
            for row in scores.to_dict("records")
        ]


def _pairs(run: Run) -> list[dict]:
    """The most confused pairs of classes with a training picture of each, and whether they share a make."""
    pairs = analysis.confused_pairs(run.csv("plots/test/confusion.csv")).head(PAIRS)
    support = run.csv("plots/test/per_class.csv").set_index("class")["support"]
    pictures = _pictures(run, [*pairs["first"], *pairs["second"]])
    rows = []
    for pair in pairs.to_dict("records"):
        first, second = (naming.parse(pair[side]) for side in ("first", "second"))
        same = first.make == second.make if first and second else None
        sides = [
            {"class": pair[side], "uri": pictures[pair[side]], "support": support[pair[side]]}
            for side in ("first", "second")
        ]
        rows.append(pair | {"sides": sides, "same_make": same})
    return rows


def _pictures(run: Run, classes: Iterable[str]) -> dict[str, str]:
    """The first training photograph of each of `classes`, as a data URI."""
    index = _index(run, "train")
    originals = index[index.operations == ""].drop_duplicates("class").set_index("class", drop=False)
    with archive.ArchiveReader(run.root / "data/images/train.tar") as reader:
        return {name: _thumbnail(reader, originals.loc[name]) for name in classes}


def _figures(run: Run, variants: list[str], classes: list[str], bins: pd.DataFrame) -> dict[str, dict]:
    """Each figure of figures.py by name, and Figure 5 as the fgsm stage drew it."""
    histories = {variant: run.csv(f"plots/history/{variant}.csv") for variant in variants}
    drawn = {
        "loss_curves": figures.loss_curves(histories),
        "f1_curves": figures.f1_curves(histories),
        "train_and_val_loss": figures.train_and_val(histories, "loss"),
        "train_and_val_f1": figures.train_and_val(histories, "f1"),
        "per_class_f1": figures.per_class_f1(run.csv("plots/test/per_class.csv")),
        "confusion": figures.confusion(run.csv("plots/test/confusion.csv"), classes),
        "reliability": figures.reliability(bins),
        "entropies": figures.entropies(
            *(run.csv(f"plots/{name}/predictions.csv").entropy for name in ("test", "fgsm")), len(classes)
        ),
        "epsilon_sweep": figures.epsilon_sweep(run.csv("plots/fgsm/sweep.csv")),
    }
    pngs = {name: figures.png(figure) for name, figure in drawn.items()}
    pngs["fgsm_examples"] = run.bytes("plots/fgsm/examples.png")
    return {name: {"uri": _uri(data, "image/png"), "width": _css_width(data)} for name, data in pngs.items()}


def _css_width(png: bytes) -> int:
    """Width of a PNG of figures.png in CSS pixels, of which an inch has 96."""
    return int.from_bytes(png[16:20], "big") * 96 // figures.DPI


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
