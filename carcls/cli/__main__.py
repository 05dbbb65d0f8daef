"""`carcls`, which is `python -m carcls.cli`."""

import gc

from carcls.base import startup as process
from carcls.cli.program import main


def run() -> None:
    gc.disable()  # until process.set_up: a fifth of a command's start would go into looking for garbage
    main()
    process.leave()


if __name__ == "__main__":
    run()
