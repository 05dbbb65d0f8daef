from collections import Counter

import cv2
import numpy as np
import pytest

from carcls.demo.photographs import HEIGHT, SOURCE, TARGET, WIDTH, draw, photographs


def pictures(models, seed=0, train=2, test=1):
    return {photo.name: photo for photo in photographs(models, seed, train, test)}


def decoded(photo):
    return cv2.imdecode(np.frombuffer(photo.data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("models, count", [(TARGET, 12), (SOURCE, 24)])
def test_classes_are_sorted_and_named_make_model_type_year(models, count):
    names = [model.name for model in models]
    assert len(set(names)) == count
    assert names == sorted(names)
    for model in models:
        make, own_name, body, year = model.name.split()
        assert (make, body) == (model.make.name, model.body.name)
        assert own_name.isalpha() and 1990 < int(year) < 2030


def test_target_crosses_four_makes_with_three_body_types():
    cells = {(model.make.name, model.body.name) for model in TARGET}
    assert len(cells) == 12
    assert len({make for make, _ in cells}) == 4
    assert len({body for _, body in cells}) == 3


def test_source_shares_no_make_and_no_name_with_target():
    for part in (lambda model: model.make.name, lambda model: model.name.split()[1]):
        assert not set(map(part, SOURCE)) & set(map(part, TARGET))


def test_photographs_yields_the_given_counts_in_order_of_name():
    photos = list(photographs(TARGET[::-1], 0, 2, 1))
    names = [photo.name for photo in photos]
    assert names == sorted(set(names))
    counts = Counter((photo.split, photo.class_name) for photo in photos)
    expected = {(split, m.name): n for split, n in (("train", 2), ("test", 1)) for m in TARGET}
    assert counts == expected
    for photo in photos:
        split, class_name, file = photo.name.split("/")
        assert (split, class_name) == (photo.split, photo.class_name)
        assert file.endswith(".jpg")


def test_photographs_decode_to_the_stated_size():
    for photo in photographs(TARGET[:2], 0, 1, 1):
        assert decoded(photo).shape == (HEIGHT, WIDTH, 3)


def test_jpeg_bytes_decode_to_colours_in_rgb_order(monkeypatch):
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 255
    monkeypatch.setattr("carcls.demo.photographs.draw", lambda model, rng: red)
    (photo,) = photographs(TARGET[:1], 0, 1, 0)
    blue_green_red = decoded(photo).mean(axis=(0, 1))
    assert blue_green_red[2] > 240 and blue_green_red[:2].max() < 15


def test_a_seed_always_gives_the_same_bytes_and_another_seed_gives_others():
    once, again, other = (pictures(TARGET[:2], seed) for seed in (3, 3, 4))
    assert once == again
    assert once.keys() == other.keys()
    assert all(once[name].data != other[name].data for name in once)


def test_adding_classes_or_images_does_not_change_other_images():
    few = pictures(TARGET[3:5], train=2, test=1)
    for more in (pictures(TARGET, train=2, test=1), pictures(TARGET[3:5], train=5, test=4)):
        assert few.items() < more.items()


def test_all_images_differ():
    photos = pictures(TARGET, train=3, test=3)
    assert len({photo.data for photo in photos.values()}) == len(photos)


@pytest.mark.parametrize("models", [TARGET, SOURCE])
def test_any_two_classes_differ_in_the_same_scene(models):
    for seed in (0, 1):
        drawn = {draw(model, np.random.default_rng(seed)).tobytes() for model in models}
        assert len(drawn) == len(models)


def test_draw_depends_only_on_the_model_and_the_generator():
    first = draw(TARGET[0], np.random.default_rng(7))
    draw(SOURCE[0], np.random.default_rng(8))
    assert first.dtype == np.uint8 and first.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(first, draw(TARGET[0], np.random.default_rng(7)))


def test_colour_does_not_depend_on_the_class():
    def spread(by_class):  # variance between the means of classes, divided by the variance within classes
        return (by_class.mean(axis=1).var(axis=0) / by_class.var(axis=1).mean(axis=0)).max()

    count = 16
    means = np.array(
        [
            [draw(m, np.random.default_rng([k, i])).mean(axis=(0, 1)) for i in range(count)]
            for k, m in enumerate(TARGET)
        ]
    )
    assert spread(means) < 3 / count  # independent draws give 1 / count
