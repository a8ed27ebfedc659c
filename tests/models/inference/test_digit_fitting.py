from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from models.data.mnist import DataSet
from models.errors import InvalidImage
from models.inference.digit_fitting import fit_digit
from models.inference.fitted_digit import SIDE


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(image.shape)
    mass = image.sum(dtype=float)
    return float((image * rows).sum() / mass), float((image * columns).sum() / mass)


def test_an_mnist_digit_stays_as_it_is(few: DataSet) -> None:
    # 160 of 200 are bit-identical; a tie in rounding moves a few by one pixel.
    differences = [np.abs(fit_digit(image).image.astype(int) - image.astype(int)).mean() for image in few.test.images]
    assert np.median(differences) < 0.5  # grey levels of 255; a digit moved by one pixel differs by more than 10


def test_an_enlarged_moved_and_inverted_digit_comes_back(few: DataSet) -> None:
    alike = []
    for image in few.test.images:
        large = np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BICUBIC))
        field = np.full((300, 400), 255, np.uint8)
        field[20:132, 250:362] = 255 - large
        fitted = fit_digit(field)
        assert fitted.inverted
        alike.append(np.corrcoef(fitted.image.ravel().astype(float), image.ravel().astype(float))[0, 1])
    assert np.median(alike) > 0.95  # measured .979 over 200 digits; moved by one pixel: .7


@pytest.mark.parametrize(("height", "width"), [(40, 10), (10, 40), (100, 100), (3, 3), (1, 28)])
def test_the_digit_fills_a_box_of_20_pixels_and_is_centred_by_mass(height: int, width: int) -> None:
    picture = np.zeros((200, 200), np.uint8)
    picture[7 : 7 + height, 90 : 90 + width] = 200
    fitted = fit_digit(picture)
    rows, columns = np.flatnonzero(fitted.image.any(1)), np.flatnonzero(fitted.image.any(0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == 20
    assert fitted.image.shape == (SIDE, SIDE)
    assert fitted.image.max() == 255
    assert not fitted.inverted
    assert all(abs(part - SIDE / 2) <= 0.51 for part in centre_of_mass(fitted.image))


def test_faint_shadows_on_the_paper_do_not_count_as_ink() -> None:
    picture = np.full((100, 100), 250, np.uint8)
    picture[5, 5] = 240
    picture[40:60, 45:55] = 10
    fitted = fit_digit(picture)
    assert np.flatnonzero(fitted.image.any(1)).size == 20


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_is_refused(level: int) -> None:
    with pytest.raises(InvalidImage, match="blank"):
        fit_digit(np.full((50, 50), level, np.uint8))
