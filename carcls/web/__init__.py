"""The web page: a thin user interface for the library, started by `carcls web`.

From the bottom up: a module imports only those before it.

    gradio_private   uses of undocumented interfaces of Gradio
    names            file and class names as text for HTML, JSON and URLs
    html             HTML fragments of the page
    events           options for the events of the page
    records          scores and curves, read from files that may be damaged
    jobs             trainings started on the page
    worker           the process of a training that was started on the page
    models           the models listed on the page
    train_tab        settings and progress of a training
    predict_tab      an image and its most probable classes
    attack_tab       the same image under an attack
    labels_tab       possible label errors and near-duplicates, and decisions about them
    compare_tab      results folders and the variants of the study
    app              the page with its tabs
    server           the server of the page, on this machine only
"""

from carcls.web.gradio_private import keep_gradio_offline

__all__ = ["keep_gradio_offline"]
