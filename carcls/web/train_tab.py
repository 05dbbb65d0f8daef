"""The Train tab: settings and progress of a training."""

import os
from collections import Counter
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import torch

from carcls import params
from carcls.data.sources.folder import as_named
from carcls.errors import InputError
from carcls.learning.model import read_info
from carcls.results import estimate
from carcls.results import folder as files
from carcls.results.folder import free_name
from carcls.results.settings import count
from carcls.study import figures
from carcls.web import html, records
from carcls.web.events import EVENT, QUIET
from carcls.web.jobs import Form, Job, Jobs, settings
from carcls.web.models import inference_lock, score
from carcls.web.names import meant, shown

EMPTY = "It must contain one folder of images per class."
NAME = "Name of the model, for its folder in results/"
OWN_WEIGHTS = "data/weights/{arch}.safetensors"  # the pretrained weights of the study
POLL = 1  # seconds between updates of the progress
MAX_FILES = 200_000  # larger folders, such as /home, are not searched while the user types
MAX_FOLDERS = 500  # number of folders to choose from


def add_form(jobs: Jobs, defaults: params.Params) -> None:
    """Add the tab to the current Blocks. `defaults` fill in the form."""
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            with gr.Group():
                folder = gr.Textbox(
                    label="Folder with class folders", placeholder="/path/to/photographs", max_lines=1
                )
                pick = gr.Dropdown(_folders("."), value=None, label="... or choose it step by step")
                results = gr.Textbox(label=NAME, max_lines=1)
            counted = gr.HTML(html.note(EMPTY))
            estimated = gr.HTML()
            with gr.Accordion("More options", open=False):
                labels = gr.Textbox("", label="Table of labels: labels.csv (data.labels)", max_lines=1)
                form = [labels, *_left_out(defaults), *_form(defaults), results]
        with gr.Column(scale=5, min_width=320):
            with gr.Row():
                start = gr.Button("Train", variant="primary", min_width=120)
                stop = gr.Button("Stop", variant="stop", min_width=120)
            refused = gr.HTML()
            status = gr.HTML()
            curves = gr.HTML()
            log = gr.Textbox(label="Log", lines=10, max_lines=10, interactive=False)

    shown = [status, curves, log, start, stop]
    _describe_choice(jobs, folder, pick, form, [counted, estimated])
    start.click(lambda *values: _start(jobs, *values), [folder, *form], [refused, results], **EVENT).then(
        lambda: _look(jobs), outputs=shown, **EVENT
    )
    stop.click(lambda: _stop(jobs), outputs=refused, **EVENT)
    timer = gr.Timer(POLL)
    timer.tick(lambda: _look(jobs), outputs=shown, **QUIET)
    gr.on(None, lambda: free_name(defaults.model.arch), outputs=results, **QUIET)


def _describe_choice(
    jobs: Jobs, folder: gr.Textbox, pick: gr.Dropdown, form: list[Any], outputs: list[gr.HTML]
) -> None:
    """Show the content of `folder` and the duration of a training in `outputs`. Update them on changes."""
    counted, estimated = outputs
    labels, _, _, classes, *options, _ = form
    counts: dict[str, Any] = {
        "fn": _count,
        "inputs": [folder, labels],
        "outputs": [counted, classes, pick],
        **EVENT,
    }
    estimates: dict[str, Any] = {
        "fn": lambda *values: _estimate(jobs, *values),
        "inputs": [folder, *form],
        "outputs": estimated,
        "trigger_mode": "always_last",  # one estimate at a time while the user types
        **QUIET,
    }
    gr.on([folder.submit, folder.blur, labels.submit, labels.blur], **counts).then(**estimates)
    pick.input(lambda picked: picked, pick, folder, **EVENT).then(**counts).then(**estimates)
    gr.on([option.change for option in options], **estimates)


def _left_out(defaults: params.Params) -> list[gr.Checkbox]:
    """The checkboxes of `jobs.Form` after `labels`. Their labels contain the keys that messages mention."""
    return [
        gr.Checkbox(
            defaults.data.skip_unreadable,
            label="Skip damaged images instead of stopping (data.skip_unreadable)",
        ),
        gr.Checkbox(
            defaults.split.drop_duplicates,
            label="Remove duplicates from training instead of stopping (split.drop_duplicates)",
        ),
    ]


