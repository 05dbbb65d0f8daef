"""All figures of the report as Matplotlib figures. Equal data gives equal bytes."""

import io
import math
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from carcls.base.variants import CONFIGS
from carcls.evaluation.example import Example
from carcls.study.fonts import add_fallbacks
from carcls.study.wording import arch_name, variant_name

STYLE = {
    "font.family": "DejaVu Sans",  # part of Matplotlib, so that it is the same on all machines
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called A$B$
}
# Okabe and Ito's colour-blind safe palette without yellow, which is too pale for a line
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#9a9a9a"
EPSILON = "Epsilon (pixel values in [0, 1])"
DPI = 160  # dots per inch
EVERY_CLASS = 200  # a figure shows all classes up to this number
MOST_CONFUSED = 24  # classes of the confusion matrix if there are more
MOST_CONFIGS = 24  # configurations in a figure
MOST_EPSILONS = 12  # with more epsilons, not every one has a label on the axis


def _styled(function: Callable) -> Callable:
    @wraps(function)
    def styled(*args, **kwargs):
        with matplotlib.style.context(["default", STYLE]):  # ignore the user's matplotlibrc
            return function(*args, **kwargs)

    return styled


@_styled
def png(figure: Figure) -> bytes:
    """`figure` as a PNG with DPI dots per inch, without the date and version that Matplotlib would write."""
    file = io.BytesIO()
    figure.dpi = DPI
    add_fallbacks(figure)
    with warnings.catch_warnings():
        # add_fallbacks warns once about missing characters; Matplotlib would warn about each one
        warnings.filterwarnings("ignore", "Glyph .* missing from font|Matplotlib currently does not support")
        if engine := figure.get_layout_engine():
            engine.execute(figure)  # savefig would draw the whole figure twice to do this
            figure.set_layout_engine("none")
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


@_styled
def loss_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Figure 3: cross-entropy on the validation set by epoch, mean over batches and +-1 standard deviation.

    `histories` maps variants (ARCH-CONFIG) to tables with columns repeat, epoch, val_loss and val_loss_std.
    Each architecture has a panel, each configuration a colour. Repeats after the first are thin lines without
    a band.
    """
    figure, panels = _variant_panels(histories, "Validation cross-entropy")
    for axes, colour, marker, variant in panels:
        history = _first_repeat(histories[variant])
        low, high = (history.val_loss + sign * history.val_loss_std for sign in (-1, 1))
        axes.fill_between(history.epoch, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(history.epoch, history.val_loss, color=colour, marker=marker, label=variant)
        _other_repeats(axes, histories[variant], "val_loss", colour)
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    return figure


@_styled
def f1_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Figure 4: macro F1 on the validation set by epoch. `histories` as in `loss_curves`, column val_f1."""
    figure, panels = _variant_panels(histories, "Validation macro F1")
    for axes, colour, marker, variant in panels:
        history = _first_repeat(histories[variant])
        axes.plot(history.epoch, history.val_f1, color=colour, marker=marker, label=variant)
        _other_repeats(axes, histories[variant], "val_f1", colour)
    figure.axes[0].set_ylim(0, 1.02)
    return figure


def _first_repeat(history: pd.DataFrame) -> pd.DataFrame:
    """The epochs of the repeat whose model is kept."""
    return history[history["repeat"] == 1]


def _other_repeats(axes: Axes, history: pd.DataFrame, measure: str, colour: str) -> None:
    for number, epochs in history.groupby("repeat"):
        if number != 1:
            axes.plot(epochs.epoch, epochs[measure], color=colour, linewidth=0.7, alpha=0.7)


