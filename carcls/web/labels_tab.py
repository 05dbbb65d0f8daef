"""The Labels tab: review possible label errors and near-duplicates, and decide about them."""

import shlex
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np

from carcls.data.labels import EXCLUDE, Label
from carcls.errors import InputError
from carcls.imageset import images
from carcls.imageset.archive import ArchiveReader, read_index
from carcls.results import folder as files
from carcls.results import review
from carcls.results.review import ERRORS, NEAR, Suspect
from carcls.web import html
from carcls.web.events import EVENT, QUIET
from carcls.web.gradio_private import take_any_value
from carcls.web.names import meant, shown

SHOWN = 24  # images in the gallery
NOTHING = html.note("There is no results folder to review: train a model first.")
DONE = html.note(
    "This list has no more images to review. Label errors are found only if a training starts from "
    "pretrained weights."
)
_writing = threading.Lock()  # a second click must not overwrite the decision of the first one
LEFT, RIGHT = "Left image", "Right image"


def add_form(tab: gr.Tab) -> None:
    """Add the tab to the current Blocks. Its controls are enabled after the first list is shown."""
    with gr.Row():
        folder = gr.Dropdown([], value=None, label="Results folder, newest first", min_width=240)
        take_any_value(folder)  # including folders newer than the page
        kind = gr.Radio([ERRORS, NEAR], value=ERRORS, label="Review", min_width=240, interactive=False)
    with gr.Row():
        with gr.Column(min_width=320):
            message = gr.HTML(NOTHING)
            with gr.Column(visible=False) as actions:
                side = gr.Radio([LEFT, RIGHT], value=LEFT, label="Decide about the")
                with gr.Row():
                    keep = gr.Button("Keep", variant="primary", min_width=100)
                    exclude = gr.Button("Exclude", variant="stop", min_width=100)
                new = gr.Dropdown([], value=None, label="New class")
                take_any_value(new)
                change = gr.Button("Change class")
            saved = gr.HTML()
        with gr.Column(min_width=320):
            gallery = gr.Gallery(
                label="Most suspicious first",
                allow_preview=False,
                format="png",
                elem_classes="pixels",
                buttons=[],
            )
            reviewed = gr.Checkbox(False, label="Show reviewed images too", interactive=False)
    chosen = gr.State(None)
    asked, outputs = [folder, kind, reviewed], [chosen, message, actions, side, new]
    tab.select(_folders, folder, folder, **QUIET).then(
        _show, asked, [gallery, saved, *outputs], **QUIET
    ).then(
        lambda: (gr.Radio(interactive=True), gr.Checkbox(interactive=True)), outputs=[kind, reviewed], **QUIET
    )
    latest = QUIET | {"trigger_mode": "always_last"}
    gr.on([folder.input, kind.input, reviewed.input], _show, asked, [gallery, saved, *outputs], **latest)
    gallery.select(_select, asked, outputs, **latest)
    for button, action in ((keep, ""), (exclude, EXCLUDE), (change, None)):
        decided = partial(_decide, action)
        button.click(decided, [*asked, chosen, side, new], [gallery, saved, *outputs], **EVENT)


class Item(NamedTuple):
    """A photograph to review, and the decision about it or its near-duplicate."""

    suspect: Suspect
    decision: Label | None


def _folders(chosen: str | None) -> gr.Dropdown:
    """The results folders with images to review. `chosen` stays selected if it still exists."""
    found = [shown(path.parent) for path in files.newest_first(files.find(files.REVIEW))]
    return gr.Dropdown(found, value=chosen if chosen in found else next(iter(found), None))


def _check_folder(choice: str) -> Path:
    """The results folder `choice`. Raises InputError for other folders, which must not be read or written."""
    path = next((path.parent for path in files.find(files.REVIEW) if shown(path.parent) == choice), None)
    if path is None:
        raise InputError(f"{choice} was deleted: choose another results folder.")
    return path


