"""The web page: a thin face over the library, opened by `carcls web`.

From the ground up: a module imports only those before it.

    html          the page's pieces of HTML
    events        how its events reach their functions
    runs          trainings started on the page
    worker        the process that does such a training
    models        the models that the page offers
    train_tab     what to train, and how it goes
    predict_tab   a picture and its most probable classes
    attack_tab    that picture under an attack
    compare_tab   the study's variants
    app           the tabs as one page
    server        the page on this machine
"""

import os


def keep_gradio_offline() -> None:
    """Ask Gradio to send and keep nothing. Call it before Gradio is imported: that is when it reads these."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_RUN_HISTORY": "False"}
