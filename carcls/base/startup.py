"""Process-wide settings, made once at the start. Importing carcls changes none of them.

Every entry point (a stage, the command line, a worker, a test run) calls the functions that it needs.
"""

import ctypes
import os
import platform
import warnings


def cores() -> int:
    """The number of cores that this process may use, which a container or taskset may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_up_images() -> None:
    """Configure OpenCV and Pillow for reading photographs."""
    import cv2
    from PIL import Image

    cv2.setNumThreads(0)  # the images are distributed over the cores
    Image.MAX_IMAGE_PIXELS = None  # images.decode has its own limit
    warnings.filterwarnings("ignore", module="PIL")  # about invalid data that Pillow can ignore


def set_up_torch() -> None:
    """Configure PyTorch to compute reproducibly and to keep the memory that it frees."""
    # required for reproducible results of cuBLAS, which reads it when CUDA starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True)
    # nothing here reads uninitialised memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # glibc returns large freed blocks to the system, and each training step would map and clear them again.
    # Measured on two cores of Zen 3: 1/6 of the time of a step at 128 pixels, 1/4 at 224 pixels.
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1  # malloc.h; bytes
        ctypes.CDLL(None).mallopt(trim_threshold, largest)
        ctypes.CDLL(None).mallopt(mmap_threshold, largest)


def set_up_matplotlib() -> None:
    """Select the file backend for this process and its children. Call it before importing Matplotlib.

    Jupyter and Colab set MPLBACKEND to a backend that may be missing here. The import would then fail.
    """
    os.environ["MPLBACKEND"] = "agg"


def set_up() -> None:
    """Configure an entry point that reads photographs and computes with PyTorch."""
    set_up_images()
    set_up_torch()
