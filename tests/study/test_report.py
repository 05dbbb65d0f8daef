"""The report has the numbers, images and figures of its files."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from carcls import params
from carcls.base.seeds import generator
from carcls.data.copies import COLUMNS, SHARED
from carcls.errors import InputError
from carcls.evaluation import heatmap
from carcls.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from carcls.evaluation.shown import looked_at
from carcls.files import write_bytes, write_csv, write_json
from carcls.imageset import archive
from carcls.params import Adversarial, Config
from carcls.study import analysis, figures, paper, report
from carcls.study.run import Run

SETTINGS = params.load(ROOT / "params.yaml")
SMALL = ["AM <b>General</b>", "B$1$", "NA"]  # with a special meaning in HTML, Matplotlib and pandas
STANFORD = [
    "AM General Hummer SUV 2000",
    *(f"Car {n:03}" for n in range(194)),
    "smart fortwo Convertible 2012",
]
HISTORY = ("lr", "train_loss", "train_f1", "val_loss", "val_loss_std", "val_f1")
SCORES = ("f1", "accuracy", "top5", "entropy", "entropy_std")


def make_study(root: Path, classes: list[str], variants: list[str]) -> Path:
    """Files for the report, with random numbers, and three images with copies per class and split."""
    rng = np.random.default_rng(0)
    rows = [
        (f"{split}/{label}/{number}.jpg", label, name, split)
        for split in ("test", "train", "val")
        for label, name in enumerate(classes)
        for number in range(3)
    ]
    split = pd.DataFrame(rows, columns=["name", "label", "class", "split"])
    write_csv(root / "data/split.csv", split)
    write_csv(
        root / "data/left_out.csv",
        [{"reason": ".heic", "path": "a.heic"}, {"reason": "hidden", "path": ".b"}],
    )
    pairs = [
        (SHARED, f"train/{n}.jpg", "NA", "train", f"test/{n}.jpg", "NA", "test", True) for n in range(30)
    ]
    write_csv(root / "data/copies.csv", pd.DataFrame(pairs, columns=COLUMNS))
    for name, originals in split.groupby("split"):
        with archive.create(
            root / f"data/images/{name}.tar", ("label", "class", "source", "operations")
        ) as writer:
            for number, row in enumerate(originals.to_dict("records")):
                texts = [
                    "",
                    "rotate(degrees=-7.31)" if number % 2 else "blur(kernel=3)",
                    "gamma(exponent=1.1) blur",
                ]
                for copy, text in enumerate(texts if name != "test" else texts[:1]):
                    values = {"label": row["label"], "class": row["class"], "source": row["name"]}
                    writer.add(f"{number:04}_{copy}.jpg", jpeg(rng), **values, operations=text)
    for variant in variants:
        metrics = dict(
            zip(("val_f1", "val_loss", "train_f1", "train_loss"), rng.random(4).tolist(), strict=True)
        )
        counts = {"epoch": 2, "epochs": 3, "parameters": 11_000_000, "trainable_parameters": 5_133}
        write_json(root / f"metrics/train/{variant}.json", metrics | counts)
        columns = {name: rng.random(3) for name in HISTORY}
        frame = pd.DataFrame({"repeat": 1, "epoch": [1, 2, 3], **columns})
        write_csv(root / f"plots/history/{variant}.csv", frame)
    write_json(root / "metrics/corruptions.json", {"corruptions_accuracy": float(rng.random())})
    conditions = [(name, severity, 20) for name in CORRUPTIONS for severity in range(1, SEVERITIES + 1)]
    conditions = pd.DataFrame(conditions, columns=["corruption", "severity", "images"])
    write_csv(root / "plots/corruptions/test.csv", conditions.assign(accuracy=rng.random(len(conditions))))
    corrupted = [conditions.assign(variant=name, accuracy=rng.random(len(conditions))) for name in variants]
    write_csv(root / "plots/corruptions/variants.csv", pd.concat(corrupted))
    columns = ("temperature", "ece", "ece_scaled", "loss", "loss_scaled")
    calibrated = {"variant": variants, "images": 9} | {key: rng.random(len(variants)) for key in columns}
    write_csv(root / "plots/calibration/variants.csv", pd.DataFrame(calibrated))
    for file, names in (("test", ["test"]), ("fgsm", ["fgsm", "noise", "pgd", "apgd"])):
        values = {f"{name}_{key}": float(rng.random()) for name in names for key in SCORES}
        write_json(root / f"metrics/{file}.json", values)
    frame = pd.DataFrame(
        {"class": classes} | {key: rng.random(len(classes)) for key in ("precision", "recall", "f1")}
    )
    write_csv(root / "plots/test/per_class.csv", frame.assign(support=3))
    names = archive.read_index(root / "data/images/test.tar")["name"]
    for file in ("test/", "fgsm/", "fgsm/noise_", "fgsm/pgd_", "fgsm/apgd_"):
        write_csv(root / f"plots/{file}predictions.csv", make_answers(names, classes, rng))
    answers = pd.read_csv(root / "plots/test/predictions.csv", keep_default_na=False)
    shown = looked_at(answers, pd.read_csv(root / "plots/test/per_class.csv", keep_default_na=False))
    write_csv(root / "plots/test/heat.csv", heatmap.table(shown, rng.random((len(shown), 4, 4)), "layer3"))
    counts = answers.groupby(["actual", "predicted"]).size().rename("count").reset_index()
    write_csv(root / "plots/test/confusion.csv", counts)
    write_csv(
        root / "plots/fgsm/sweep.csv",
        pd.DataFrame({"epsilon": [0.0, 0.01]} | {key: [0.5, 0.25] for key in SCORES}),
    )
    inputs = [("fgsm", 0.0), ("fgsm", 0.01), ("noise", 0.01)]
    cells = [(variant, *place) for variant in variants for place in inputs]
    robustness = pd.DataFrame(cells, columns=["variant", "attack", "epsilon"])
    scores = {key: rng.random(len(cells)) for key in SCORES}
    write_csv(root / "plots/fgsm/variants.csv", robustness.assign(images=20, **scores))
    write_bytes(root / "plots/fgsm/examples.png", figures.png(figures.Figure(figsize=(1, 1))))
    return root


def make_answers(names: pd.Series, classes: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """All correct, except that two images of the first class are classified as the third class."""
    actual = np.repeat(np.array(classes, dtype=object), 3)
    predicted = actual.copy()
    predicted[1:3] = classes[2]
    sureness = {"confidence": rng.random(len(names)), "entropy": rng.random(len(names))}
    return pd.DataFrame({"name": names, "actual": actual, "predicted": predicted, **sureness})


def jpeg(rng: np.random.Generator) -> bytes:
    return cv2.imencode(".jpg", rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return make_study(tmp_path_factory.mktemp("small"), SMALL, list(paper.VARIANTS))


@pytest.fixture(scope="module")
def page(small) -> str:
    return report.render(SETTINGS, small)


@pytest.fixture(scope="module")
def stanford_page(tmp_path_factory) -> str:
    data = SETTINGS.data.model_copy(update={"source": "folder", "folder": "/home/me/cars"})
    root = make_study(tmp_path_factory.mktemp("stanford"), STANFORD, list(paper.VARIANTS))
    return report.render(SETTINGS.model_copy(update={"data": data}), root)


class References(HTMLParser):
    """All tags of a page, and all addresses that a browser would load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.found, self.images = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        attributes = dict(attributes)
        self.found += [attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes]
        self.found += re.findall(r"url\(([^)]*)", attributes.get("style", ""))
        if tag == "img":
            self.images.append(attributes)


