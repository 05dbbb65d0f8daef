"""The lines, bars and texts of each figure match its data."""

import io
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from carcls.study import figures, fonts
from carcls.study.wording import arch_name

VARIANTS = [f"{arch}-{config}" for arch in ("resnet18", "resnet34") for config in figures.CONFIGS]


def history(seed: int, epochs: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {
        "val_loss": 2 + rng.random(epochs),
        "val_loss_std": rng.random(epochs),
        "val_f1": rng.random(epochs),
        "train_loss": rng.random(epochs),
        "train_f1": rng.random(epochs),
    }
    return pd.DataFrame({"repeat": 1, "epoch": range(1, epochs + 1), **columns})


@pytest.fixture
def histories() -> dict[str, pd.DataFrame]:
    names = [*VARIANTS, "resnet50-freeze4"]
    return {name: history(seed, epochs=3 + seed) for seed, name in enumerate(names)}


def curves(figure) -> dict[str, tuple]:
    return {line.get_label(): (line, axes) for axes in figure.axes for line in axes.get_lines()}


@pytest.mark.parametrize(
    ("draw", "column"), [(figures.loss_curves, "val_loss"), (figures.f1_curves, "val_f1")]
)
def test_curves_of_variants_are_in_the_panel_of_their_architecture(histories, draw, column):
    drawn = curves(draw(histories))
    assert list(drawn) == list(histories)
    for variant, (line, axes) in drawn.items():
        assert line.get_xdata().tolist() == histories[variant].epoch.to_list()
        assert line.get_ydata().tolist() == histories[variant][column].to_list()
        low, high = axes.get_ylim()
        assert low <= min(line.get_ydata()) <= max(line.get_ydata()) <= high
        assert axes.get_title() == variant.partition("-")[0].replace("resnet", "ResNet-")
        left = axes.get_title() != "ResNet-34"  # the second of two columns
        assert axes.yaxis.get_tick_params()["labelleft"] == bool(axes.get_ylabel()) == left
        assert axes.xaxis.get_tick_params()["labelbottom"] and axes.get_xlabel() == "Epoch"
    assert (
        len({(axes.get_xlim(), axes.get_ylim()) for _, axes in drawn.values()}) == 1
    )  # so that they are comparable


def test_configuration_has_the_same_colour_and_marker_in_every_panel(histories):
    looks = {}
    for variant, (line, _) in curves(figures.f1_curves(histories)).items():
        looks.setdefault(variant.partition("-")[2], set()).add((line.get_color(), line.get_marker()))
    assert all(len(look) == 1 for look in looks.values())
    assert len(set.union(*looks.values())) == len(looks) == 5


@pytest.mark.parametrize(
    "draw", [figures.f1_curves, lambda histories: figures.train_and_val(histories, "f1")]
)
def test_curves_show_at_most_most_configs_configurations_with_a_note(draw):
    figure = draw({f"resnet18-c{number:03}": history(number) for number in range(100)})
    [legend] = figure.legends
    assert legend.get_title().get_text() == f"The first {figures.MOST_CONFIGS} of 100 configurations"
    assert max(figure.get_size_inches()) * figures.DPI < 8000
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_label() != "val"]
    assert len(lines) == figures.MOST_CONFIGS
    if draw is figures.f1_curves:
        assert len({(line.get_color(), line.get_marker()) for line in lines}) == figures.MOST_CONFIGS


def test_loss_band_is_plus_minus_one_standard_deviation(histories):
    figure = figures.loss_curves({"resnet18-scratch": histories["resnet18-scratch"]})
    frame = histories["resnet18-scratch"]
    [band] = figure.axes[0].collections
    ends = [(heights.min(), heights.max()) for _, heights in by_x(band)]
    assert ends == list(
        zip(frame.val_loss - frame.val_loss_std, frame.val_loss + frame.val_loss_std, strict=True)
    )


def by_x(band):
    """The heights of the corners of a band, by x."""
    corners = band.get_paths()[0].vertices
    return [(x, corners[corners[:, 0] == x][:, 1]) for x in np.unique(corners[:, 0])]


@pytest.mark.parametrize(
    ("draw", "column"), [(figures.loss_curves, "val_loss"), (figures.f1_curves, "val_f1")]
)
def test_further_repeats_are_thin_lines(draw, column):
    repeats = [history(seed, epochs).assign(repeat=seed) for seed, epochs in ((1, 5), (2, 3), (3, 4))]
    axes = draw({"resnet18-scratch": pd.concat(repeats)}).axes[0]
    lines = axes.get_lines()
    for line, frame in zip(lines, repeats, strict=True):
        assert line.get_xdata().tolist() == frame.epoch.to_list()
        assert line.get_ydata().tolist() == frame[column].to_list()
    first, *others = [line.get_linewidth() for line in lines]
    assert max(others) < first
    assert len({line.get_color() for line in lines}) == 1
    assert len(axes.collections) == (column == "val_loss")


