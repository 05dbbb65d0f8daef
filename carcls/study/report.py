"""The report: all tables and figures of a run on one HTML page, which needs no other file and no network."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from safetensors.numpy import load

from carcls.base.scoring import BINS, calibration_error
from carcls.base.seeds import generator
from carcls.base.variants import cells, variant_name
from carcls.data.sources.filter import summary
from carcls.evaluation.attacks import ATTACKS
from carcls.evaluation.example import read_examples
from carcls.params import Config, Params
from carcls.study import analysis, figures, naming, paper, pictures, wording
from carcls.study.run import LIMITS, Run

TEMPLATE = Path(__file__).with_name("report.html.j2")
SPLITS = ("train", "val", "test")
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "scikit-learn")
CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")  # of a ResNet
COPIES = 24  # number of duplicates listed for each kind


def render(params: Params, root: Path = Path("."), name: str | None = None) -> str:
    """The report as HTML text, made from the outputs of the other stages in `root`.

    For a study (`name` is None), it shows all variants: the eight of the paper in their order, then the
    others. With the `name` of a results folder, it shows one model. Parts without files, such as the
    attack, are omitted. Equal files give equal text. Raises InputError, which names the file, if a file is
    missing or lacks a key.
    """
    chosen = params.variant
    trained = name is None or (root / f"metrics/train/{chosen}.json").exists()
    run = Run(root, trained)
    parts = _parts(run, name is None, trained)
    _check_late_files(run, chosen, parts)
    variants = _variants(params, parts)
    detected = _detected(params, run, parts)
    return _environment(run).from_string(TEMPLATE.read_text()).render(
        params=params,
        name=name,
        parts=parts,
        chosen=chosen,
        variants=variants,
        **_compared(params, run, variants, parts["study"]),
        paper=paper,
        configs={key: _describe(config, params.weights) for key, config in params.configs.items()},
        source=_source(params),
        versions=_versions(),
        data=_data(run, params.split.folds),
        left_out=summary(run.csv("data/left_out.csv").itertuples(index=False, name=None)),
        copies=_copies(run) if trained else [],
        **_pictures(run, parts),
        **(_quality(run) if parts["quality"] else {}),
        **_answers(params, run, parts),
        detected=detected,
        **_all_variants(params, run, variants, parts["study"]),
        **_figures(run, variants, parts, detected),
    )  # fmt: skip


def _parts(run: Run, study: bool, trained: bool) -> dict[str, bool]:
    """Which parts the report has."""
    return {
        "study": study,
        "training": trained,
        "validation": trained and not run.index("val").empty,
        "attack": study or run.has("metrics/fgsm.json"),
        "doubts": run.has("plots/doubts.csv"),
        "quality": run.has("plots/shortcuts.csv"),
        "limits": run.has(LIMITS),
    }


def _check_late_files(run: Run, chosen: str, parts: dict[str, bool]) -> None:
    """Raise InputError early if a file is missing that is only read after figures are drawn."""
    late = {
        f"metrics/train/{chosen}.json": parts["training"],
        "metrics/test.json": True,
        "metrics/fgsm.json": parts["attack"],
        "plots/fgsm/examples.png": parts["attack"],
        "metrics/corruptions.json": parts["study"],
    }
    for path, read in late.items():
        if read:
            run.bytes(path)


def _variants(params: Params, parts: dict[str, bool]) -> list[str]:
    """The variants that the report shows."""
    if parts["study"]:
        return [variant_name(*cell) for cell in cells(params.model.arch, params.model.config)]
    return [params.variant] if parts["training"] else []


def _pictures(run: Run, parts: dict[str, bool]) -> dict:
    """The images of the report, and the number of possible label errors."""
    return {
        "samples": pictures.samples(run),
        "augmented": pictures.augmented(run),
        "worst": pictures.worst(run),
        "right": pictures.right(run),
        "pairs": pictures.pairs(run),
        "doubts": pictures.listed(run, "plots/doubts.csv") if parts["doubts"] else [],
        "doubted": len(run.csv("plots/doubts.csv")) if parts["doubts"] else 0,
    }


def _quality(run: Run) -> dict:
    """How well each single measure predicts the class, and the unusual photographs."""
    return {
        "shortcuts": run.csv("plots/shortcuts.csv").to_dict("records"),
        "unusual": pictures.listed(run, "plots/unusual.csv"),
        "kinds": run.csv("plots/unusual.csv")["kind"].value_counts().to_dict(),
    }


def examples_png(params: Params, root: Path) -> bytes:
    """Figure 5 as a PNG. Raises InputError if one of its files is missing."""
    run = Run(root)
    arrays = load(run.bytes("data/fgsm_examples.safetensors"))
    examples = read_examples(run.csv("plots/fgsm/examples.csv"), arrays, params.fgsm.epsilon)
    return figures.png(figures.fgsm_examples(examples))


def _environment(run: Run) -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    written = {"arch": wording.arch_name, "variant": wording.variant_name, "score": wording.score}
    environment.filters |= written | {"listed": _listed, "signed": _signed, "span": _span}

    def number(path: str, key: str, decimals: int = 4) -> Markup:
        """The number `key` of a metrics file, rounded, with its exact value as attribute."""
        return _exact(run.value(path, key), f"{path}:{key}", decimals)

    def highest(variants: Sequence[str], key: str) -> str:
        return max(variants, key=lambda variant: run.value(f"metrics/train/{variant}.json", key))

    environment.filters["highest"] = highest
    environment.globals |= {"number": number, "value": run.value, "exact": _exact}
    return environment


def _exact(value: float | int, origin: str, decimals: int = 4) -> Markup:
    text = f"{value:,}" if isinstance(value, int) else f"{value:.{decimals}f}"
    return Markup('<data value="{}" title="{}">{}</data>').format(repr(value), f"{origin} = {value!r}", text)


def _signed(difference: float, decimals: int) -> str:
    """A difference with its sign, such as +0.012. A difference that rounds to zero has no sign."""
    text = f"{difference:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _listed(words: Sequence[str]) -> str:
    """Join words as in a sentence: a, b and c."""
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
    if config.adversarial:
        times = f"{config.adversarial.steps} step{'s' * (config.adversarial.steps > 1)}"
        return f"{start}, trained on images attacked in {times} at ε = {config.adversarial.epsilon:g}"
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
    """Versions of installed PACKAGES, such as "torch 2.11.0, ..."."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _data(run: Run, folds: int | None) -> pd.DataFrame:
    """Photographs (SPLIT) and images after augmentation (SPLIT_images) of each class, in order of label.

    With `folds`, all training photographs are also test photographs.
    """
    photographs = run.csv("data/split.csv")
    names = photographs.drop_duplicates("label").sort_values("label")["class"]
    counts = pd.DataFrame(index=names)
    for split in SPLITS:
        counts[split] = photographs[photographs["split"] == split]["class"].value_counts()
        counts[f"{split}_images"] = run.index(split)["class"].value_counts()
    if folds:
        counts["test"] = counts["train"]
    return counts.fillna(0).astype(int)