def numbers(page: str) -> list[tuple[str, str, str, str]]:
    """(file, key, exact value, text) of each number that comes from a file."""
    return re.findall(r'<data value="([^"]*)" title="([^":]+):(\w+) = \1">([^<]*)</data>', page)


def table(page: str, name: str) -> str:
    return next(part for part in re.findall(r"<table.*?</table>", page, re.S) if f"<b>{name}.</b>" in part)


def widths(table: str) -> set[int]:
    """The numbers of columns of the rows of a table."""
    found, spanned = [], Counter()  # spanned: columns of each row that are filled by cells of earlier rows
    for place, row in enumerate(re.findall(r"<tr.*?</tr>", table, re.S)):
        for attributes in re.findall(r"<t[hd]\b([^>]*)>", row):
            spans = dict(re.findall(r'(\w+)span="(\d+)"', attributes))
            columns, rows = int(spans.get("col", 1)), int(spans.get("row", 1))
            spanned.update({place + later: columns for later in range(rows)})
        found.append(spanned[place])
    return set(found)


@pytest.mark.parametrize("report_of", ["page", "repeated", "stanford_page"])
def test_all_rows_of_a_table_have_the_same_number_of_columns(report_of, request):
    text = request.getfixturevalue(report_of)
    page = text if isinstance(text, str) else text[0]
    tables = re.findall(r"<table.*?</table>", page, re.S)
    assert len(tables) >= 8
    for part in tables:
        assert len(widths(part)) == 1, part[:300]


