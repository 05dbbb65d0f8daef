"""The Attack tab: the image of the Predict tab under an attack, drawn as in the paper's Figure 5."""

from pathlib import Path

import gradio as gr
import numpy as np

from carcls.errors import InputError
from carcls.evaluation.attacks import ATTACKS, ON_ONE_IMAGE
from carcls.evaluation.example import STEPS, AttackSpec
from carcls.study.heat import overlay
from carcls.web import html, models
from carcls.web.events import QUIET
from carcls.web.gradio_private import take_any_value
from carcls.web.names import meant, shown

EMPTY = html.note("Choose a model and an image on the Predict tab first.")
NOTHING = (None,) * 5  # instead of images
KINDS = [(f"{ATTACKS[name].title}: {ATTACKS[name].description}", name) for name in ON_ONE_IMAGE]
AWAY = ("any class except the prediction", "")


def add_form(tab: gr.Tab, model: gr.Dropdown, picture: gr.Image, epsilon: float, seed: int) -> None:
    """Add the tab to the current Blocks. `epsilon` is the initial value of its slider."""
    with gr.Row():
        kind = gr.Radio(KINDS, value="fgsm", label="Attack")
        with gr.Column(min_width=240) as aimed:
            target = gr.Dropdown([AWAY], value="", label="Target class")
    with gr.Row():
        label = "Epsilon: largest change of a pixel value in [0, 1]"
        slider = gr.Slider(0, 0.1, epsilon, step=0.001, label=label, buttons=["reset"])
        # hide its column, not the slider itself: see take_any_value
        with gr.Column(min_width=240, visible=False) as stepped:
            steps = gr.Slider(1, 50, STEPS, step=1, label="Steps", buttons=["reset"])
    for given in (target, slider, steps):
        take_any_value(given)
    with gr.Row():
        pictures = [_image(label) for label in ("Original", "Noise: up (white) or down (black)", "Attacked")]
    message = gr.HTML(EMPTY)
    with gr.Row():
        heats = [_image(f"Heat map of the first class, {when} the attack") for when in ("before", "after")]
    model.change(_targets, [model, target], target, **QUIET)
    kind.change(_options, kind, [stepped, aimed], **QUIET)

    def attack(choice: str | None, path: str | None, kind: str, epsilon: float, steps: int, target: str):
        try:
            aim = meant(target) if target and kind != "noise" else None
            return _attack(choice, path, AttackSpec(kind, epsilon, steps, aim), seed)
        except InputError as error:
            return *NOTHING, html.problem(str(error))

    gr.on(
        [tab.select, kind.change, slider.change, steps.change, target.input],
        attack,
        [model, picture, kind, slider, steps, target],
        [*pictures, *heats, message],
        trigger_mode="always_last",
        **QUIET,
    )


def _image(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        format="png",  # lossless: the displayed image is the classified one
        interactive=False,
        height=260,
        min_width=300,
        buttons=[],
        elem_classes="pixels",
    )


def _targets(choice: str | None, chosen: str) -> gr.Dropdown:
    """The current classes. `chosen` stays selected if it is one of them."""
    names = list(map(shown, models.classes(choice)))
    return gr.Dropdown([AWAY, *((name, name) for name in names)], value=chosen if chosen in names else "")


def _options(kind: str) -> tuple[gr.Column, gr.Column]:
    """Show only the options of the attack `kind`: steps, target."""
    return gr.Column(visible=kind == "pgd"), gr.Column(visible=kind != "noise")


def _attack(choice: str | None, path: str | None, spec: AttackSpec, seed: int):
    if path is None:
        return *NOTHING, EMPTY
    classifier = models.load(choice)
    image = classifier.prepare(Path(path).read_bytes(), Path(path).name)
    with models.inference_lock:
        result = classifier.attack(image, Path(path).name, spec, seed)
        row = result.row
        images = [row.original, row.adversarial]
        heats = classifier.looks(images, [row.before[0][0], row.after[0][0]])
    noise = ((row.noise.astype(np.int16) + 1) * 127.5).astype(np.uint8)
    looked = [overlay(image, heat) for image, heat in zip(images, heats, strict=True)]
    about = html.note(f"The heat maps are {classifier.heat_title()}.")
    return row.original, noise, row.adversarial, *looked, html.attacked(result) + about
