"""The numbers of "Utilizing ResNet in a car classification task" (Iommi, 2025), for comparison with a run."""

from collections.abc import Collection

VARIANTS = {  # Table 2, in its order; there, train_loss is in units of 1e-4 and val_f1 in units of 1e-1
    "resnet18-scratch": {"train_loss": 7.76e-4, "train_f1": 0.99, "val_loss": 1.81, "val_f1": 0.580},
    "resnet18-pretrained": {"train_loss": 1.44e-4, "train_f1": 0.99, "val_loss": 0.52, "val_f1": 0.873},
    "resnet18-freeze6": {"train_loss": 1.57e-4, "train_f1": 1.00, "val_loss": 0.56, "val_f1": 0.864},
    "resnet18-freeze8": {"train_loss": 15398.47e-4, "train_f1": 0.75, "val_loss": 2.84, "val_f1": 0.355},
    "resnet34-scratch": {"train_loss": 4.38e-4, "train_f1": 0.99, "val_loss": 1.76, "val_f1": 0.630},
    "resnet34-pretrained": {"train_loss": 0.97e-4, "train_f1": 0.99, "val_loss": 0.47, "val_f1": 0.889},
    "resnet34-freeze6": {"train_loss": 0.77e-4, "train_f1": 1.00, "val_loss": 0.51, "val_f1": 0.877},
    "resnet34-freeze8": {"train_loss": 12025.17e-4, "train_f1": 0.82, "val_loss": 2.57, "val_f1": 0.401},
}

TESTED = "resnet34-pretrained"  # the variant of Table 3
TEST = {"test_f1": 0.9021, "test_accuracy": 0.9024, "test_entropy": 1.4531, "test_entropy_std": 0.8601}
FGSM = {"fgsm_f1": 0.1346, "fgsm_accuracy": 0.1315, "fgsm_entropy": 2.6242, "fgsm_entropy_std": 0.8007}

IMAGES = {"train": 86430, "val": 27977, "test": 8041}  # section 3: after augmentation

CONFIGS = {  # Table 1: number and intuition
    "scratch": ("(i)", "Random initialization"),
    "pretrained": ("(ii)", "Task specialization"),
    "freeze6": ("(iii)", "Half backpropagation"),
    "freeze8": ("(iv)", "Frozen feature extractor"),
}


def is_stanford_cars(classes: Collection[str]) -> bool:
    """Whether `classes` are those of the paper: 196 classes that include the first and last of Stanford Cars.

    A subset of these classes is an easier task, so the numbers of the paper are not comparable.
    """
    names = {name.casefold() for name in classes}
    return len(names) == 196 and {"am general hummer suv 2000", "smart fortwo convertible 2012"} <= names