def test_learning_rates_of_backbone_and_classifier_are_shown(page):
    assert "learning rate 0.0001 (0.002 for the classifier), weight decay 0.01" in page


def test_report_shows_all_scores_with_their_exact_values(page, small):
    shown = {}
    for exact, path, key, text in numbers(page):
        shown.setdefault((path, key), []).append(exact)
        if path.endswith(".json"):
            value = json.loads((small / path).read_text())[key]
            assert float(exact) == value
            assert float(text.replace(",", "")) == pytest.approx(value, abs=0.5001e-4)
    assert page.count("<data ") == sum(map(len, shown.values()))
    variants = list(paper.VARIANTS)
    keys = ("train_loss", "train_f1", "val_loss", "val_f1", "epoch", "epochs", "trainable_parameters")
    wanted = {(f"metrics/train/{variant}.json", key) for variant in variants for key in keys}
    wanted |= {(f"metrics/{name}.json", f"{name}_{key}") for name in ("test", "fgsm") for key in SCORES}
    assert wanted <= set(shown)
    per_class = pd.read_csv(small / "plots/test/per_class.csv", dtype=str)
    for key in ("precision", "recall", "f1"):
        assert [float(exact) for exact in shown["plots/test/per_class.csv", key]] == per_class[key].map(
            float
        ).to_list()


@pytest.mark.parametrize("kind", ["Table", "Figure"])
def test_tables_and_figures_beyond_the_paper_are_numbered_in_order(page, stanford_page, kind):
    for text in (page, stanford_page):
        numbers = [int(number) for number in re.findall(rf"<b>{kind} S(\d+)\.", text)]
        assert len(numbers) > 4 and numbers == sorted(set(numbers))


def test_variants_are_in_the_order_of_the_paper_and_the_tested_one_is_marked(page):
    rows = re.findall(r'<th scope="row">(ResNet-\d+ \w+( ★)?)</th>', table(page, "Table 2"))
    expected = [
        variant.replace("resnet", "ResNet-").replace("-", " ").replace("ResNet ", "ResNet-")
        for variant in paper.VARIANTS
    ]
    assert [name.removesuffix(" ★") for name, _ in rows] == expected
    assert [name for name, mark in rows if mark] == ["ResNet-34 pretrained ★"]


def cells(page: str, name: str) -> dict[str, list[str]]:
    """The cells of each row of a table, by the heading of the row."""
    rows = re.findall(r'<th scope="row">([^<]*?)(?: ★)?</th>(.*?)</tr>', table(page, name))
    return {heading: re.findall(r"<td[^>]*>([^<]*)", row) for heading, row in rows}


def test_corruption_tables_show_accuracy_by_severity_and_by_variant(page, small):
    test, every = (pd.read_csv(small / f"plots/corruptions/{name}.csv") for name in ("test", "variants"))
    rows = cells(page, "Table S8")
    assert list(rows) == ["Noise", "Blur", "Brightness", "Contrast", "JPEG", "Pixelation", "Rotation"]
    blur = test[test.corruption == "blur"].accuracy
    assert rows["Blur"] == [f"{value:.3f}" for value in (*blur, blur.mean())]
    fgsm = pd.read_csv(small / "plots/fgsm/variants.csv")
    mine = fgsm[(fgsm.variant == "resnet18-freeze6") & (fgsm.attack == "fgsm")].set_index("epsilon").accuracy
    means = every[every.variant == "resnet18-freeze6"].groupby("corruption", sort=False).accuracy.mean()
    expected = [f"{value:.3f}" for value in (mine[0.0], mine[0.01], *means, means.mean())]
    assert cells(page, "Table S9")["ResNet-18 freeze6"] == expected


def test_calibration_of_every_variant_is_shown(page, small):
    rows = cells(page, "Table S6")
    table = pd.read_csv(small / "plots/calibration/variants.csv").set_index("variant")
    row = table.loc["resnet34-scratch", ["temperature", "ece", "ece_scaled", "loss", "loss_scaled"]]
    assert rows["ResNet-34 scratch"] == [f"{row.iloc[0]:.2f}", *(f"{value:.3f}" for value in row.iloc[1:])]
    assert len(rows) == 8