def _copies(run: Run) -> list[dict]:
    """For each kind of duplicates: their number, how many were removed from training, and the first rows."""
    return [
        {
            "kind": kind,
            "count": len(rows),
            "left_out": int((rows["left_out"] == "True").sum()),
            "rows": rows.head(COPIES).to_dict("records"),
        }
        for kind, rows in run.csv("data/copies.csv").groupby("kind", sort=False)
    ]


def _repeats(params: Params, run: Run, variants: list[str]) -> dict[str, list[float]]:
    """The validation F1 of each repeat, by variant. Variants with another number of repeats are omitted."""
    found = {
        variant: run.json(f"metrics/train/{variant}.json").get("val_f1_repeats", []) for variant in variants
    }
    return {variant: values for variant, values in found.items() if len(values) == params.train.repeats}


def _compared(params: Params, run: Run, variants: list[str], study: bool) -> dict:
    """Differences between variants over repeats, and between architectures."""
    repeats = _repeats(params, run, variants)
    differences = analysis.differences(repeats)
    ranked = "val_f1_mean" if repeats else "val_f1"
    return {
        "repeats": repeats,
        "differences": differences.to_dict("records"),
        "architectures": _architectures(run, variants, ranked, differences) if study else [],
    }


def _architectures(run: Run, variants: list[str], ranked: str, differences: pd.DataFrame) -> list[dict]:
    """The rows of `analysis.architecture_gaps` for the validation score `ranked`.

    The column `larger` is whether a gap exceeds seed noise (`differences`). Without repeats, it is whether
    the gap exceeds sampling noise.
    """
    metrics = {variant: run.json(f"metrics/train/{variant}.json") for variant in variants}
    scores = {variant: found[ranked] for variant, found in metrics.items() if ranked in found}
    images = int((run.index("val")["operations"] == "").sum())
    gaps = analysis.architecture_gaps(scores, images)
    significant = {
        frozenset((row.higher, row.lower)): row.significant == "yes" for row in differences.itertuples()
    }
    larger = [
        significant.get(frozenset(variant_name(arch, row.config) for arch in (row.first, row.second)))
        if significant
        else abs(row.gap) > row.chance
        for row in gaps.itertuples()
    ]
    pair = gaps["first"] + " " + gaps["second"]
    return gaps.assign(larger=larger, pair=pair, images=images).to_dict("records")