def test_train_and_val_shows_only_the_first_repeat():
    repeats = [history(seed).assign(repeat=seed) for seed in (1, 2)]
    figure = figures.train_and_val({"resnet18-scratch": pd.concat(repeats)}, "f1")
    train, val = figure.axes[0].get_lines()
    assert train.get_ydata().tolist() == repeats[0].train_f1.to_list()
    assert val.get_ydata().tolist() == repeats[0].val_f1.to_list()


@pytest.mark.parametrize("count", [12, 196])
def test_per_class_f1_is_sorted_from_best_to_worst(count):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"class": [f"Class {place}" for place in range(count)], "f1": rng.random(count)})
    figure = figures.per_class_f1(frame)
    bars = [bar.get_width() for axes in figure.axes for bar in axes.patches]
    names = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert bars == sorted(frame.f1, reverse=True)
    labels = figure.axes[0].get_yticklabels()
    assert (
        figure.get_figheight() * 72 > len(labels) * labels[0].get_fontsize()
    )  # in points; labels do not overlap
    assert names == frame.sort_values("f1", ascending=False)["class"].to_list()


def test_per_class_f1_of_many_classes_shows_best_and_worst_with_a_title(rng):
    frame = pd.DataFrame({"class": [f"Class {place}" for place in range(9170)], "f1": rng.random(9170)})
    figure = figures.per_class_f1(frame)
    bars = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    ranked = sorted(frame.f1, reverse=True)
    assert bars == [ranked[:100], ranked[-100:]]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["The 100 best of 9,170 classes", "The 100 worst of 9,170 classes"]
    assert all(f"{frame.f1.mean():.4f}" in axes.get_xlabel() for axes in figure.axes)
    assert max(figure.get_size_inches()) * figures.DPI < 3000


def test_confusion_of_many_classes_shows_the_most_confused_with_a_title():
    classes = [f"Class {place:04}" for place in range(9170)]
    frame = pd.DataFrame({"actual": classes, "predicted": classes, "count": 50})
    frame.loc[100:199, ["predicted", "count"]] = [[name, 1] for name in classes[300:400]]
    frame.loc[[9000, 700], "predicted"] = classes[5], classes[9000]
    frame.loc[[9000, 700], "count"] = 9, 8
    figure = figures.confusion(frame, classes)
    [axes, _] = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert {classes[5], classes[700], classes[9000]} <= set(names) and names == sorted(names)
    matrix = axes.images[0].get_array()
    assert matrix.shape == (figures.MOST_CONFUSED, figures.MOST_CONFUSED) == (len(names), len(names))
    assert matrix[names.index(classes[9000]), names.index(classes[5])] == 9
    assert matrix[names.index(classes[700]), names.index(classes[9000])] == 8
    assert figure.get_suptitle() == "The 24 most confused of 9,170 classes"


@pytest.mark.parametrize("count", [3, 196])
def test_confusion_has_actual_classes_as_rows(count):
    classes = [f"Class {place}" for place in range(count)]
    frame = pd.DataFrame(
        {"actual": classes[:3], "predicted": [*classes[1:3], classes[0]], "count": [7, 2, 40]}
    )
    axes = figures.confusion(frame, classes).axes[0]
    drawn = axes.images[0].get_array()
    assert drawn.shape == (count, count)
    assert (drawn[0, 1], drawn[1, 2], drawn[2, 0], drawn.sum()) == (7, 2, 40, 49)
    texts = {text.get_position(): text.get_text() for text in axes.texts}  # (column, row)
    assert texts == ({(1, 0): "7", (2, 1): "2", (0, 2): "40"} if count == 3 else {})
    assert not any(line.get_visible() for line in [*axes.get_xgridlines(), *axes.get_ygridlines()])
    for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        assert label.get_text() == classes[place]