def test_report_compares_robustness_to_fgsm_and_to_corruptions(tmp_path, page):
    question = r"<p>Does robustness to FGSM help against corruptions\? .*</p>"
    [text] = re.findall(question, page)
    assert "Over the 8 variants" in text and "No variant was trained on attacked images." in text
    adversarial = Config(pretrained=True, frozen_layers=0, adversarial=Adversarial(epsilon=0.01, steps=1))
    settings = SETTINGS.model_copy(update={"configs": SETTINGS.configs | {"robust": adversarial}})
    settings = settings.model_copy(update={"model": SETTINGS.model.model_copy(update={"config": "robust"})})
    root = make_study(tmp_path, SMALL, [*paper.VARIANTS, "resnet18-robust", "resnet34-robust"])
    path = root / "plots/corruptions/variants.csv"
    table = pd.read_csv(path)
    answers = (
        (0.9, "also helps against corruptions"),
        (0.1, "lowers accuracy"),
        (0.5, "within sampling noise"),
    )
    for robust, answer in answers:
        table["accuracy"] = table.variant.map({"resnet34-robust": robust}).fillna(0.5)
        write_csv(path, table)
        [text] = re.findall(question, report.render(settings, root))
        assert f"under corruptions {robust:.3f} (0.500). " in text and answer in text


def test_report_compares_adversarial_with_plain_training(tmp_path):
    configs = SETTINGS.configs | {
        "robust": Config(pretrained=True, frozen_layers=0, adversarial=Adversarial(epsilon=0.01, steps=1))
    }
    root = make_study(tmp_path, SMALL, [*paper.VARIANTS, "resnet18-robust", "resnet34-robust"])
    model = SETTINGS.model.model_copy(update={"config": "robust"})
    page = report.render(SETTINGS.model_copy(update={"configs": configs, "model": model}), root)
    names = re.findall(r'<th scope="row">(ResNet-\d+ \w+)', table(page, "Table 2"))
    assert names[8:] == ["ResNet-18 robust", "ResNet-34 robust"]
    [text] = re.findall(r"<p>ResNet-34 robust was trained on attacked images.*</p>", page)
    rows = pd.read_csv(root / "plots/fgsm/variants.csv").set_index(["variant", "attack", "epsilon"])
    for variant in ("resnet34-robust", "resnet34-pretrained"):
        for epsilon in (0.0, 0.01):
            assert f"{rows.f1[variant, 'fgsm', epsilon]:.3f}" in text
    assert "trained on images attacked in 1 step at ε = 0.01" in page


def test_report_without_repeats_has_no_significance_table(page):
    assert "Each variant was trained once." in page and "dvc exp run -S train.repeats=3" in page
    assert "Table S3" not in page
    [sentence] = re.findall(r"<p>ResNet-34 minus ResNet-18 in validation F1: .*</p>", page)
    assert len(re.findall(r"[+−]?0\.\d{3} \(\w+\)", sentence)) == 4 and "in 95 % of draws" in sentence


@pytest.fixture(scope="module")
def repeated(tmp_path_factory) -> tuple[str, dict[str, list[float]]]:
    """The report of a study with three repeats, and their scores. One variant is from an earlier study."""
    root = make_study(tmp_path_factory.mktemp("repeated"), SMALL, [*paper.VARIANTS, "resnet50-freeze4"])
    means = dict(zip(paper.VARIANTS, (0.3, 0.84, 0.83, 0.7, 0.25, 0.8, 0.75, 0.7), strict=True))
    luck = {"scratch": (0.0, 0.01, 0.02), "pretrained": (0.02, 0.0, 0.01), "freeze6": (0.01, 0.03, 0.0)}
    scores = {
        variant: [mean + each for each in luck.get(variant.partition("-")[2], (0, 0.01, 0.01))]
        for variant, mean in means.items()
    }
    for variant, values in scores.items():
        path = root / f"metrics/train/{variant}.json"
        spread = {"val_f1_mean": float(np.mean(values)), "val_f1_std": float(np.std(values, ddof=1))}
        write_json(path, json.loads(path.read_text()) | spread | {"val_f1_repeats": values})
    train = SETTINGS.train.model_copy(update={"repeats": 3})
    return report.render(SETTINGS.model_copy(update={"train": train}), root), scores


