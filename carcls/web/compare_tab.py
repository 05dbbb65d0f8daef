"""The Compare tab: results folders and the variants of the study, with their reports."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import gradio as gr
import pandas as pd
from markupsafe import Markup

from carcls.errors import InputError
from carcls.results import folder as files
from carcls.study import figures, paper
from carcls.study.wording import score, variant_name
from carcls.web import html, records
from carcls.web.names import shown

METRICS, HISTORY, REPORT = Path("metrics"), Path("plots/history"), Path("report/index.html")
COLUMNS = ("Variant", "Val F1", "Val loss", "Train F1", "Train loss", "Best epoch", "Trained parameters")
OWN_COLUMNS = ("Report", "Val F1", "Test F1", "Test accuracy", "F1 under FGSM", "Kept epoch")
TESTED_COLUMNS = ("Selected variant", "macro F1", "accuracy", "entropy")
TESTED: dict[str, tuple[str, type[records.Scores]]] = {
    "clean": ("test.json", records.Clean),
    "under FGSM": ("fgsm.json", records.Attacked),
}
RESTORE = "restore it, or delete the folder and train again"
REPRODUCE = "run `dvc repro` to create it again"
T = TypeVar("T")


def add_table() -> gr.HTML:
    """Add the tab to the current Blocks. Returns the element that `show` fills."""
    return gr.HTML()


def show() -> str:
    """The models of the results folders, then the study.

    Files that are missing, damaged or of another version are reported. Everything else is shown.
    """
    problems: list[str] = []
    own = [_own(path, problems) for path in files.reports()]
    parts = []
    if own:
        parts = [html.heading("Results folders"), html.table(OWN_COLUMNS, own)]
        parts += [*map(html.problem, problems), html.heading("The study")]
    return "".join([*parts, *_study()])


def _own(report: Path, problems: list[str]) -> tuple[object, ...]:
    """The table row of a results folder, with a dash for a missing score."""
    name = report.parent.relative_to(files.RESULTS)
    link: str = html.report_link(str(name), name)
    if not os.access(report, os.R_OK):
        problems.append(f"{report} cannot be read, or links to a file that is missing: {RESTORE}.")
        link = str(name)
    try:
        result = records.scores(report.parent / files.METRICS, records.Result, RESTORE)
    except InputError as error:
        problems.append(str(error))
        return (link, *["–"] * (len(OWN_COLUMNS) - 1))
    scores = (result.val_f1, result.test_f1, result.test_accuracy, result.fgsm_f1)
    return (link, *("–" if value is None else score(value) for value in scores), result.epoch or "–")


def _study() -> list[Markup]:
    """The table of variants, the scores of the selected variant, the curves and the report."""
    found = {path.stem for path in (METRICS / "train").glob("*-*.json")}
    if not found:
        return [html.note(f"There is no study in {Path.cwd()}: run `dvc repro` in the project folder.")]
    variants = [variant for variant in paper.VARIANTS if variant in found]
    variants += sorted(found.difference(variants))
    problems: list[str] = []
    rows = _readable(_row, variants, problems)
    tested = _readable(_tested, [name for name in TESTED if (METRICS / TESTED[name][0]).exists()], problems)
    histories = _readable(_history, variants, problems)
    parts = [html.table(COLUMNS, list(rows.values()))]
    if tested:
        parts.append(html.table(TESTED_COLUMNS, list(tested.values())))
    parts += map(html.problem, problems)
    if histories:
        parts += _curves({shown(variant): table for variant, table in histories.items()})
    if REPORT.exists():
        return [*parts, html.study_report()]
    return [*parts, html.note(f"{REPORT} is missing: run `dvc repro` to create it.")]


def _readable(read: Callable[[str], T], names: Iterable[str], problems: list[str]) -> dict[str, T]:
    """`read(name)` by name. If it raises InputError, the message is added to `problems` instead."""
    values = {}
    for name in names:
        try:
            values[name] = read(name)
        except InputError as error:
            problems.append(str(error))
    return values


def _row(variant: str) -> tuple[object, ...]:
    trained = records.scores(METRICS / f"train/{variant}.json", records.Trained, REPRODUCE)
    scores = (trained.val_f1, trained.val_loss, trained.train_f1, trained.train_loss)
    return (
        variant_name(variant),
        *map(score, scores),
        trained.epoch,
        f"{trained.trainable_parameters:,}",
    )


def _tested(name: str) -> tuple[object, ...]:
    """The table row of the selected variant on the test set, clean or attacked."""
    file, kind = TESTED[name]
    values = records.scores(METRICS / file, kind, REPRODUCE).model_dump().values()
    return (f"Test set, {name}", *map(score, values))


def _history(variant: str) -> pd.DataFrame:
    return records.history(HISTORY / f"{variant}.csv", REPRODUCE)


def _curves(histories: dict[str, pd.DataFrame]) -> list[Markup]:
    """Loss and F1 of all variants by epoch."""
    curves = {"loss": figures.loss_curves(histories), "macro F1": figures.f1_curves(histories)}
    parts = [html.picture(figures.png(figure), f"Validation {of} by epoch") for of, figure in curves.items()]
    if any(history["repeat"].max() > 1 for history in histories.values()):
        parts.append(html.note("Thin lines are further repeats, whose models are not kept."))
    return parts
