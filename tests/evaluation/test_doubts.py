"""The search for label errors ranks swapped labels first."""

import numpy as np
import pytest

from carcls.evaluation.doubts import doubts


@pytest.fixture
def features(rng) -> tuple[np.ndarray, np.ndarray]:
    """Features of 480 images of 12 classes, about as separable as those of a backbone."""
    labels = np.repeat(np.arange(12), 40)
    return rng.normal(size=(12, 64))[labels] + rng.normal(scale=1.2, size=(480, 64)), labels


def test_swapped_labels_are_ranked_first(features, rng):
    values, labels = features
    swapped = rng.choice(len(labels), 24, replace=False)
    given = labels.copy()
    given[swapped] = (labels[swapped] + rng.integers(1, 12, 24)) % 12
    found = doubts(values, given, seed=1)
    assert len(set(found.place[:48]) & set(swapped)) >= 20
    assert found.doubt.is_monotonic_decreasing and (found.answer != given[found.place]).all()
    first = found[found.place.isin(swapped)].head(12)
    assert (first.answer.to_numpy() == labels[first.place]).mean() > 0.8


def test_classes_smaller_than_the_number_of_folds_are_searched(features):
    values, labels = features
    few = np.concatenate([np.flatnonzero(labels == label)[:2] for label in range(12)])
    assert set(doubts(values[few], labels[few], seed=1).columns) == {"place", "answer", "given", "doubt"}


def test_a_class_of_one_image_gives_a_warning_and_no_suspects(features, caplog):
    values, labels = features
    assert doubts(values[:41], labels[:41], seed=1).empty
    assert "a class has fewer than two images" in caplog.text


def test_a_class_of_two_images_is_in_two_folds(features):
    values, labels = features
    rare = np.append(labels, [12, 12])
    assert len(doubts(np.concatenate([values, values[:2] + 9]), rare, seed=1))