@pytest.mark.parametrize("epsilons", [[0.02, 0.0, 0.005], [0.0]])
def test_epsilon_sweep_is_sorted_by_epsilon(epsilons):
    frame = pd.DataFrame({"epsilon": epsilons})
    for place, column in enumerate(("f1", "accuracy", "top5", "entropy", "entropy_std")):
        frame[column] = [0.1 + place / 10 + epsilon for epsilon in epsilons]
    figure = figures.epsilon_sweep(frame)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    ordered = frame.sort_values("epsilon")
    for line, column in zip(lines, ("f1", "accuracy", "top5", "entropy"), strict=True):
        assert line.get_xdata().tolist() == ordered.epsilon.to_list()
        assert line.get_ydata().tolist() == ordered[column].to_list()
    [band] = figure.axes[1].collections
    heights = {x: (y.min(), y.max()) for x, y in by_x(band)}
    for row in ordered.itertuples():
        ends = row.entropy - row.entropy_std, row.entropy + row.entropy_std
        assert heights[row.epsilon] == pytest.approx(ends)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["Macro F1", "Accuracy", "Top-5"]
    figures.png(figure)


def test_labels_of_many_epsilons_do_not_overlap():
    frame = pd.DataFrame(
        {"variant": "resnet18-scratch", "epsilon": np.linspace(0, 0.1, 100), "accuracy": 0.5}
    )
    figure = figures.variants_by_epsilon(frame)
    figures.png(figure)
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_visible()]
    assert all(one.x1 < other.x0 for one, other in zip(boxes, boxes[1:], strict=False))


def test_variants_by_severity_are_in_the_panel_of_their_architecture():
    table = pd.DataFrame(
        [
            (f"{arch}-scratch", severity, (4 - severity) / size)
            for arch, size in (("resnet18", 10), ("resnet34", 5))
            for severity in range(4)
        ],
        columns=["variant", "severity", "accuracy"],
    )
    for axes, size in zip(figures.variants_by_severity(table).axes, (10, 5), strict=True):
        [line] = axes.get_lines()
        assert line.get_xydata().tolist() == [[severity, (4 - severity) / size] for severity in range(4)]


@pytest.fixture
def example() -> SimpleNamespace:
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return SimpleNamespace(
        name="a/1.jpg",
        actual="Ram C-V Cargo Van Minivan 2012",
        epsilon=0.02,
        original=original,
        noise=np.resize(np.array([-1, 0, 1], np.int8), original.shape),
        adversarial=255 - original,
        before=[("Ram C-V Cargo Van Minivan 2012", 0.75), ("B$1$", 0.125), ("C", 0.0625)],
        after=[("C", 0.5), ("D", 0.25), ("Ram C-V Cargo Van Minivan 2012", 0.2)],
        rank_after=[3, 2, 1],
    )


def test_figure_5_shows_its_example(example):
    original, noise, attacked, before, after, ranks = figures.fgsm_examples([example]).axes
    assert (original.images[0].get_array() == example.original).all()
    assert (attacked.images[0].get_array() == example.adversarial).all()
    assert set(np.unique(noise.images[0].get_array())) == {0, 127, 255}
    assert "0.02" in attacked.get_title()
    assert " ".join(original.get_xlabel().split()) == example.actual
    for axes, top in ((before, example.before), (after, example.after)):
        bars = {group.get_label(): group[0] for group in axes.containers if group.get_label()[0] != "_"}
        assert {name: bar.get_width() for name, bar in bars.items()} == dict(top)
        actual = [
            name for name, bar in bars.items() if bar.get_facecolor()[:3] == (0, 0x72 / 255, 0xB2 / 255)
        ]
        assert actual == [example.actual]
        texts = [" ".join(text.get_text().split()) for text in axes.texts]
        assert texts == [text for name, value in top for text in (name, f"{value:.3f}")]
    for axes in (original, noise, attacked, before, after, ranks):
        assert not len(axes.get_xticks()) and not any(spine.get_visible() for spine in axes.spines.values())
    changes = [text.get_text() for text in ranks.texts]
    assert changes[1::3] == ["1 → 3", "2 → 2", "3 → 1"]
    assert changes[2::3] == ["▼ 2", "=", "▲ 2"]


def test_long_class_name_is_truncated_to_two_lines(example):
    example.actual = "Supercalifragilistic_" * 5
    label = figures.fgsm_examples([example]).axes[0].get_xlabel()
    assert label.count("\n") == 1 and label.endswith("…") and max(map(len, label.split("\n"))) <= 23


def test_png_is_deterministic_and_ignores_the_users_style(example, monkeypatch):
    first = figures.png(figures.fgsm_examples([example, example]))
    monkeypatch.setitem(figures.matplotlib.rcParams, "font.size", 30.0)
    assert figures.png(figures.fgsm_examples([example, example])) == first
    with Image.open(io.BytesIO(first)) as image:
        assert set(image.info) <= {"dpi"}