def test_table_2_shows_mean_and_standard_deviation_over_repeats(repeated):
    page, scores = repeated
    second = table(page, "Table 2")
    for variant, values in scores.items():
        name = variant.replace("resnet", "ResNet-").replace("-", " ").replace("ResNet ", "ResNet-")
        [row] = re.findall(rf'<th scope="row">{name}(?: ★)?</th>.*?</tr>', second, re.S)
        shown = re.sub(r"<[^>]*>", "", row)
        assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in shown
    assert len(re.findall("±", second)) == len(scores) + 1  # and in the caption
    [best] = re.findall(r'<td class="best">(.*?)</td>', second)
    assert "resnet18-pretrained.json:val_f1_mean" in best
    assert "ResNet-18 (pretrained) has the highest" in page and "(mean of 3 trainings)" in page


def test_table_s3_shows_the_difference_of_each_pair_and_its_significance(repeated):
    page, scores = repeated
    rows = re.findall(r"<tr.*?</tr>", table(page, "Table S3").partition("<tbody>")[2], re.S)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    assert len(cells) == 6 + 6 + 4
    significant = {(higher, lower): answer for higher, lower, *_, answer in cells}
    assert significant["ResNet-18 pretrained", "ResNet-18 scratch"] == "yes"
    assert significant["ResNet-18 pretrained", "ResNet-18 freeze6"] == "no"
    assert "With 16 pairs" in page and "Each variant was trained once" not in page
    gaps = np.subtract(scores["resnet18-pretrained"], scores["resnet18-scratch"])
    [row] = [row for row in cells if row[:2] == ["ResNet-18 pretrained", "ResNet-18 scratch"]]
    assert row[2] == f"{gaps.mean():+.3f}"
    [sentence] = re.findall(r"<p>ResNet-34 minus ResNet-18 in validation F1: .*</p>", page)
    gap = np.mean(scores["resnet34-freeze6"]) - np.mean(scores["resnet18-freeze6"])
    assert f"{gap:+.3f} (freeze6)".replace("-", "−") in sentence and "seed noise (Table S3)" in sentence


def test_rendering_is_deterministic(page, small):
    assert report.render(SETTINGS, small) == page


def test_report_loads_no_other_file(page, stanford_page):
    for text in (page, stanford_page):
        references = References(text)
        assert not references.tags & {"script", "link", "iframe", "object", "embed", "base"}
        assert references.found and all(found.startswith(("data:image/", "#")) for found in references.found)
        style = re.search(r"<style>(.*)</style>", text, re.S)[1]
        assert "url(" not in style and "@import" not in style
        assert all(image["alt"] for image in references.images)


def test_demo_banner_is_shown_only_for_the_demo(page, stanford_page):
    assert "cars drawn by the project, not photographs" in page
    assert "drawn by the project" not in stanford_page


def test_values_of_the_paper_are_shown_only_for_its_196_classes(page, stanford_page):
    assert not re.search(r'class="(paper|difference)"', page)
    second = table(stanford_page, "Table 2")
    [row] = re.findall(r'<th scope="row">ResNet-18 freeze8</th>.*?</tr>', second, re.S)
    assert re.findall(r'class="paper">([^<]*)', row) == ["1.539847", "0.75", "2.84", "0.355"]
    ours = [float(value) for value in re.findall(r'<data value="([^"]*)"', row)[:4]]
    differences = [text.replace("−", "-") for text in re.findall(r'class="difference">([^<]*)', row)]
    for text, value, theirs in zip(
        differences, ours, paper.VARIANTS["resnet18-freeze8"].values(), strict=True
    ):
        decimals = len(text.partition(".")[2])
        assert float(text) == pytest.approx(value - theirs, abs=0.51 * 10**-decimals)
    third = re.findall(r'<td class="paper">([^<]*)', table(stanford_page, "Table 3"))
    assert third == ["0.9021", "0.9024", "1.4531 ± 0.8601", "0.1346", "0.1315", "2.6242 ± 0.8007"]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (STANFORD, True),
        ([name.upper() for name in STANFORD], True),
        (STANFORD[:-1], False),
        ([*STANFORD[1:], "Another"], False),
        (STANFORD[:11] + STANFORD[-1:], False),
    ],
)
def test_stanford_cars_is_recognised_by_number_and_names_of_classes(classes, expected):
    assert paper.is_stanford_cars(classes) is expected


def test_table_s1_counts_images_before_and_after_augmentation(page):
    cells = re.findall(r"<tr><th scope=.row.>(\w+)</th>(.*?)</tr>", table(page, "Table S1"))
    counts = {name: re.findall(r"<td>([^<]*)</td>", row) for name, row in cells}
    assert counts == {
        "Training": ["9", "3", "27", "9"],
        "Validation": ["9", "3", "27", "9"],
        "Test": ["9", "3", "9", "3"],
    }


