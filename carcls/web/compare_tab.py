"""The Compare tab: results folders and the study's variants side by side, and the reports."""

import json
from pathlib import Path

import gradio as gr
import pandas as pd

from carcls.results import folder as files
from carcls.study import figures, paper
from carcls.study.wording import score, variant_name
from carcls.web import html

METRICS, HISTORY, REPORT = Path("metrics"), Path("plots/history"), Path("report/index.html")
COLUMNS = ("Variant", "Val F1", "Val loss", "Train F1", "Train loss", "Best epoch", "Trained parameters")
OWN_SCORES = ("val_f1", "test_f1", "test_accuracy", "fgsm_f1")
OWN_COLUMNS = ("Report", "Val F1", "Test F1", "Test accuracy", "F1 under FGSM", "Best epoch")
SCORES = {"f1": "macro F1", "accuracy": "accuracy", "entropy": "entropy"}


def build() -> gr.HTML:
    """Lay out the tab inside the current Blocks: what `show` is to fill."""
    return gr.HTML()


def show() -> str:
    """The models of results folders, then the study's variants with what `_study` shows."""
    own = [_own(path) for path in files.reports()]
    parts = []
    if own:
        parts = [html.heading("Results folders"), html.table(OWN_COLUMNS, own), html.heading("The study")]
    return "".join([*parts, _study()])


def _own(report: Path) -> tuple:
    """A results folder in a line; what it does not have, as one that only evaluated, is a dash."""
    name = report.parent.relative_to(files.RESULTS).as_posix()
    metrics = files.read_metrics(report.parent)
    scores = [score(metrics[key]) if key in metrics else "–" for key in OWN_SCORES]
    return (html.link(name, f"/report/{name}"), *scores, metrics.get("epoch", "–"))


def _study() -> str:
    """The table of variants, the chosen one's test and attack, the curves, and the report."""
    trained = {path.stem: json.loads(path.read_text()) for path in (METRICS / "train").glob("*-*.json")}
    if not trained:
        return html.note(f"There is no study in {Path.cwd()}: `dvc repro` makes one, in the project.")
    known = [variant for variant in paper.VARIANTS if variant in trained]
    variants = known + sorted(trained.keys() - set(known))
    parts = [html.table(COLUMNS, [_row(variant, trained[variant]) for variant in variants]), _tested()]
    paths = {variant: HISTORY / f"{variant}.csv" for variant in variants}
    histories = {variant: pd.read_csv(path) for variant, path in paths.items() if path.exists()}
    old = [paths[variant] for variant, history in histories.items() if "repeat" not in history]
    if old:
        parts.append(html.problem(f"{old[0]} is of an older version of carcls: `dvc repro` makes it anew."))
    elif histories:
        curves = {"loss": figures.loss_curves(histories), "macro F1": figures.f1_curves(histories)}
        parts += [
            html.picture(figures.png(figure), f"Validation {of} by epoch") for of, figure in curves.items()
        ]
        if any(history["repeat"].max() > 1 for history in histories.values()):
            parts.append(html.note("Thin lines are repeats whose models are not kept."))
    if REPORT.exists():
        parts.append(
            '<p><a href="/report" target="_blank">Open the report in a page of its own</a></p>'
            '<iframe class="report" src="/report" title="The report"></iframe>'
        )
    else:
        parts.append(html.note(f"{REPORT} is missing; `dvc repro` makes it."))
    return "".join(parts)


def _row(variant: str, metrics: dict) -> tuple:
    scores = [score(metrics[key]) for key in ("val_f1", "val_loss", "train_f1", "train_loss")]
    return (
        variant_name(variant),
        *scores,
        metrics["epoch"],
        f"{metrics['trainable_parameters']:,}",
    )


def _tested() -> str:
    """A table of the chosen variant on the test set, clean and attacked; nothing before there is one."""
    rows = []
    for label, file, prefix in (("clean", "test", "test_"), ("under FGSM", "fgsm", "fgsm_")):
        path = METRICS / f"{file}.json"
        if path.exists():
            metrics = json.loads(path.read_text())
            rows.append((f"Test set, {label}", *(score(metrics[prefix + name]) for name in SCORES)))
    return html.table(["The chosen variant", *SCORES.values()], rows) if rows else ""
