"""How a score, an architecture and a variant are written, in the report and on the page."""

import re


def score(value: float) -> str:
    """A score, loss, probability or entropy: four decimals, as the paper's tables have them."""
    return f"{value:.4f}"


def arch_name(arch: str) -> str:
    """An architecture as the paper writes it: ResNet-18 for resnet18."""
    return re.sub(r"^resnet(\d+)$", r"ResNet-\1", arch)


def variant_name(variant: str) -> str:
    """A cell of the study: ResNet-18 freeze6 for resnet18-freeze6."""
    arch, _, config = variant.partition("-")
    return f"{arch_name(arch)} {config}"