def test_report_lists_skipped_files_and_duplicates(page):
    assert "Skipped files: 1 .heic" in page and "1 hidden." in page
    assert "30 duplicates in two splits; 30 removed from training" in page
    assert (
        "train/23.jpg" in page
        and "train/24.jpg" not in page
        and "The first 24 rows of data/copies.csv" in page
    )


def test_sample_images_have_the_bytes_of_the_archive(page, small):
    tar = small / "data/images/train.tar"
    index = archive.read_index(tar).set_index("name")
    with archive.ArchiveReader(tar) as reader:
        encoded = {
            name: base64.b64encode(reader.read(row.offset, row["size"])).decode()
            for name, row in index.iterrows()
        }
    names = {data: name for name, data in encoded.items()}
    images = References(figure(page, "Figure 2a") + figure(page, "Figure 2b")).images
    shown = [(names[image["src"].partition(",")[2]], image["alt"]) for image in images]
    assert [name for name, _ in shown[:3]] == ["0000_0.jpg", "0003_0.jpg", "0006_0.jpg"]
    for (original, _), (copy, alt) in zip(shown[3::2], shown[4::2], strict=True):
        assert index.loc[original, "operations"] == ""
        assert index.loc[original, "source"] == index.loc[copy, "source"]
        assert index.loc[copy, "operations"].partition("(")[0] == alt.rpartition(" ")[2]
    assert [alt.rpartition(" ")[2] for _, alt in shown[4::2]] == ["blur", "rotate"]


def test_class_names_are_escaped(page):
    assert "AM &lt;b&gt;General&lt;/b&gt;" in page and "AM <b>" not in page
    assert '<th scope="row">NA</th>' in page


def figure(page: str, name: str) -> str:
    return next(part for part in re.findall(r"<figure.*?</figure>", page, re.S) if f"<b>{name}.</b>" in part)


def test_most_confused_pair_is_shown_with_an_image_of_each_class(page):
    part = figure(page, "Figure S6")
    assert [image["alt"] for image in References(part).images] == [
        "Training image of the class AM <b>General</b>",
        "Training image of the class NA",
    ]
    assert "Left classified as right: 2 of 3. Right classified as left: 0 of 3." in part


def test_worst_classes_are_shown_with_their_misclassified_images(page, small):
    part = figure(page, "Figure S3")
    scores = pd.read_csv(small / "plots/test/per_class.csv", keep_default_na=False).sort_values("f1")
    shown = re.findall(r"F1 ([\d.]+), precision ([\d.]+), recall ([\d.]+)", part)
    expected = scores[["f1", "precision", "recall"]]
    assert shown == [tuple(f"{value:.3f}" for value in row) for row in expected.itertuples(index=False)]
    answers = pd.read_csv(small / "plots/test/predictions.csv", keep_default_na=False)
    wrong = answers[answers.actual != answers.predicted].sort_values("confidence", ascending=False)
    sure = re.findall(r"predicted: <b>NA</b>, ([\d.]+)", part)
    assert sure == [f"{value:.2f}" for value in wrong.confidence]
    with archive.ArchiveReader(small / "data/images/test.tar") as reader:
        index = archive.read_index(reader.path).set_index("name")
        for name in wrong["name"]:
            data = reader.read(index.offset[name], index["size"][name])
            assert base64.b64encode(data).decode() in part


def test_table_3_shows_intervals_of_f1_and_accuracy(page, small):
    answers = pd.read_csv(small / "plots/test/predictions.csv", keep_default_na=False)
    bounds = analysis.intervals(answers, generator(SETTINGS.seed, "bootstrap", "test"))
    [row] = re.findall(r'<th scope="row">Original images</th>.*?</tr>', table(page, "Table 3"), re.S)
    texts = ["{:.3f}–{:.3f}".format(*bounds[name]) for name in ("f1", "accuracy")]
    assert re.findall(r'class="interval">([^<]*)', row) == texts


def test_make_type_and_year_are_scored_if_class_names_contain_them(page, stanford_page):
    assert "No class has a name like “Make Model Type Year”" in page
    rows = re.findall(r"<tr><th scope=.row.>(\w+)</th>(.*?)</tr>", table(stanford_page, "Table S5"))
    assert {name: re.findall(r"<td>([^<]*)", row) for name, row in rows} == {
        "Make": ["2", "2", "6", "0.7500", "0.6667"],
        "Type": ["2", "2", "6", "0.7500", "0.6667"],
        "Year": ["2", "2", "6", "0.7500", "0.6667"],
    }
    assert "194 of the 196 names are not of the form" in stanford_page


