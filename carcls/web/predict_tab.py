"""The Predict tab: a model, an image, and its most probable classes."""

import tempfile
from pathlib import Path

import gradio as gr
import pandas as pd

from carcls.errors import InputError
from carcls.files import write_csv
from carcls.imageset import images
from carcls.inference.classifier import TOP, Classifier
from carcls.study.heat import overlay
from carcls.study.wording import score
from carcls.web import html, models
from carcls.web.events import EVENT, QUIET
from carcls.web.gradio_private import take_any_value, take_path
from carcls.web.names import shown

EXAMPLES = "Test images"
EMPTY = html.note("Load or paste an image, use the camera, or click a test image.")


def add_form() -> tuple[gr.Dropdown, gr.Image]:
    """Add the tab to the current Blocks. Returns the fields of the model and the image."""
    with gr.Row():
        with gr.Column(min_width=320):
            model = gr.Dropdown([], value=None, label="Model, newest first")
            take_any_value(model)  # including models newer than the page
            picture = gr.Image(
                label="Image",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard", "webcam"],
                height=320,
                buttons=[],
            )
            take_path(picture)
            examples = gr.Gallery(
                label=EXAMPLES,
                columns=4,
                allow_preview=False,
                format="png",
                elem_classes="pixels",
                buttons=[],
            )
        with gr.Column(min_width=320):
            seen = gr.HTML()  # faster than an image component of Gradio, which takes as long as a prediction
            look = gr.Checkbox(False, label="Show a heat map of the first class (Grad-CAM)")
            reject = gr.Checkbox(False, label="Answer “none of these” to unknown images")
            top = gr.HTML(EMPTY)
    with gr.Accordion("Several images at once", open=False):
        several = gr.File(label="Images", file_count="multiple", type="filepath")
        table = gr.HTML()
        download = gr.DownloadButton("Download the table (CSV)", visible=False)

    model.change(_examples, model, examples, **QUIET)
    asked = [model.change, picture.change, look.change, reject.change]
    gr.on(asked, _predict, [model, picture, look, reject], [seen, top], **EVENT)
    examples.select(_take, model, picture, **QUIET)
    asked = [several.change, model.change, reject.change]
    gr.on(asked, _predict_all, [model, several, reject], [table, download], **EVENT)
    return model, picture


def refresh(chosen: str | None) -> gr.Dropdown:
    """The current models. `chosen` stays selected if it still exists."""
    choices = models.choices()
    values = [value for _, value in choices]
    return gr.Dropdown(choices, value=chosen if chosen in values else next(iter(values), None))


def _examples(choice: str | None) -> gr.Gallery:
    try:
        shown_images = [
            (images.decode(data, name), shown(label)) for name, label, data in models.examples(choice)
        ]
    except InputError as error:
        return gr.Gallery([], label=f"No test images: {shown(error)}")
    return gr.Gallery(shown_images, label=EXAMPLES)


def _take(choice: str, event: gr.SelectData) -> str:
    """Write the clicked test image to a file, like an upload. Returns its path."""
    name, _, data = models.examples(choice)[event.index]
    path = Path(tempfile.mkdtemp(dir=tempfile.gettempdir())) / Path(name).name
    path.write_bytes(data)
    return str(path)


def _load(choice: str | None, reject: bool) -> Classifier:
    """Load a model. With `reject`, it must recognise unknown images. Raises InputError like `models.load`."""
    classifier = models.load(choice)
    if reject:
        classifier.check_novelty()
    return classifier


def _predict(choice: str | None, path: str | None, look: bool, reject: bool) -> tuple[str, str]:
    if path is None:
        return "", EMPTY
    try:
        classifier = _load(choice, reject)
        image, title = classifier.prepare(Path(path).read_bytes(), Path(path).name), "As the model sees it"
        with models.inference_lock:
            answer = classifier.answer(image)
            if look:
                [heat] = classifier.looks([image], [answer.top[0][0]])
                image, title = overlay(image, heat), classifier.heat_title()
        near = models.nearest(choice, answer.nearest) if choice and answer.nearest else []
    except InputError as error:
        return "", html.problem(str(error))
    threshold = classifier.info.novelty_threshold
    message = html.answer(answer.classes(reject), answer.novelty, threshold, [row[1:] for row in near])
    return html.pixels(image, title), message


def _predict_all(choice: str | None, paths: list[str] | None, reject: bool):
    """A table with the first class of each image, and a CSV file with all classes to download."""
    if not paths:
        return "", gr.DownloadButton(visible=False)
    try:
        classifier = _load(choice, reject)
    except InputError as error:
        return html.problem(str(error)), gr.DownloadButton(visible=False)
    rows: list[tuple[str, int | None, str, float | None, float | None, str]] = []
    for path in map(Path, paths):
        try:
            image = classifier.prepare(path.read_bytes(), path.name)
            with models.inference_lock:
                answer = classifier.answer(image)
            rows += [
                (path.name, rank, name, probability, answer.novelty, "")
                for rank, (name, probability) in enumerate(answer.classes(reject), 1)
            ]
        except InputError as error:
            rows.append((path.name, None, "", None, None, str(error)))
    frame = pd.DataFrame(rows, columns=["image", "rank", "class", "probability", "novelty", "problem"])
    frame["rank"] = frame["rank"].astype("Int64")
    csv = Path(tempfile.mkdtemp()) / "predictions.csv"
    write_csv(csv, frame)
    first = [
        (image, name or problem, "" if probability is None else score(probability))
        for image, rank, name, probability, _, problem in rows
        if rank in (1, None)
    ]
    note = html.note(f"The most probable class of each image. The CSV file has the first {TOP} classes.")
    return html.table(["Image", "Class", "Probability"], first) + note, gr.DownloadButton(
        value=csv, visible=True
    )
