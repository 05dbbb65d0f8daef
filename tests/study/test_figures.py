"""What a figure draws is what its data says: read back from the lines, bars and texts of its axes."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carcls.study import figures
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
def test_every_variant_has_its_curve_in_the_panel_of_its_architecture(histories, draw, column):
    drawn = curves(draw(histories))
    assert list(drawn) == list(histories)
    for variant, (line, axes) in drawn.items():
        assert line.get_xdata().tolist() == histories[variant].epoch.to_list()
        assert line.get_ydata().tolist() == histories[variant][column].to_list()
        low, high = axes.get_ylim()
        assert low <= min(line.get_ydata()) <= max(line.get_ydata()) <= high
        assert axes.get_title() == variant.partition("-")[0].replace("resnet", "ResNet-")


def test_configurations_are_told_apart_by_colour_and_marker_alike_in_every_panel(histories):
    looks = {}
    for variant, (line, _) in curves(figures.f1_curves(histories)).items():
        looks.setdefault(variant.partition("-")[2], set()).add((line.get_color(), line.get_marker()))
    assert all(len(look) == 1 for look in looks.values())
    assert len(set.union(*looks.values())) == len(looks) == 5


def test_the_band_of_the_loss_is_one_standard_deviation_each_way(histories):
    figure = figures.loss_curves({"resnet18-scratch": histories["resnet18-scratch"]})
    frame = histories["resnet18-scratch"]
    [band] = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    for x, mean, std in zip(frame.epoch, frame.val_loss, frame.val_loss_std, strict=True):
        heights = corners[corners[:, 0] == x][:, 1]
        assert (heights.min(), heights.max()) == (mean - std, mean + std)


@pytest.mark.parametrize(
    ("draw", "column"), [(figures.loss_curves, "val_loss"), (figures.f1_curves, "val_f1")]
)
def test_further_repeats_are_lines_of_their_own_thinner_than_the_first(draw, column):
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


def test_training_against_validation_is_drawn_of_the_first_repeat():
    repeats = [history(seed).assign(repeat=seed) for seed in (1, 2)]
    figure = figures.train_and_val({"resnet18-scratch": pd.concat(repeats)}, "f1")
    train, val = figure.axes[0].get_lines()
    assert train.get_ydata().tolist() == repeats[0].train_f1.to_list()
    assert val.get_ydata().tolist() == repeats[0].val_f1.to_list()


@pytest.mark.parametrize("count", [12, 196])
def test_classes_are_listed_by_f1_from_best_to_worst(count):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"class": [f"Class {place}" for place in range(count)], "f1": rng.random(count)})
    figure = figures.per_class_f1(frame)
    bars = [bar.get_width() for axes in figure.axes for bar in axes.patches]
    names = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert bars == sorted(frame.f1, reverse=True)
    assert names == frame.sort_values("f1", ascending=False)["class"].to_list()


@pytest.mark.parametrize("count", [3, 196])
def test_confusion_has_actual_classes_as_rows_and_the_rest_zero(count):
    classes = [f"Class {place}" for place in range(count)]
    frame = pd.DataFrame(
        {"actual": classes[:3], "predicted": [*classes[1:3], classes[0]], "count": [7, 2, 40]}
    )
    axes = figures.confusion(frame, classes).axes[0]
    drawn = axes.images[0].get_array()
    assert drawn.shape == (count, count)
    assert (drawn[0, 1], drawn[1, 2], drawn[2, 0], drawn.sum()) == (7, 2, 40, 49)
    assert [text.get_text() for text in axes.texts] == (["7", "2", "40"] if count == 3 else [])
    for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        assert label.get_text() == classes[place]


@pytest.mark.parametrize("epsilons", [[0.02, 0.0, 0.005], [0.0]])
def test_the_sweep_is_drawn_in_order_of_epsilon(epsilons):
    frame = pd.DataFrame({"epsilon": epsilons})
    for place, column in enumerate(("f1", "accuracy", "top5", "entropy", "entropy_std")):
        frame[column] = [0.1 + place / 10 + epsilon for epsilon in epsilons]
    figure = figures.epsilon_sweep(frame)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    ordered = frame.sort_values("epsilon")
    for line, column in zip(lines, ("f1", "accuracy", "top5", "entropy"), strict=True):
        assert line.get_xdata().tolist() == ordered.epsilon.to_list()
        assert line.get_ydata().tolist() == ordered[column].to_list()
    figures.png(figure)


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


def test_a_row_of_figure_5_shows_its_example(example):
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
    changes = [text.get_text() for text in ranks.texts]
    assert changes[1::3] == ["1 → 3", "2 → 2", "3 → 1"]
    assert changes[2::3] == ["▼ 2", "=", "▲ 2"]


def test_an_endless_class_name_is_cut_to_two_lines(example):
    example.actual = "Supercalifragilistic_" * 5
    label = figures.fgsm_examples([example]).axes[0].get_xlabel()
    assert label.count("\n") == 1 and label.endswith("…") and max(map(len, label.split("\n"))) <= 23


def test_equal_data_gives_equal_bytes_whatever_the_users_style(example, monkeypatch):
    first = figures.png(figures.fgsm_examples([example, example]))
    monkeypatch.setitem(figures.matplotlib.rcParams, "font.size", 30.0)
    assert figures.png(figures.fgsm_examples([example, example])) == first
    with Image.open(io.BytesIO(first)) as image:
        assert set(image.info) <= {"dpi"}


@pytest.mark.parametrize("measure", ["loss", "f1"])
def test_training_and_validation_share_the_panel_of_their_variant(histories, measure):
    drawn = {axes.get_title(): axes for axes in figures.train_and_val(histories, measure).axes}
    for variant, history in histories.items():
        arch, _, config = variant.partition("-")
        lines = {line.get_label(): line for line in drawn[f"{arch_name(arch)} {config}"].get_lines()}
        for name in ("train", "val"):
            assert lines[name].get_xdata().tolist() == history.epoch.to_list()
            assert lines[name].get_ydata().tolist() == history[f"{name}_{measure}"].to_list()
            assert lines[name].get_linestyle() == {"train": "--", "val": "-"}[name]


def test_the_reliability_diagram_shows_accuracy_the_gap_and_how_many_images():
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


def test_histograms_of_entropy_count_every_image_once():
    clean, attacked = pd.Series([0, 0.1, 0.1, 0.5]), pd.Series([1.0, np.log(3) + 1e-7])
    [axes] = figures.entropies(clean, attacked, 3).axes
    first, second = (patch.get_data() for patch in axes.patches)
    assert (first.values.sum(), second.values.sum()) == (4, 2)
    assert second.values[-1] == 1 and first.edges[-1] == pytest.approx(np.log(3))
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [clean.mean(), attacked.mean()]