def _form(defaults: params.Params) -> list[gr.components.Component]:
    """The fields of `jobs.Form` from `classes` to `device`, in its order."""
    train, start = defaults.train, defaults.configs[defaults.model.config]
    with gr.Row():
        classes = gr.Number(label="Classes", precision=0, min_width=120)
        image_size = gr.Number(
            defaults.data.image_size, label="Image size (pixels)", precision=0, min_width=120
        )
    with gr.Row():
        arch = gr.Dropdown(
            get_args(params.Arch), value=defaults.model.arch, label="Architecture", min_width=120
        )
        frozen = gr.Slider(0, 8, start.frozen_layers, step=1, label="Frozen layers", min_width=120)
    pretrained = gr.Checkbox(start.pretrained, label="Pretrained")
    weights = gr.Dropdown(
        [("ImageNet (may be downloaded)", "imagenet"), ("of the study (data/weights)", OWN_WEIGHTS)],
        value=defaults.weights,
        allow_custom_value=True,
        label="Pretrained weights, or your own file",
        visible=start.pretrained,
    )
    pretrained.change(lambda on: gr.Dropdown(visible=on), pretrained, weights, **EVENT)
    with gr.Row():
        optimizer = gr.Dropdown(
            get_args(params.Optimizer), value=train.optimizer, label="Optimizer", min_width=120
        )
        lr = gr.Number(train.lr, label="Learning rate", min_width=120)
        batch_size = gr.Number(train.batch_size, label="Batch size", precision=0, min_width=120)
    with gr.Row():
        epochs = gr.Number(train.epochs, label="Epochs", precision=0, min_width=120)
        device = gr.Dropdown(_devices(), value="auto", label="Device", min_width=120)
    training = [frozen, optimizer, lr, batch_size, epochs, *_choosing(defaults), image_size, device]
    return [classes, arch, pretrained, weights, *training]


def _choosing(defaults: params.Params) -> list[gr.components.Component]:
    """The fields of `jobs.Form` from `patience` to `class_weights`."""
    train = defaults.train
    with gr.Row():
        val = gr.Number(defaults.split.val or 0, label="Validation share (0: all train)", min_width=120)
        keep = gr.Dropdown(
            [("last", "last"), ("best by validation", "best")],
            value=train.keep,
            label="Epoch kept",
            min_width=120,
        )
        patience = gr.Number(train.patience, label="Patience (best only)", precision=0, min_width=120)
    with gr.Row():
        flip = gr.Checkbox(train.flip, label="Mirror images (off where left and right differ)", min_width=120)
        tta = gr.Dropdown(
            [("image and mirror image", "flip"), ("image alone", "none")],
            value=train.tta,
            label="Prediction from (train.tta)",
            min_width=160,
        )
    # like `carcls train --no-flip`: without flips in training, predictions use no mirror image either
    flip.input(lambda on: train.tta if on else "none", flip, tta, **EVENT)
    with gr.Row():
        normalise = gr.Dropdown(
            [("of the weights", "weights"), ("ImageNet's", "imagenet"), ("0.5", "half")],
            value=train.normalise,
            label="Mean and std of the input (train.normalise)",
            min_width=160,
        )
        weights = gr.Number(
            train.class_weights, label="Class weights (1: rare classes count as much)", min_width=120
        )
    return [patience, val, keep, flip, tta, normalise, weights]


def _devices() -> list[tuple[str, str]]:
    found = [("auto", "auto"), ("CPU", "cpu")]
    for number in range(torch.cuda.device_count()):
        found.append((f"GPU {number}: {torch.cuda.get_device_name(number)}", f"cuda:{number}"))
    if torch.backends.mps.is_available():
        found.append(("Apple GPU", "mps"))
    return found


