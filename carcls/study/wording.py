"""Format scores and names of architectures and variants, for the report and the page."""

import re


def score(value: float) -> str:
    """A score, loss, probability or entropy with four decimals, as in the tables of the paper."""
    return f"{value:.4f}"


def arch_name(arch: str) -> str:
    """The name of an architecture in the paper: ResNet-18 for resnet18."""
    return re.sub(r"^resnet(\d+)$", r"ResNet-\1", arch)


def variant_name(variant: str) -> str:
    """The name of a variant: ResNet-18 freeze6 for resnet18-freeze6."""
    arch, _, config = variant.partition("-")
    return f"{arch_name(arch)} {config}"