def _answers(params: Params, run: Run, parts: dict[str, bool]) -> dict:
    """Tables and numbers of the sections Test and Attack, from the predictions on the test set."""
    per_class = run.csv("plots/test/per_class.csv")
    classes = per_class["class"].to_list()
    test = _test(run)
    answers = {"test": test} | _attacks(run, parts)
    return {
        "classes": classes,
        "compared": parts["study"] and paper.is_stanford_cars(classes),
        "test": per_class.to_dict("records"),
        "intervals": {
            name: analysis.intervals(frame, generator(params.seed, "bootstrap", name))
            for name, frame in answers.items()
        },
        "resamples": analysis.RESAMPLES,
        "same_make": analysis.same_make(run.csv("plots/test/confusion.csv"), classes),
        "attributes": analysis.attribute_scores(test, classes).to_dict("records"),
        "unparsed": [name for name in classes if naming.parse(name) is None],
        "untyped": [name for name in classes if (car := naming.parse(name)) and car.type is None],
        "bins": BINS,
        "calibration_error": calibration_error(test.confidence, test.actual == test.predicted),
        "uncalibrated_error": _uncalibrated_error(test) if parts["limits"] else None,
    }


def _test(run: Run) -> pd.DataFrame:
    """The predictions on the test set, with the columns of `results.limits` if the model is calibrated."""
    return run.csv(LIMITS if run.has(LIMITS) else "plots/test/predictions.csv")


def _uncalibrated_error(test: pd.DataFrame) -> float:
    """The expected calibration error at temperature 1."""
    return calibration_error(test.uncalibrated, test.actual == test.predicted)


def _attacks(run: Run, parts: dict[str, bool]) -> dict[str, pd.DataFrame]:
    """The predictions on the attacked test images, for each attack that was run."""
    if not parts["attack"]:
        return {}
    found = {name: run.csv(f"plots/fgsm/{kind.file}") for name, kind in ATTACKS.items()}
    return {name: table for name, table in found.items() if len(table)}


