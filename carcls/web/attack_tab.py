"""The Attack tab: the picture of the Predict tab under FGSM, the paper's Figure 5 with a slider."""

from pathlib import Path

import gradio as gr
import numpy as np

from carcls.errors import InputError
from carcls.web import html, models
from carcls.web.events import QUIET

EMPTY = html.note("Choose a model and a picture on the Predict tab first.")


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
        original, noise, attacked = (
            gr.Image(
                label=label,
                format="png",
                interactive=False,
                height=260,
                min_width=300,
                buttons=[],
                elem_classes="pixels",
            )
            for label in ("Original", "Sign of the gradient", "Attacked")
        )
    told = gr.HTML(EMPTY)
    gr.on(
        [tab.select, slider.change],
        _attack,
        [model, picture, slider],
        [original, noise, attacked, told],
        trigger_mode="always_last",
        **QUIET,
    )


def _attack(choice: str | None, path: str | None, epsilon: float):
    if path is None:
        return None, None, None, EMPTY
    try:
        classifier = models.load(choice)
        image = classifier.prepare(Path(path).read_bytes(), Path(path).name)
    except InputError as error:
        return None, None, None, html.problem(str(error))
    with models.turn:
        example = classifier.attack(image, Path(path).name, epsilon)
    noise = ((example.noise.astype(np.int16) + 1) * 127.5).astype(np.uint8)
    return example.original, noise, example.adversarial, html.attacked(example)