@pytest.mark.parametrize("measure", ["loss", "f1"])
def test_train_and_val_draws_both_curves_in_the_panel_of_the_variant(histories, measure):
    figure = figures.train_and_val(histories, measure)
    assert figure.get_figheight() > 1.5 * 3  # inches, for three architectures
    drawn = {axes.get_title(): axes for axes in figure.axes}
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in drawn.values()}) == 1
    for variant, history in histories.items():
        arch, _, config = variant.partition("-")
        lines = {line.get_label(): line for line in drawn[f"{arch_name(arch)} {config}"].get_lines()}
        for name in ("train", "val"):
            assert lines[name].get_xdata().tolist() == history.epoch.to_list()
            assert lines[name].get_ydata().tolist() == history[f"{name}_{measure}"].to_list()
            assert lines[name].get_linestyle() == {"train": "--", "val": "-"}[name]


def test_reliability_shows_accuracy_gap_and_number_of_images():
    bins = pd.DataFrame(
        {
            "low": [0, 0.5, 0.75],
            "high": [0.5, 0.75, 1],
            "images": [3, 0, 9],
            "confidence": [0.4, np.nan, 0.9],
            "accuracy": [0.5, np.nan, 0.8],
        }
    )
    top, bottom = figures.reliability(bins).axes
    accuracy, gap = top.containers
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in accuracy] == [
        (0, 0.5, 0.5),
        (0.75, 0.25, 0.8),
    ]
    ends = [bar.get_y() + bar.get_height() for bar in gap]
    assert ends == pytest.approx([0.4, 0.9])
    assert [bar.get_height() for bar in bottom.containers[0]] == [3, 9]


def test_coverage_shows_every_value():
    curve = pd.DataFrame({"coverage": [0.5, 1.0], "accuracy": [1.0, 0.75]})
    [line] = figures.coverage(curve).axes[0].lines
    assert line.get_xydata().tolist() == [[0.5, 1.0], [1.0, 0.75]]


@pytest.mark.parametrize("measure", ["loss", "f1"])
@pytest.mark.parametrize("validated", [True, False])
def test_training_curve_includes_validation_if_there_is_one(measure, validated):
    frame = history(1)
    if not validated:
        frame[["val_loss", "val_loss_std", "val_f1"]] = np.nan
    [axes] = figures.training_curve(frame, measure).axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    names = {"training": "train", "validation": "val"} if validated else {"training": "train"}
    assert drawn.keys() == names.keys() == {text.get_text() for text in axes.get_legend().get_texts()}
    for label, name in names.items():
        assert drawn[label].get_xdata().tolist() == frame.epoch.to_list()
        assert drawn[label].get_ydata().tolist() == frame[f"{name}_{measure}"].to_list()
    assert len(axes.collections) == (validated and measure == "loss")  # the band of the loss
    assert axes.get_ylabel() == {"loss": "Cross-entropy", "f1": "Macro F1"}[measure]