FRAMES = {  # the data of each figure
    "loss_curves": "history",
    "f1_curves": "history",
    "train_and_val": "history",
    "per_class_f1": "plots/test/per_class.csv",
    "confusion": "plots/test/confusion.csv",
    "epsilon_sweep": "plots/fgsm/sweep.csv",
    "reliability": "calibration",
    "entropies": "plots/test/predictions.csv",
}


@pytest.fixture(scope="module")
def drawn(small) -> dict[str, list[tuple]]:
    """The arguments of each call that draws a figure of the report."""
    calls: dict[str, list[tuple]] = {name: [] for name in FRAMES}

    def recording(name: str, draw: Callable) -> Callable:
        return lambda *data: calls[name].append(data) or draw(*data)

    with pytest.MonkeyPatch.context() as patch:
        for name in FRAMES:
            patch.setattr(figures, name, recording(name, getattr(figures, name)))
        report.render(SETTINGS, small)
    return calls


@pytest.mark.parametrize("name", FRAMES)
def test_figures_are_drawn_from_their_csv_files(small, drawn, name):
    for data in drawn[name]:
        if FRAMES[name] == "history":
            for variant, frame in data[0].items():
                expected = pd.read_csv(small / f"plots/history/{variant}.csv")
                pd.testing.assert_frame_equal(frame, expected)
        elif FRAMES[name] == "calibration":
            answers = pd.read_csv(small / "plots/test/predictions.csv", keep_default_na=False)
            pd.testing.assert_frame_equal(data[0], analysis.calibration(answers))
        elif name == "entropies":
            for series, stage in zip(data[:2], ("test", "fgsm"), strict=True):
                path = small / f"plots/{stage}/predictions.csv"
                assert series.to_list() == pytest.approx(pd.read_csv(path).entropy.to_list())
        else:
            expected = pd.read_csv(small / FRAMES[name], keep_default_na=False)
            pd.testing.assert_frame_equal(data[0], expected)
    assert len(drawn[name]) == (2 if name == "train_and_val" else 1)


def test_figure_5_is_the_image_of_the_fgsm_stage(page, small):
    data = base64.b64encode((small / "plots/fgsm/examples.png").read_bytes()).decode()
    assert data in figure(page, "Figure 5")


@pytest.mark.parametrize(
    "path",
    [
        "data/split.csv",
        "data/copies.csv",
        "data/left_out.csv",
        "data/images/train.csv",
        "metrics/train/resnet34-pretrained.json",
        "plots/test/per_class.csv",
        "metrics/test.json",
        "metrics/fgsm.json",
        "metrics/corruptions.json",
        "plots/corruptions/test.csv",
        "plots/calibration/variants.csv",
        "plots/test/predictions.csv",
        "plots/fgsm/predictions.csv",
        "plots/fgsm/examples.png",
    ],
)
def test_missing_file_is_reported_before_figures_are_drawn(small, tmp_path, monkeypatch, path):
    monkeypatch.setattr(figures, "png", lambda _: pytest.fail("a figure was drawn"))
    for source in small.rglob("*"):
        if source.is_file() and source != small / path:
            target = tmp_path / source.relative_to(small)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    with pytest.raises(InputError, match=rf"{re.escape(path)} is missing"):
        report.render(SETTINGS, tmp_path)


def test_missing_score_is_reported_with_its_file(small):
    with pytest.raises(InputError, match="metrics/test.json has no test_top1"):
        Run(small).value("metrics/test.json", "test_top1")


@pytest.mark.parametrize(
    ("changes", "weights", "expected"),
    [
        ({}, "demo", "Pretrained on other drawn classes"),
        ({}, "imagenet", "Pretrained on ImageNet"),
        ({}, "backbones/mine.pth", "Pretrained (mine.pth)"),
        ({"pretrained": False}, "demo", "Not pretrained"),
        (
            {"frozen_layers": 2},
            "imagenet",
            "Pretrained on ImageNet, first 2 layers frozen (conv1, bn1)",
        ),
        (
            {"adversarial": Adversarial(epsilon=0.02, steps=3)},
            "demo",
            "Pretrained on other drawn classes, trained on images attacked in 3 steps at ε = 0.02",
        ),
    ],
)
def test_table_1_describes_configurations(changes, weights, expected):
    config = Config(pretrained=True, frozen_layers=0).model_copy(update=changes)
    assert report._describe(config, weights) == expected