@_styled
def train_and_val(histories: Mapping[str, pd.DataFrame], measure: str) -> Figure:
    """Training and validation curves by epoch, with a row per architecture and a column per configuration.

    `histories` as in `loss_curves`, with columns train_MEASURE and val_MEASURE. Only the first repeat is
    drawn. `measure` is loss or f1.
    """
    archs, configs, note = _archs_and_configs(histories)
    figure = Figure(figsize=(2 * max(4, len(configs)), 0.5 + 1.75 * len(archs)), layout="constrained")
    grid = figure.subplots(len(archs), len(configs), sharex=True, sharey=True, squeeze=False)
    for row, arch in zip(grid, archs, strict=True):
        for axes, config in zip(row, configs, strict=True):
            if f"{arch}-{config}" not in histories:
                axes.set_axis_off()
                continue
            history = _first_repeat(histories[f"{arch}-{config}"])
            axes.set_title(variant_name(f"{arch}-{config}"))
            axes.plot(history.epoch, history[f"train_{measure}"], ".--", color=COLOURS[1], label="train")
            axes.plot(history.epoch, history[f"val_{measure}"], ".-", color=COLOURS[0], label="val")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            axes.tick_params(labelbottom=True, labelleft=True)
    grid[0, 0].set_ylim(0, 1.02 if measure == "f1" else None)
    figure.supxlabel("Epoch", fontsize=9)
    figure.supylabel({"loss": "Cross-entropy", "f1": "Macro F1"}[measure], fontsize=9)
    handles = [Line2D([], [], color=COLOURS[1], linestyle="--"), Line2D([], [], color=COLOURS[0])]
    validated = any(history["val_loss"].notna().any() for history in histories.values())
    names = ["training", "validation"][: 1 + validated]
    figure.legend(handles[: len(names)], names, loc="outside upper center", ncols=2, title=note)
    return figure


@_styled
def training_curve(history: pd.DataFrame, measure: str) -> Figure:
    """Training curve of one model by epoch, with the validation curve if there is one.

    `measure` is loss or f1. `history` has columns epoch, train_MEASURE, val_MEASURE and val_loss_std. The
    latter is drawn as a band.
    """
    figure = Figure(figsize=(4.4, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        history.epoch, history[f"train_{measure}"], "--", color=COLOURS[1], marker="s", label="training"
    )
    validated = history[f"val_{measure}"].notna().any()
    if validated:
        axes.plot(history.epoch, history[f"val_{measure}"], color=COLOURS[0], marker="o", label="validation")
    if validated and measure == "loss":
        low, high = (history.val_loss + sign * history.val_loss_std for sign in (-1, 1))
        axes.fill_between(history.epoch, low, high, color=COLOURS[0], alpha=0.13, linewidth=0)
    axes.set_xlabel("Epoch")
    axes.set_ylabel({"loss": "Cross-entropy", "f1": "Macro F1"}[measure])
    axes.set_ylim(0, 1.02 if measure == "f1" else None)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    return figure


def _archs_and_configs(variants: Iterable[str]) -> tuple[list[str], list[str], str | None]:
    """Architectures and configurations of `variants`. The configurations of the paper come first.

    At most MOST_CONFIGS configurations are returned. The last value is a note if there are more, else None.
    """
    parts = [variant.split("-", 1) for variant in variants]
    archs = list(dict.fromkeys(arch for arch, _ in parts))
    found = list(dict.fromkeys(config for _, config in parts))
    configs = sorted(found, key=lambda name: CONFIGS.index(name) if name in CONFIGS else len(CONFIGS))
    note = f"The first {MOST_CONFIGS} of {len(configs)} configurations"
    return archs, configs[:MOST_CONFIGS], note if len(configs) > MOST_CONFIGS else None


def _variant_panels(
    variants: Collection[str], label: str, by: str = "Epoch"
) -> tuple[Figure, list[tuple[Axes, str, str, str]]]:
    """A figure with one panel per architecture, and the panel, colour and marker of each variant."""
    archs, configs, note = _archs_and_configs(variants)
    columns = min(2, len(archs))
    rows = math.ceil(len(archs) / columns)
    figure = Figure(figsize=(8, 0.4 + 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(archs) :]:
        axes.remove()
    for place, axes in enumerate(grid[: len(archs)]):
        axes.set_title(arch_name(archs[place]), fontweight="bold")
        axes.set_xlabel(by)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.tick_params(labelbottom=True, labelleft=place % columns == 0)
        if place % columns == 0:
            axes.set_ylabel(label)
    looks = {
        # a repeated colour has another marker
        config: (COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])
        for place, config in enumerate(configs)
    }
    handles = [Line2D([], [], color=colour, marker=marker) for colour, marker in looks.values()]
    figure.legend(handles, list(looks), loc="outside upper center", ncols=min(len(looks), 6), title=note)
    panels = dict(zip(archs, grid, strict=False))
    named = [(variant, *variant.split("-", 1)) for variant in variants]
    return figure, [
        (panels[arch], *looks[config], variant) for variant, arch, config in named if config in looks
    ]


@_styled
def per_class_f1(frame: pd.DataFrame) -> Figure:
    """Test F1 of each class, best first. Columns class and f1. More than 40 classes fill two panels.

    With more than EVERY_CLASS classes, the panels show the best and the worst. The mean is over all.
    """
    ranked = frame.sort_values(["f1", "class"], ascending=[False, True])
    columns = 1 if len(ranked) <= 40 else 2
    rows = math.ceil(min(len(ranked), EVERY_CLASS) / columns)
    pitch, size = (0.24, 8) if columns == 1 else (0.13, 6.5)
    figure = Figure(figsize=(8 if columns == 1 else 10, 0.7 + pitch * rows), layout="constrained")
    mean = ranked.f1.mean()
    for column, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        part = ranked.iloc[column * rows : (column + 1) * rows]
        if len(ranked) > EVERY_CLASS:
            part = ranked.tail(rows) if column else part
            axes.set_title(f"The {rows} {'worst' if column else 'best'} of {len(ranked):,} classes")
        axes.barh(range(len(part)), part.f1, color=COLOURS[0], height=0.72)
        axes.axvline(mean, color=COLOURS[1], linewidth=1, linestyle="--")
        axes.set_yticks(range(len(part)), [_shorten(name, 44) for name in part["class"]], fontsize=size)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_xlim(0, 1.09)
        axes.set_xticks(np.arange(0, 1.01, 0.2))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"F1 (dashed: mean, {mean:.4f})")
        for place, value in enumerate(part.f1):
            axes.text(1.02, place, f"{value:.2f}", va="center", fontsize=size, color="#444444")
    return figure


