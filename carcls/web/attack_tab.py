"""The Attack tab: the picture of the Predict tab under FGSM, the paper's Figure 5 with a slider."""

from pathlib import Path

import gradio as gr
import numpy as np

from carcls.errors import InputError
from carcls.study.heat import overlay
from carcls.web import html, models
from carcls.web.events import QUIET

EMPTY = html.note("Choose a model and a picture on the Predict tab first.")
NOTHING = (None,) * 5  # in the place of pictures


def build(tab: gr.Tab, model: gr.Dropdown, picture: gr.Image, epsilon: float) -> None:
    """Lay out the tab inside the current Blocks; `epsilon` is where the slider starts."""
    slider = gr.Slider(
        0,
        0.1,
        epsilon,
        step=0.001,
        label="Epsilon: how far each pixel value of [0, 1] may move",
        buttons=["reset"],
    )
    with gr.Row():
        pictures = [_image(label) for label in ("Original", "Sign of the gradient", "Attacked")]
    told = gr.HTML(EMPTY)
    with gr.Row():
        heats = [_image(f"What speaks for the first class {when}") for when in ("before", "after")]
    gr.on(
        [tab.select, slider.change],
        _attack,
        [model, picture, slider],
        [*pictures, *heats, told],
        trigger_mode="always_last",
        **QUIET,
    )


def _image(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        format="png",
        interactive=False,
        height=260,
        min_width=300,
        buttons=[],
        elem_classes="pixels",
    )


def _attack(choice: str | None, path: str | None, epsilon: float):
    if path is None:
        return *NOTHING, EMPTY
    try:
        classifier = models.load(choice)
        image = classifier.prepare(Path(path).read_bytes(), Path(path).name)
    except InputError as error:
        return *NOTHING, html.problem(str(error))
    with models.turn:
        example = classifier.attack(image, Path(path).name, epsilon)
        images = [example.original, example.adversarial]
        heats = classifier.looks(images, [example.before[0][0], example.after[0][0]])
    noise = ((example.noise.astype(np.int16) + 1) * 127.5).astype(np.uint8)
    looked = [overlay(image, heat) for image, heat in zip(images, heats, strict=True)]
    return example.original, noise, example.adversarial, *looked, html.attacked(example)
