"""The page as a Gradio app."""

import gradio as gr

from carcls.results.settings import preset
from carcls.web import attack_tab, compare_tab, labels_tab, predict_tab, train_tab
from carcls.web.events import EVENT, QUIET
from carcls.web.jobs import Jobs


def create_page(jobs: Jobs) -> gr.Blocks:
    """The page with the trainings `jobs`. The preset for photographs fills in the form."""
    defaults = preset()
    with gr.Blocks(title="carcls", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown("# carcls")
        with gr.Tab("Train"):
            train_tab.add_form(jobs, defaults)
        with gr.Tab("Predict") as predict:
            model, picture = predict_tab.add_form()
        with gr.Tab("Attack") as attack:
            attack_tab.add_form(attack, model, picture, defaults.fgsm.epsilon, defaults.seed)
        with gr.Tab("Labels") as labels:
            labels_tab.add_form(labels)
        with gr.Tab("Compare") as compare:
            study = compare_tab.add_table()
        gr.on([page.load, predict.select], predict_tab.refresh, model, model, **QUIET)
        compare.select(compare_tab.show, None, study, **EVENT)
    return page