def _all_variants(params: Params, run: Run, variants: list[str], study: bool) -> dict:
    """Scores of every variant on validation images: under attack, under corruptions, and its calibration."""
    if not study:
        return {"robustness": [], "defended": [], "corruptions": {}, "calibrated": []}
    robustness = _robustness(params, run, variants)
    defended = _defended(params, robustness)
    return {
        "robustness": robustness,
        "defended": defended,
        "corruptions": _corruptions(run, variants, defended),
        "calibrated": _calibrated(run, variants),
    }


def _robustness(params: Params, run: Run, variants: list[str]) -> list[dict]:
    """For each variant, its rows of plots/fgsm/variants.csv by the title of the attack, or "Clean"."""
    table = run.csv("plots/fgsm/variants.csv")
    inputs = {"Clean": ("fgsm", 0.0)} | {
        kind.title: (name, params.fgsm.epsilon) for name, kind in ATTACKS.items() if name in set(table.attack)
    }
    rows = []
    for variant in variants:
        mine = table[table.variant == variant].set_index(["attack", "epsilon"])
        if len(mine):
            scores = {title: mine.loc[place].to_dict() for title, place in inputs.items()}
            rows.append({"variant": variant, "scores": scores})
    return rows


def _defended(params: Params, robustness: list[dict]) -> list[dict]:
    """Pairs of rows of `robustness`: `robust` was trained on attacked images, `plain` was not."""
    rows = {row["variant"]: row for row in robustness}
    pairs = []
    for variant, row in rows.items():
        arch, _, name = variant.partition("-")
        config = params.configs.get(name)
        if config and config.adversarial:
            like = config.model_copy(update={"adversarial": None})
            plain = (f"{arch}-{other}" for other, found in params.configs.items() if found == like)
            pairs += [{"robust": row, "plain": rows[other]} for other in plain if other in rows]
    return pairs


def _corruptions(run: Run, variants: list[str], defended: list[dict]) -> dict:
    """Tables and numbers of the section on common corruptions.

    - test: the rows of Table S8.
    - variants: the accuracy of each variant on originals, under FGSM (mean over epsilons), under each
      corruption and over all corruptions.
    - of_fgsm, of_original: the rank correlation of the accuracy over all corruptions with the accuracy under
      FGSM and on originals.
    - pairs: the scores of each pair in `defended`, with the sampling noise of their difference.
    """
    test, table = run.csv("plots/corruptions/test.csv"), run.csv("plots/corruptions/variants.csv")
    scores = _by_corruption(run, table).reindex(variants).dropna(how="all")
    overall = scores.overall
    pairs = []
    for pair in defended:
        robust, plain = (scores.loc[pair[kind]["variant"]] for kind in ("robust", "plain"))
        images = pair["robust"]["scores"]["Clean"]["images"]
        chance = analysis.chance_gap(robust.overall, plain.overall, images)
        pairs.append({"robust": robust, "plain": plain, "images": images, "chance": chance})
    means = analysis.corrupted(test, "corruption")
    return {
        "test": [
            {"corruption": name, "severities": rows.accuracy.to_list(), "mean": means[name]}
            for name, rows in test.groupby("corruption", sort=False)
        ],
        "variants": scores,
        "of_fgsm": analysis.rank_correlation(overall, scores.fgsm),
        "of_original": analysis.rank_correlation(overall, scores.original),
        "pairs": pairs,
    }


