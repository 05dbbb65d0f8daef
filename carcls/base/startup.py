"""What a process has and needs once: its cores, and the settings of the libraries that it computes with."""

import atexit
import ctypes
import gc
import logging
import os
import platform
import sys
import warnings
from types import ModuleType
from typing import NoReturn


def cores() -> int:
    """The cores this process may use: a container or taskset may give it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_up() -> None:
    """Make what is computed here reproducible, and spend no thread, page, digest or search on nothing.

    Every entry point (stages, the command line, the page's worker, processes of a pool) calls it once its
    imports are done; importing carcls changes no library's settings. What is not imported is left alone, so
    that a stage without tensors does not pay for PyTorch.
    """
    gc.freeze()  # what imports made stays: no search for garbage goes through it
    gc.enable()  # stages and commands put it off until here
    atexit.register(gc.unfreeze)  # or libraries would report at the end what they made as leaked
    if "cv2" in sys.modules:
        # work is shared out by image; threads inside an operation would fight over the cores
        sys.modules["cv2"].setNumThreads(0)
    if "PIL.Image" in sys.modules:
        _set_up_pillow()
    if "torch" in sys.modules:
        _set_up_torch(sys.modules["torch"])


def leave() -> NoReturn:
    """End the program, whose work is done, before Python looks through PyTorch for garbage once more."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _set_up_pillow() -> None:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # images.decode has a limit of its own and needs no warnings below it
    warnings.filterwarnings("ignore", module="PIL")  # of what is odd in a picture that is read all the same


def _set_up_torch(torch: ModuleType) -> None:
    # what cuBLAS asks for before it computes reproducibly; read when CUDA starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # nothing here reads memory before it is written
    )
    # half of the time that saving takes; a checkpoint is either whole or not there, see files.replacing
    torch.serialization.set_crc32_options(False)
    # glibc gives large blocks back to the system as they are freed, and every step of a training on the CPU
    # would pay for fresh, cleared pages again (a sixth of its time at 128 pixels, a quarter at 224)
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1  # malloc.h; bytes
        ctypes.CDLL(None).mallopt(trim_threshold, most)
        ctypes.CDLL(None).mallopt(mmap_threshold, most)


def set_up_matplotlib() -> None:
    """Select the backend that writes files, for this process and its children. Call it before the import.

    Jupyter and Colab set MPLBACKEND to one that other environments lack, and importing Matplotlib then fails.
    """
    os.environ["MPLBACKEND"] = "agg"
