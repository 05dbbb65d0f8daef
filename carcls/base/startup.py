"""Settings that a process makes once, before it computes: importing carcls changes none.

Every entry point (a stage, the command line, a worker, a test run) calls those that it needs.
"""

import ctypes
import os
import platform
import warnings


def cores() -> int:
    """The number of cores that this process may use: a container or taskset may allow fewer than exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_up_images() -> None:
    """Make OpenCV and Pillow ready to read photographs."""
    import cv2
    from PIL import Image

    cv2.setNumThreads(0)  # images are shared out over the cores, so that one operation needs no threads
    Image.MAX_IMAGE_PIXELS = None  # images.decode has its own limit
    warnings.filterwarnings("ignore", module="PIL")  # oddities of an image that is read all the same


def set_up_torch() -> None:
    """Make PyTorch compute reproducibly and keep the memory that it frees."""
    # cuBLAS needs this to compute reproducibly and reads it when CUDA starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True)
    # nothing here reads uninitialised memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # glibc returns large blocks to the system when they are freed, so that each training step would fault in
    # and clear them again: a sixth of the time of a step at 128 pixels, a quarter at 224 (two cores, Zen 3)
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1  # malloc.h; bytes
        ctypes.CDLL(None).mallopt(trim_threshold, most)
        ctypes.CDLL(None).mallopt(mmap_threshold, most)


def set_up_matplotlib() -> None:
    """Select the backend that writes files, for this process and its children. Call it before the import.

    Jupyter and Colab set MPLBACKEND to one that other environments lack, and importing Matplotlib then fails.
    """
    os.environ["MPLBACKEND"] = "agg"


def set_up() -> None:
    """For entry points that read photographs and compute with PyTorch."""
    set_up_images()
    set_up_torch()
