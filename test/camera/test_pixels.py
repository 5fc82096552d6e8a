"""Pictures become square and small."""

import numpy as np

from rlt_ros.camera.pixels import to_square


def test_the_centre_of_a_wide_or_tall_picture_is_kept_and_averaged():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = [200, 100, 50]
    picture[::2, 20:40, 0] = 100
    for rgb in (picture, picture.transpose(1, 0, 2)):
        square = to_square(rgb, 10)
        assert square.shape == (10, 10, 3)
        assert (square == [150, 100, 50]).all()


def test_the_right_size_is_not_touched():
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    assert np.shares_memory(to_square(picture, 96), picture)
