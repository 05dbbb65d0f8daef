"""The web page: a thin face over the library, opened by `carcls web`.

From the ground up: a module imports only those before it.

    gradio_private   what Gradio has no documented interface for
    names            file and class names as text for HTML, JSON and URLs
    html             the page's pieces of HTML
    events           how its events reach their functions
    records          scores and curves, read from files that may be damaged
    runs             trainings started on the page
    worker           the process that does such a training
    models           the models that the page offers
    train_tab        what to train, and how it goes
    predict_tab      a picture and its most probable classes
    attack_tab       that picture under an attack
    compare_tab      the study's variants
    app              the tabs as one page
    server           the page on this machine
"""

from carcls.web.gradio_private import keep_gradio_offline

__all__ = ["keep_gradio_offline"]