def test_detection_shows_roc_curves_and_chance():
    curve = {"fpr": np.array([0, 0.25, 1]), "tpr": np.array([0, 0.75, 1]), "auc": 0.75}
    [axes] = figures.detection({"FGSM": curve, "PGD": curve | {"auc": 0.5}}).axes
    chance, fgsm, pgd = axes.get_lines()
    assert fgsm.get_xydata().tolist() == [[0, 0], [0.25, 0.75], [1, 1]]
    assert chance.get_xydata().tolist() == [[0, 0], [1, 1]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["chance", "FGSM, AUC 0.750", "PGD, AUC 0.500"]
    assert fgsm.get_color() != pgd.get_color()
    assert axes.get_xlabel().startswith("Original") and axes.get_ylabel().startswith("Attacked")


def test_variants_by_epsilon_are_sorted_in_the_panel_of_their_architecture():
    rows = [(name, epsilon, 0.5 - 10 * epsilon) for name in VARIANTS for epsilon in (0.02, 0.0, 0.01)]
    figure = figures.variants_by_epsilon(pd.DataFrame(rows, columns=["variant", "epsilon", "accuracy"]))
    drawn = curves(figure)
    assert list(drawn) == VARIANTS
    for name, (line, axes) in drawn.items():
        assert line.get_xdata().tolist() == [0, 0.01, 0.02] and axes.get_title() == arch_name(name[:8])
        assert line.get_ydata().tolist() == pytest.approx([0.5, 0.4, 0.3])
        assert axes.get_xlabel() == figures.EPSILON
        assert axes.get_xscale() == "symlog" and axes.xaxis.get_ticklocs().tolist() == [0, 0.01, 0.02]


def test_entropy_histograms_count_every_image_once():
    clean, attacked = pd.Series([0, 0.1, 0.1, 0.5]), pd.Series([1.0, np.log(3) + 1e-7])
    [axes] = figures.entropies(clean, attacked, 3).axes
    first, second = (patch.get_data() for patch in axes.patches)
    assert (first.values.sum(), second.values.sum()) == (4, 2)
    assert second.values[-1] == 1 and first.edges[-1] == pytest.approx(np.log(3))
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [clean.mean(), attacked.mean()]


SQUARE = "\U0010fff0"  # a private-use character that no installed font has


@pytest.fixture
def fresh_fonts(tmp_path, monkeypatch):
    """An empty folder for user fonts, with the font caches of the process reset."""
    monkeypatch.setattr(font_manager, "X11FontDirectories", [str(tmp_path)])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    monkeypatch.setattr(fonts, "_reported", set())
    fonts._families.cache_clear()
    yield tmp_path
    fonts._families.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


def install(path, family: str) -> None:
    """Write a font with the single character SQUARE, a black square as high as a line."""
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, 1000), (1000, 1000), (1000, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(SQUARE): "square"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(path)


def black_square(png: bytes) -> bool:
    """Whether there is a black square of 12 x 12 pixels, which is larger than the strokes of letters."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return bool(cv2.erode((image < 30).astype(np.uint8), np.ones((12, 12), np.uint8)).any())


def bars(*names: str):
    return figures.per_class_f1(pd.DataFrame({"class": names, "f1": 0.5}))


def test_missing_characters_are_drawn_with_an_installed_font(fresh_fonts, caplog):
    install(fresh_fonts / "squares.ttf", "Squares")
    (fresh_fonts / "broken.ttf").write_bytes(b"no font")
    figure = bars(f"A{SQUARE}", "B é")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert black_square(figures.png(figure))
    families = [label.get_fontfamily() for label in figure.axes[0].get_yticklabels()]
    assert families == [["DejaVu Sans", "Squares"], ["DejaVu Sans"]]
    assert not caplog.records


def test_installed_fonts_do_not_change_text_without_missing_characters(fresh_fonts):
    before = figures.png(bars("Citroën C4", "Škoda → Лада"))
    install(fresh_fonts / "squares.ttf", "Squares")
    assert figures.png(bars("Citroën C4", "Škoda → Лада")) == before


def test_missing_font_is_reported_once_with_a_fix(fresh_fonts, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not black_square(figures.png(bars(f"A{SQUARE}", "B\U000e0067")))  # U+E0067 is invisible
        figures.png(bars(f"A{SQUARE}\U0010fff1", "B"))
    [message] = caplog.messages
    assert f"characters {SQUARE}, which no installed font has" in message and "fonts-noto-cjk" in message


def test_wide_characters_count_as_two_columns(example):
    example.actual = "汽车" * 40
    label = figures.fgsm_examples([example]).axes[0].get_xlabel()
    assert [len(line) for line in label.split("\n")] == [11, 11] and label.endswith("…")
    [name] = [label.get_text() for label in bars("汽车" * 40).axes[0].get_yticklabels()]
    assert len(name) == 22 and name.endswith("…")


@pytest.mark.parametrize("backend", ["nonsense", "module://matplotlib_inline.backend_inline"])
def test_commands_ignore_the_backend_of_a_notebook(backend):
    code = """if True:
        import subprocess, sys
        from contextlib import suppress
        from carcls.cli.program import main
        with suppress(SystemExit):
            main(["--help"])
        assert "matplotlib" not in sys.modules
        import carcls.study.figures
        subprocess.run([sys.executable, "-c", "import matplotlib.pyplot"], check=True)
    """
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, env=os.environ | {"MPLBACKEND": backend}
    )


def test_by_class_is_sorted_by_median_and_omits_the_middle_of_many_classes():
    values = {f"class {number:02}": [number, number + 1.0, number + 5.0] for number in range(30)}
    table = pd.DataFrame([(name, value) for name, three in values.items() for value in three])
    axes = figures.by_class(table.set_axis(["class", "brightness"], axis=1), "brightness").axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [*sorted(values)[:12], *sorted(values)[-12:]]
    assert list(axes.get_lines()[0].get_xdata()) == [values[name][1] for name in labels]
