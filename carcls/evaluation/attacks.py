"""The registry of attacks, used by the command line, the page, the report and the stages.

`attack.answers` and `attack.attack` run them on an image set, `attack_image.attack_image` on one image.
This module imports no torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class AttackKind:
    """An attack, or the control with which attacks are compared."""

    title: str  # in tables and figures
    file: str  # in plots/fgsm: the predictions on the attacked test images
    description: str = ""  # on the page; "" if the attack only supports image sets
    stops_early: bool = False  # stops at the first misclassification, so confidences are not comparable


ATTACKS = {
    "noise": AttackKind("Noise", "noise_predictions.csv", "random signs"),
    "fgsm": AttackKind("FGSM", "predictions.csv", "one step along the gradient"),
    "pgd": AttackKind("PGD", "pgd_predictions.csv", "many small steps"),
    "apgd": AttackKind("APGD", "apgd_predictions.csv", stops_early=True),
}
ON_ONE_IMAGE = ("fgsm", "pgd", "noise")  # the choices of the command line and of the page