@_styled
def confusion(frame: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Counts of test images by actual class (rows) and predicted class (columns), in the order of `classes`.

    `frame` has columns actual, predicted and count, one row per pair that occurs. With up to 24 classes,
    every class and every count is labelled; with more, only some classes are labelled. With more than
    EVERY_CLASS classes, only the MOST_CONFUSED classes with the most frequent confusions are shown.
    """
    known = len(classes)
    if known > EVERY_CLASS:
        classes = _most_confused(frame, classes)
        frame = frame[frame.actual.isin(classes) & frame.predicted.isin(classes)]
    places = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), int)
    counts[frame.actual.map(places), frame.predicted.map(places)] = frame["count"]
    small = len(classes) <= 24
    figure = Figure(figsize=(8, 7.4) if small else (10, 9.4), layout="constrained")
    axes = figure.subplots()
    # the square root keeps single confusions visible beside a full diagonal
    norm = PowerNorm(0.5, vmin=0, vmax=max(1, counts.max()))
    image = axes.imshow(counts, cmap="Blues", norm=norm, interpolation="nearest")
    step = 1 if small else math.ceil(len(classes) / 56)
    named = list(range(0, len(classes), step))
    labels = [_shorten(classes[place], 40 if small else 32) for place in named]
    size = 7.5 if small else 6
    axes.set_xticks(named, labels, rotation=90, fontsize=size)
    axes.set_yticks(named, labels, fontsize=size)
    axes.set(xlabel="Predicted class", ylabel="Actual class")
    if known > len(classes):
        figure.suptitle(f"The {len(classes)} most confused of {known:,} classes", fontsize=9)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    if small:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if norm(counts[row, column]) > 0.6 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.015, label="Test images")
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    bar.outline.set_visible(False)
    return figure


def _most_confused(frame: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The MOST_CONFUSED of `classes`, in their order: those with the most frequent errors in `frame`."""
    wrong = frame[frame.actual != frame.predicted].sort_values("count", ascending=False, kind="stable")
    pairs = wrong[["actual", "predicted"]].to_numpy().ravel()
    chosen = set(list(dict.fromkeys([*pairs, *classes]))[:MOST_CONFUSED])
    return [name for name in classes if name in chosen]


@_styled
def by_class(photographs: pd.DataFrame, measure: str) -> Figure:
    """5th to 95th percentile, quartiles and median of the column `measure` for each class, sorted by median.

    With more than MOST_CONFUSED classes, only those with the lowest and the highest medians are shown.
    """
    spans = photographs.groupby("class")[measure].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    spans = spans.sort_values(0.5, kind="stable")
    if len(spans) > MOST_CONFUSED:
        spans = pd.concat([spans.head(MOST_CONFUSED // 2), spans.tail(MOST_CONFUSED // 2)])
    figure = Figure(figsize=(8, 0.8 + 0.24 * len(spans)), layout="constrained")
    axes, rows = figure.subplots(), range(len(spans))
    axes.hlines(rows, spans[0.05], spans[0.95], color=COLOURS[4], linewidth=1.5)
    axes.hlines(rows, spans[0.25], spans[0.75], color=COLOURS[0], linewidth=6)
    axes.plot(spans[0.5], rows, "o", color="white", markersize=3.5)
    axes.set_yticks(rows, [_shorten(name, 44) for name in spans.index])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{measure.capitalize()}{' (square root of pixels)' if measure == 'size' else ''}")
    return figure


@_styled
def reliability(bins: pd.DataFrame) -> Figure:
    """Reliability diagram (Guo et al., 2017): accuracy by confidence above, images of each bin below.

    `bins` is the result of `analysis.calibration`. Hatched: the gap between confidence and accuracy.
    """
    figure = Figure(figsize=(4.6, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = bins[bins.images > 0]
    look = {"align": "edge", "width": filled.high - filled.low}
    gap = filled.confidence - filled.accuracy
    top.bar(filled.low, filled.accuracy, color=COLOURS[4], edgecolor="white", label="accuracy", **look)
    top.bar(
        filled.low,
        gap,
        bottom=filled.accuracy,
        color="none",
        edgecolor=COLOURS[1],
        hatch="////",
        linewidth=0.8,
        label="gap to confidence",
        **look,
    )
    top.plot([0, 1], [0, 1], color="#444444", linestyle="--", linewidth=1, label="perfectly calibrated")
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="Accuracy")
    top.legend(loc="upper left")
    top.tick_params(labelbottom=False)
    bottom.bar(filled.low, filled.images, color=GREY, edgecolor="white", **look)
    bottom.set(xlabel="Confidence of the predicted class", ylabel="Images")
    bottom.xaxis.set_major_locator(FixedLocator(np.linspace(0, 1, 6).tolist()))
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


@_styled
def coverage(curve: pd.DataFrame) -> Figure:
    """Accuracy by coverage. `curve` is the result of `analysis.coverage`."""
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.coverage, curve.accuracy, color=COLOURS[0])
    axes.set(xlim=(0, 1), xlabel="Coverage: share of images, highest confidence first", ylabel="Accuracy")
    axes.set_ylim(top=1.005)
    return figure


@_styled
def entropies(clean: pd.Series, attacked: pd.Series, classes: int) -> Figure:
    """Histograms of the entropy (nats) of predictions on clean and attacked images. Dashed lines: means.

    The axis ends at the entropy of equal probabilities for all `classes`.
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, math.log(classes), 41)
    looks = ((clean, "original", COLOURS[0], None), (attacked, "attacked", COLOURS[1], "////"))
    for values, label, colour, hatch in looks:
        # float32 may round the entropy of a uniform prediction to just above the last edge
        counts, _ = np.histogram(np.clip(values, 0, edges[-1]), edges)
        axes.stairs(
            counts,
            edges,
            fill=hatch is None,
            color=colour,
            alpha=0.45 if hatch is None else 1,
            hatch=hatch,
            linewidth=1.2,
            label=label,
        )
        axes.axvline(values.mean(), color=colour, linestyle="--", linewidth=1.2)
    axes.set(xlim=(0, edges[-1]), xlabel="Entropy of the prediction (nats)", ylabel="Test images")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.legend(loc="upper right", ncols=2)
    return figure


@_styled
def epsilon_sweep(frame: pd.DataFrame) -> Figure:
    """Scores under FGSM by epsilon: F1, accuracy and top-5 left, entropy in nats right.

    Columns epsilon, f1, accuracy, top5, entropy and entropy_std, which is drawn as a band. The axis is
    logarithmic but linear from 0 to the smallest positive epsilon.
    """
    frame = frame.sort_values("epsilon")
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    scores = {"f1": ("Macro F1", "-"), "accuracy": ("Accuracy", "--"), "top5": ("Top-5", ":")}
    for (column, (label, dash)), colour, marker in zip(scores.items(), COLOURS, MARKERS, strict=False):
        left.plot(frame.epsilon, frame[column], dash, color=colour, marker=marker, label=label)
    left.set_ylim(0, 1.02)
    left.set_ylabel("Score on the test set")
    left.legend()
    low, high = (frame.entropy + sign * frame.entropy_std for sign in (-1, 1))
    right.fill_between(frame.epsilon, low, high, color=COLOURS[3], alpha=0.2, linewidth=0)
    right.plot(frame.epsilon, frame.entropy, color=COLOURS[3], marker="o")
    right.set_ylim(bottom=0)
    right.set_ylabel("Entropy, mean ± 1 std (nats)")
    for axes in (left, right):
        _by_epsilon(axes, frame.epsilon)
        axes.set_xlabel(EPSILON)
    return figure


def _by_epsilon(axes: Axes, epsilons: pd.Series) -> None:
    """Make the horizontal axis logarithmic, but linear from 0 to the smallest positive of `epsilons`."""
    positive = epsilons[epsilons > 0]
    if len(positive):
        axes.set_xscale("symlog", linthresh=positive.min(), linscale=0.5)
        axes.set_xlim(-0.15 * positive.min(), 1.15 * positive.max())
    if len(epsilons) <= MOST_EPSILONS:  # with more, the labels would overlap
        axes.xaxis.set_major_locator(FixedLocator(epsilons.to_list()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.tick_params(axis="x", rotation=45 if len(epsilons) > 7 else 0)


@_styled
def variants_by_epsilon(table: pd.DataFrame) -> Figure:
    """Accuracy of every variant under FGSM by epsilon; columns variant, epsilon and accuracy.

    Each architecture has a panel, each configuration a colour, as in `loss_curves`.
    """
    figure, panels = _variant_panels(list(dict.fromkeys(table.variant)), "Accuracy", EPSILON)
    for axes, colour, marker, variant in panels:
        rows = table[table.variant == variant].sort_values("epsilon")
        axes.plot(rows.epsilon, rows.accuracy, color=colour, marker=marker, label=variant)
        _by_epsilon(axes, rows.epsilon)
    figure.axes[0].set_ylim(0, 1.02)
    return figure


@_styled
def variants_by_severity(table: pd.DataFrame) -> Figure:
    """Accuracy of every variant under common corruptions; columns variant, severity and accuracy."""
    figure, panels = _variant_panels(list(dict.fromkeys(table.variant)), "Accuracy", "Severity")
    for axes, colour, marker, variant in panels:
        rows = table[table.variant == variant]
        axes.plot(rows.severity, rows.accuracy, color=colour, marker=marker, label=variant)
    figure.axes[0].set_ylim(0, 1.02)
    return figure


@_styled
def detection(curves: Mapping[str, Mapping]) -> Figure:
    """ROC curves of entropy as a detector of attacks. `curves` has `fpr`, `tpr` and `auc` of each attack."""
    figure = Figure(figsize=(4.4, 4.1), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="chance")
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(curve["fpr"], curve["tpr"], color=colour, label=f"{name}, AUC {curve['auc']:.3f}")
    axes.set(xlabel="Original images above the threshold", ylabel="Attacked images above the threshold")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure


@_styled
def fgsm_examples(examples: Sequence[Example]) -> Figure:
    """Figure 5, one row per example: image, noise, attacked image, top 3 before and after, change of rank."""
    layout = ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.05)
    figure = Figure(figsize=(11.5, 0.35 + 1.95 * len(examples)), layout=layout)
    grid = figure.subplots(len(examples), 6, width_ratios=(1, 1, 1, 1.45, 1.45, 1.75), squeeze=False)
    epsilon = examples[0].epsilon
    titles = ["Original", "Noise", f"Attacked (ε = {epsilon:g})"]
    titles += ["Top 3 before", "Top 3 after", "Rank before → after"]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontweight="bold", pad=8)
    for row, example in zip(grid, examples, strict=True):
        noise = ((example.noise.astype(np.int16) + 1) * 127.5).astype(np.uint8)
        for axes, image in zip(row, (example.original, noise, example.adversarial), strict=False):
            axes.imshow(image, interpolation="nearest" if image is noise else "bilinear")
        _top(row[3], example.before, example.actual)
        _top(row[4], example.after, example.actual)
        _ranks(row[5], example)
        row[0].set_xlabel(_fold(example.actual, 23), loc="left", fontsize=8)
        for axes in row[:3]:
            axes.set_anchor("N")
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
    return figure


def _top(axes: Axes, top: Sequence[tuple[str, float]], actual: str) -> None:
    """Bars of the probabilities in `top`, each below the name of its class. The actual class has a colour."""
    axes.set_xlim(0, 1)
    axes.set_ylim(2.62, -0.62)
    for place, (name, probability) in enumerate(top):
        colour = COLOURS[0] if name == actual else GREY
        axes.barh(place + 0.22, 1, height=0.16, color="#eeeeee")
        axes.barh(place + 0.22, probability, height=0.16, color=colour, label=name)
        axes.text(0, place + 0.08, _fold(name, 23), va="bottom", fontsize=8, linespacing=1.05)
        axes.text(1, place + 0.08, f"{probability:.3f}", va="bottom", ha="right", fontsize=8)


def _ranks(axes: Axes, example: Example) -> None:
    """The classes of `example.before`: rank before and after the attack, and the change of rank."""
    axes.set_xlim(0, 1)
    axes.set_ylim(2.62, -0.62)
    for place, ((name, _), after) in enumerate(zip(example.before, example.rank_after, strict=True)):
        change = after - (place + 1)
        arrow = "▼" if change > 0 else "▲" if change < 0 else "="
        colour = {"▼": COLOURS[1], "▲": COLOURS[2], "=": "#444444"}[arrow]
        axes.text(0, place + 0.08, _fold(name, 22), va="bottom", fontsize=8, linespacing=1.05)
        axes.text(0.74, place + 0.08, f"{place + 1} → {after}", va="bottom", ha="center", fontsize=8)
        moved = f"{arrow} {abs(change)}" if change else arrow
        axes.text(1, place + 0.08, moved, va="bottom", ha="right", fontsize=8, color=colour)


def _fold(text: str, width: int) -> str:
    """`text` in at most two lines of about `width` characters."""
    width = _fitting(text, width)
    lines = textwrap.wrap(text, width)
    if len(lines) > 2:
        lines[1] = f"{lines[1][: width - 1]}…"
    return "\n".join(lines[:2])


def _shorten(text: str, width: int) -> str:
    """`text` in one line of about `width` characters."""
    width = _fitting(text, width)
    return text if len(text) <= width else text[: width - 1] + "…"


def _fitting(text: str, width: int) -> int:
    """The number of characters of `text` that fit into `width` columns. A Chinese character fills two."""
    columns = len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return width * len(text) // max(1, columns)