def _folders(folder: str) -> list[tuple[str, str]]:
    """Names and paths of the parent of `folder` and of its subfolders. Empty if it cannot be read."""
    here = Path(meant(folder).strip() or ".").expanduser().resolve()
    try:
        inside = sorted(
            entry for entry in here.iterdir() if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError:
        return []
    return [
        (shown(f"↑ {here.parent}"), shown(here.parent)),
        *((shown(entry.name), shown(entry)) for entry in inside[:MAX_FOLDERS]),
    ]


def _count(folder: str, labels: str):
    """A message about `folder` with the table `labels`, the number of classes, and folders to choose next."""
    pick = gr.Dropdown(_folders(folder), value=None)
    if not folder.strip():
        return html.note(EMPTY), None, pick
    try:
        files = (name for _, _, names in os.walk(as_named(meant(folder)).expanduser()) for name in names)
        if next(islice(files, MAX_FILES, None), None):
            return html.note(f"{folder} has over {MAX_FILES:,} files: choose a folder in it."), None, pick
        found = count(meant(folder), meant(labels))
    except InputError as error:
        return html.problem(str(error)), None, pick
    images = Counter(row.class_name for row in found.rows)
    smallest = min(sorted(images), key=images.__getitem__)
    summary = html.done(
        f"{len(images)} classes, {len(found.rows):,} images. The smallest class is {smallest}: "
        f"{images[smallest]:,} images."
    )
    if found.left_out:
        summary += html.note(f"Skipped: {found.left_out}.")
    for message in found.warnings():
        summary += html.problem(message)
    return summary, len(images), pick


def _estimate(jobs: Jobs, folder: str, *others) -> str:
    """The estimated duration. Empty while a training is running and if `_start` rejects the values."""
    if jobs.current and jobs.current.running:
        return ""
    form = Form(meant(folder), *others)
    try:
        with inference_lock:
            seconds = estimate.seconds(settings(form), count(form.folder, form.labels))
    except InputError:
        return ""
    return html.note(f"Training takes about {_rounded(seconds)} on this machine.")


def _rounded(seconds: float) -> str:
    minutes = round(seconds / 60) or 1
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"


def _start(jobs: Jobs, *values) -> tuple[str, str]:
    folder, labels, *others = values
    form = Form(meant(folder), meant(labels), *others)
    try:
        jobs.start(form)
    except InputError as error:
        return html.problem(str(error)), form.results
    return "", free_name(form.arch)


def _stop(jobs: Jobs) -> str:
    if not (jobs.current and jobs.current.running):
        return html.problem("No training is running.")
    jobs.current.stop()
    return ""


def _look(jobs: Jobs):
    """Status, curves, log and the state of both buttons. They are the same for all visitors."""
    run = jobs.current
    status, log, curves = str(html.note("No training has been started yet.")), "", ""
    if run is not None:
        status, log, curves = _status(run), run.log(), _history(run.folder / files.HISTORY)
    running = run is not None and run.running
    return status, curves, log, gr.Button(interactive=not running), gr.Button(interactive=running)


def _status(run: Job) -> str:
    if run.running:
        progress = run.progress
        if run.stopping:
            return html.progress(progress.get("share", 0), "Stopping. The epochs finished so far are kept.")
        if "doing" in progress:
            return html.progress(0, f"{run.folder}: {progress['doing'].lower()} ...")
        return html.progress(
            progress["share"],
            f"{run.folder}: epoch {progress['epoch']} of {progress['epochs']}, batch {progress['batch']} of "
            f"{progress['batches']}, at most {_span(progress['left'])} left",
        )
    fault = run.fault()
    if fault:
        return html.problem(fault)
    model = run.folder / files.MODEL
    try:
        info = read_info(model)
    except InputError as error:
        return html.problem(str(error))
    ended = "Stopped" if run.stopping else "Finished"
    return html.done(
        f"{ended}: {model} has epoch {info.epoch}, {score(model, info)}. Choose it on the Predict tab.",
        html.report_link("Open its report", run.folder.relative_to(files.RESULTS)),
    )


def _span(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _history(csv: Path) -> str:
    """The curves in `csv`; empty before the end of the first epoch."""
    try:
        return _curves(csv, csv.stat().st_mtime_ns)
    except FileNotFoundError:
        return ""
    except InputError as error:
        return html.problem(str(error))


@lru_cache(maxsize=1)
def _curves(csv: Path, _changed: int) -> str:
    history = records.history(csv, "the next epoch writes it again")
    pngs = [figures.png(figures.training_curve(history, of)) for of in ("loss", "f1")]
    names = ("Loss by epoch", "Macro F1 by epoch")
    images = (html.picture(png, name) for png, name in zip(pngs, names, strict=True))
    return f'<div class="curves">{"".join(images)}</div>'