def _items(folder: Path, kind: str, reviewed: bool) -> list[Item]:
    """The first SHOWN photographs to review. `reviewed` includes those with a decision."""
    found, made = [], review.decisions(folder)
    contents = review.photographs(folder / files.PHOTOGRAPHS)["sha256"]
    for suspect in review.suspects(folder, kind):
        names = [name for name in (suspect.name, suspect.other) if name]
        about = (review.decision(made, name, contents[name]) for name in names)
        decision = next(filter(None, about), None)
        if reviewed or decision is None:
            found.append(Item(suspect, decision))
    return found[:SHOWN]


def _images(folder: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The images `names` as the input of the model, uint8 RGB."""
    tar = folder / "review.tar"
    rows = read_index(tar).set_index("name")
    with ArchiveReader(tar) as reader:
        return [images.decode(reader.read(rows["offset"][name], rows["size"][name]), name) for name in names]


def _show(choice: str | None, kind: str, reviewed: bool, saved: str = ""):
    """Outputs: the gallery, the message `saved` and the first photograph of the list."""
    if choice is None:
        return [], "", *_panel(None, None)
    try:
        folder = _check_folder(choice)
        items = _items(folder, kind, reviewed)
        pictures = _images(folder, [item.suspect.name for item in items])
        marks = [_mark(item.decision) for item in items]
        gallery = list(zip(pictures, marks, strict=True))
        return gallery, saved, *_panel(folder, next(iter(items), None))
    except InputError as error:
        return [], html.problem(str(error)), *_panel(None, None)


def _select(choice: str, kind: str, reviewed: bool, event: gr.SelectData):
    try:
        folder = _check_folder(choice)
        items = _items(folder, kind, reviewed)
        return _panel(folder, items[event.index] if event.index < len(items) else None)
    except InputError as error:
        return None, html.problem(str(error)), gr.Column(visible=False), gr.Radio(), gr.Dropdown()


def _panel(folder: Path | None, item: Item | None):
    """Outputs: the selected photographs, their images with the reason, and the state of the actions."""
    if folder is None or item is None:
        message = DONE if folder else NOTHING
        return None, message, gr.Column(visible=False), gr.Radio(), gr.Dropdown()
    suspect = item.suspect
    names = [name for name in (suspect.name, suspect.other) if name]
    pictures = zip(_images(folder, names), names, strict=True)
    why = f"Class {suspect.class_name}: {suspect.why}. {_decided(item.decision)}"
    message = html.beside([html.pixels(*picture) for picture in pictures]) + html.note(why)
    names = [shown(name) for name in review.classes(folder)]
    return (
        [suspect.name, suspect.other],
        message,
        gr.Column(visible=True),
        gr.Radio(value=LEFT, visible=bool(suspect.other)),
        gr.Dropdown(names, value=shown(suspect.suggestion)),
    )


def _mark(decision: Label | None) -> str | None:
    """The caption of an image in the gallery."""
    if decision is None:
        return None
    return {"": "kept", EXCLUDE: "excluded"}.get(decision.class_name, "changed")


def _decided(decision: Label | None) -> str:
    if decision is None:
        return ""
    if decision.class_name == EXCLUDE:
        return f"{decision.image} is excluded."
    return f"{decision.image} is changed to {decision.class_name}." if decision.class_name else "It is kept."


def _decide(action: str | None, choice: str, kind: str, reviewed: bool, names, side: str, new: str | None):
    """Write the decision `action` (None: the class `new`) about one of `names`, and show the next image."""
    try:
        folder = _check_folder(choice)
        name, *others = names[::-1] if side == RIGHT and names[1] else names
        class_name = meant(new or "") if action is None else action
        if action is None and class_name not in review.classes(folder):
            raise InputError("Choose one of the classes as the new class first.")
        why = f"near-duplicate of {others[0]}" if others[0] else "possible label error"
        with _writing:
            review.decide(folder, name, class_name, f"{'' if class_name else 'kept: '}{why}")
    except InputError as error:
        return gr.skip(), html.problem(str(error)), *[gr.skip()] * 5
    table = folder / files.LABELS
    saved = f"Saved in {table}. `carcls train FOLDER --labels {shlex.quote(str(table))}` trains with it."
    return _show(choice, kind, reviewed, html.note(saved))
