"""report/index.html: all tables and figures on one self-contained page; plots/fgsm/examples.png: Figure 5."""

from pathlib import Path

from carcls.files import write_bytes, write_text
from carcls.params import Params
from carcls.study.report import examples_png, render


def report(params: Params, root: Path, name: str | None = None) -> None:
    """Write the page about the study, or about the model in the results folder `name`.

    There is no Figure 5 if nothing was attacked. Raises InputError like `render`.
    """
    if (root / "metrics/fgsm.json").exists():
        write_bytes(root / "plots/fgsm/examples.png", examples_png(params, root))
    write_text(root / "report/index.html", render(params, root, name))
