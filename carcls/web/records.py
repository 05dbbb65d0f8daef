"""Read scores and curves from files that may be missing, truncated, damaged or of another version."""

import io
import reprlib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic_core import ErrorDetails

from carcls.errors import InputError
from carcls.learning.training import Epoch

Share = Annotated[float, Field(ge=0, le=1)]


class Scores(BaseModel):
    """The values of a JSON file that the page shows. Other values in the file are ignored."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Result(Scores):
    """metrics.json of a results folder. `carcls evaluate` does not write training or attack scores."""

    val_f1: Share | None = None
    test_f1: Share
    test_accuracy: Share
    fgsm_f1: Share | None = None
    epoch: PositiveInt | None = None


class Trained(Scores):
    """metrics/train/*.json of the study."""

    val_f1: Share
    val_loss: float
    train_f1: Share
    train_loss: float
    epoch: PositiveInt
    trainable_parameters: NonNegativeInt


class Clean(Scores):
    """metrics/test.json of the study."""

    test_f1: Share
    test_accuracy: Share
    test_entropy: float


class Attacked(Scores):
    """metrics/fgsm.json of the study."""

    fgsm_f1: Share
    fgsm_accuracy: Share
    fgsm_entropy: float


S = TypeVar("S", bound=Scores)


def scores(path: Path, kind: type[S], fix: str) -> S:
    """The content of the JSON file `path`. Raises InputError with a message that ends with `fix`."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {fix}.") from None
    except ValidationError as invalid:
        raise InputError(f"{path} {_reason(invalid.errors()[0])}: {fix}.") from None


def _reason(error: ErrorDetails) -> str:
    """An error of pydantic as the predicate of a sentence about the file."""
    key = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "json_invalid":
            return "is truncated or not valid JSON"
        case "missing":
            return f"has no {key}"
    message = error["msg"].removeprefix("Input ")
    return f"has {reprlib.repr(error['input'])}{f' as {key}' if key else ''}, which {message}"


def history(path: Path, fix: str) -> pd.DataFrame:
    """The CSV file `path`: a row per epoch, with the columns `repeat` and the fields of `Epoch`, all finite.

    The validation columns may all be empty. A file without `repeat` has one training. Raises InputError with
    a message that ends with `fix`.
    """
    try:
        content = path.read_bytes()
        table = pd.read_csv(io.BytesIO(content), index_col=False)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {fix}.") from None
    except ValueError:  # the base class of all errors of pandas
        raise InputError(f"{path} is empty or not a CSV table: {fix}.") from None
    columns = [field.name for field in fields(Epoch)]
    if missing := [name for name in columns if name not in table]:
        raise InputError(
            f"{path} has no column {missing[0]}: another version of carcls may have written it; {fix}."
        )
    if "repeat" not in table:
        table.insert(0, "repeat", 1)
    numbers = table[["repeat", *columns]].apply(pd.to_numeric, errors="coerce")
    validated = [name for name in columns if name.startswith("val_")]
    needed = numbers.drop(columns=validated) if table[validated].isna().all(axis=None) else numbers
    if numbers.empty or not np.isfinite(needed.to_numpy(float)).all():
        raise InputError(f"{path} has no rows, or values that are not finite numbers: {fix}.")
    if not content.endswith(b"\n"):  # the last number may have lost digits
        raise InputError(f"{path} is truncated: {fix}.")
    return numbers