def test_source_of_the_images_is_described():
    def source(**changes) -> str:
        return report._source(SETTINGS.model_copy(update={"data": SETTINGS.data.model_copy(update=changes)}))

    assert source(source="folder", folder="/home/me/cars") == "Images of the folder “cars”"
    assert source(source="kaggle") == f"Kaggle data set {SETTINGS.data.kaggle.dataset}"


def test_numbers_and_lists_are_formatted():
    assert [report._signed(value, 2) for value in (0.126, -0.126, 0.001, -0.001)] == ["+0.13", "−0.13"] + [
        "0.00"
    ] * 2
    assert [report._listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [report._span(pd.Series(values)) for values in ([3, 3], [1000, 9])] == ["3", "9–1,000"]
    assert report._exact(1234, "f:k") == '<data value="1234" title="f:k = 1234">1,234</data>'
    assert report._exact(0.12345, "f:k", 3) == '<data value="0.12345" title="f:k = 0.12345">0.123</data>'


def test_architecture_gap_is_compared_with_sampling_noise_or_seed_noise(small):
    run, variants = Run(small), ["resnet18-scratch", "resnet34-scratch"]
    scores = {name: run.json(f"metrics/train/{name}.json")["val_f1"] for name in variants}
    none = analysis.differences({})
    [row] = report._architectures(run, variants, "val_f1", none)
    assert (row["pair"], row["images"]) == ("resnet18 resnet34", 9)
    assert row["gap"] == scores[variants[1]] - scores[variants[0]]
    assert row["larger"] == (abs(row["gap"]) > row["chance"])
    for gap, expected in ((0.1, True), (0.0, False)):
        repeats = {variants[0]: [0.5, 0.51, 0.49], variants[1]: [0.5 + gap, 0.51 + gap, 0.49 + gap + 0.001]}
        [row] = report._architectures(run, variants, "val_f1", analysis.differences(repeats))
        assert row["larger"] == expected


def test_detection_excludes_attacks_that_stop_early(small, page):
    parts = {"study": True, "training": True, "validation": True, "attack": True, "doubts": False}
    found = report._detected(SETTINGS, Run(small), parts)
    assert list(found) == ["Noise", "FGSM", "PGD"]
    clean, attacked = (
        pd.read_csv(small / f"plots/{part}predictions.csv").entropy for part in ("test/", "fgsm/")
    )
    rng = generator(SETTINGS.seed, "detection", "fgsm")
    assert found["FGSM"]["auc"] == analysis.detection(clean, attacked, rng)["auc"]
    assert report._detected(SETTINGS, Run(small), parts | {"attack": False}) == {}


def test_report_of_one_model_has_the_sections_of_its_files(tmp_path):
    root = make_study(tmp_path, SMALL, [SETTINGS.variant])

    def sections() -> list[str]:
        page = report.render(SETTINGS, root, "mine")
        assert "Report of mine" in page and "Figure 4." not in page and "Table S7" not in page
        assert ("Training image of the class" in page) == ('id="training"' in page)
        listed = "For 25 of the 18 training and validation photographs" in page and "The 24 most" in page
        assert listed == ('id="doubts"' in page)
        return re.findall(r'<h2 id="(\w+)"', page)

    assert sections() == ["run", "data", "training", "test", "attack"]
    doubt = {"split": "train", "name": "0000_0.jpg", "photograph": "a/1.jpg", "class": "NA"}
    write_csv(root / "plots/doubts.csv", [doubt | {"answer": "B$1$", "given": 0.01, "doubt": 0.99}] * 25)
    assert sections() == ["run", "data", "training", "test", "attack", "doubts"]
    (root / "plots/doubts.csv").unlink()
    (root / "metrics/fgsm.json").unlink()
    assert sections() == ["run", "data", "training", "test"]
    (root / f"metrics/train/{SETTINGS.variant}.json").unlink()
    for split in ("train", "val"):
        (root / f"data/images/{split}.tar").unlink()
    assert sections() == ["run", "data", "test"]


def test_class_without_test_images_has_count_zero(tmp_path):
    root = make_study(tmp_path, SMALL, ["resnet18-scratch"])
    rows = pd.read_csv(root / "data/split.csv", keep_default_na=False)
    write_csv(root / "data/split.csv", rows[(rows["class"] != "NA") | (rows["split"] != "test")])
    counts = report._data(Run(root), None)
    assert [str(count) for count in counts.loc["NA"]] == ["3", "9", "3", "9", "0", "3"]
    assert list(counts.index) == SMALL