def _by_corruption(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of each variant (index) in the columns original, fgsm, one per corruption, and overall."""
    attacked = run.csv("plots/fgsm/variants.csv")
    fgsm = attacked[attacked.attack == "fgsm"]
    columns = {
        "original": fgsm[fgsm.epsilon == 0].set_index("variant").accuracy,
        "fgsm": fgsm[fgsm.epsilon > 0].groupby("variant").accuracy.mean(),
    }
    for name, rows in table.groupby("corruption", sort=False):
        columns[name] = analysis.corrupted(rows, "variant")
    return pd.DataFrame(columns | {"overall": analysis.corrupted(table, "variant")})


def _calibrated(run: Run, variants: list[str]) -> list[dict]:
    """The rows of plots/calibration/variants.csv, in the order of `variants`."""
    table = run.csv("plots/calibration/variants.csv").set_index("variant", drop=False)
    return [table.loc[variant].to_dict() for variant in variants if variant in table.index]


def _by_severity(run: Run) -> pd.DataFrame:
    """Columns variant, severity and accuracy over all corruptions. Severity 0 means the originals."""
    attacked, table = run.csv("plots/fgsm/variants.csv"), run.csv("plots/corruptions/variants.csv")
    originals = attacked[(attacked.attack == "fgsm") & (attacked.epsilon == 0)].assign(severity=0)
    tables = [originals[["variant", "severity", "accuracy"]]]
    for severity, rows in table.groupby("severity"):
        accuracy = analysis.corrupted(rows, "variant").rename("accuracy").rename_axis("variant")
        tables.append(accuracy.reset_index().assign(severity=severity))
    return pd.concat(tables, ignore_index=True)


def _detected(params: Params, run: Run, parts: dict[str, bool]) -> dict[str, dict]:
    """`analysis.detection` of each attack, by its title."""
    clean = run.csv("plots/test/predictions.csv").entropy
    found = {}
    for name, table in _attacks(run, parts).items():
        if not ATTACKS[name].stops_early:
            rng = generator(params.seed, "detection", name)
            found[ATTACKS[name].title] = analysis.detection(clean, table.entropy, rng)
    return found


def _figures(run: Run, variants: list[str], parts: dict[str, bool], detected: dict) -> dict[str, dict]:
    """The key `figures`: all figures by name. Figure 5 is read from the file that `examples_png` wrote."""
    scores, test = run.csv("plots/test/per_class.csv"), _test(run)
    classes = scores["class"].to_list()
    drawn = {
        "per_class_f1": figures.per_class_f1(scores),
        "confusion": figures.confusion(run.csv("plots/test/confusion.csv"), classes),
        "reliability": figures.reliability(analysis.calibration(test)),
        "coverage": figures.coverage(analysis.coverage(test)),
    }
    if parts["training"]:
        histories = {variant: run.csv(f"plots/history/{variant}.csv") for variant in variants}
        drawn |= {
            "train_and_val_loss": figures.train_and_val(histories, "loss"),
            "train_and_val_f1": figures.train_and_val(histories, "f1"),
        }
    if parts["quality"]:
        for best in run.csv("plots/shortcuts.csv").head(1).itertuples():
            if best.score > best.bound:
                drawn["shortcut"] = figures.by_class(run.csv("plots/measures.csv"), best.measure)
    if parts["study"]:
        drawn["loss_curves"] = figures.loss_curves(histories)
        drawn["f1_curves"] = figures.f1_curves(histories)
        table = run.csv("plots/fgsm/variants.csv")
        drawn["variants_by_epsilon"] = figures.variants_by_epsilon(table[table.attack == "fgsm"])
        drawn["variants_by_severity"] = figures.variants_by_severity(_by_severity(run))
    if parts["attack"]:
        entropies = test.entropy, run.csv("plots/fgsm/predictions.csv").entropy
        drawn["entropies"] = figures.entropies(*entropies, len(classes))
        drawn["detection"] = figures.detection(detected)
        drawn["epsilon_sweep"] = figures.epsilon_sweep(run.csv("plots/fgsm/sweep.csv"))
    pngs = {name: figures.png(figure) for name, figure in drawn.items()}
    if parts["attack"]:
        pngs["fgsm_examples"] = run.bytes("plots/fgsm/examples.png")
    return {
        "figures": {
            name: {"uri": pictures.uri(data, "image/png"), "width": _css_width(data)}
            for name, data in pngs.items()
        }
    }


def _css_width(png: bytes) -> int:
    """Width of a PNG from `figures.png` in CSS pixels (96 per inch)."""
    return int.from_bytes(png[16:20], "big") * 96 // figures.DPI
