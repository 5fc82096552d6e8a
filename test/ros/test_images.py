"""Image messages to numpy and back, and what is wrong with one said clearly."""

import sys
import types

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from rlt_ros.ros.images import (
    compressed_to_rgb,
    image_to_numpy,
    image_to_rgb,
    numpy_to_image,
)

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def image(pixels, encoding_of_pixels, **changes):
    message = numpy_to_image(np.ascontiguousarray(pixels), Header(frame_id='camera'), encoding_of_pixels)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ('encoding', 'pixels', 'rgb'),
    [
        ('rgb8', RGB, RGB),
        ('8UC3', RGB, RGB),
        ('bgr8', RGB[..., ::-1], RGB),
        ('rgba8', np.dstack([RGB, RGB[..., 0]]), RGB),
        ('bgra8', np.dstack([RGB[..., ::-1], RGB[..., 0]]), RGB),
        ('mono8', RGB[..., 0], np.dstack([RGB[..., 0]] * 3)),
        ('8UC1', RGB[..., 0], np.dstack([RGB[..., 0]] * 3)),
        ('mono16', RGB[..., 0].astype(np.uint16) * 256, np.dstack([RGB[..., 0]] * 3)),
    ],
)
def test_every_encoding_gives_the_same_colours(encoding, pixels, rgb):
    message = image(pixels, encoding)
    assert message.header.frame_id == 'camera'
    np.testing.assert_array_equal(image_to_rgb(message), rgb)
    np.testing.assert_array_equal(image_to_numpy(message), pixels)


@pytest.mark.parametrize(('encoding', 'dtype'), [('16UC1', np.uint16), ('32FC1', np.float32)])
def test_depth_keeps_its_numbers_in_either_byte_order_and_has_no_colour(encoding, dtype):
    depth = np.arange(35, dtype=dtype).reshape(5, 7) * 1000
    np.testing.assert_array_equal(image_to_numpy(image(depth, encoding)), depth)
    swapped = image(depth, encoding, is_bigendian=sys.byteorder == 'little', data=depth.byteswap().tobytes())
    np.testing.assert_array_equal(image_to_numpy(swapped), depth)
    with pytest.raises(ValueError, match='no colours'):
        image_to_rgb(swapped)


def test_row_padding_is_dropped():
    padded = np.zeros((5, 32), np.uint8)
    padded[:, :21] = RGB.reshape(5, 21)
    np.testing.assert_array_equal(image_to_rgb(image(RGB, 'rgb8', step=32, data=padded.tobytes())), RGB)


@pytest.mark.parametrize(
    'changes',
    [
        {'height': 6},
        {'width': 8},
        {'width': 0},
        {'height': 2**32 - 1, 'step': 2**32 - 1},
        {'step': 20},
        {'step': 0},
        {'data': b''},
        {'data': RGB.tobytes()[:-1]},
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match=r'px'):
        image_to_rgb(image(RGB, 'rgb8', **changes))


def test_unknown_encoding_without_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    with pytest.raises(ValueError, match='"bayer_rggb8" needs cv_bridge'):
        image_to_rgb(image(RGB[..., 0], 'mono8', encoding='bayer_rggb8'))


@pytest.mark.parametrize(('result', 'works'), [(RGB, True), (RGB[:2], False), (None, False)])
def test_unknown_encoding_with_cv_bridge(monkeypatch, result, works):
    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            if result is None:
                raise RuntimeError('broken build')
            return result

    monkeypatch.setitem(sys.modules, 'cv_bridge', types.SimpleNamespace(CvBridge=CvBridge))
    message = image(RGB[..., 0], 'mono8', encoding='bayer_rggb8')
    if works:
        np.testing.assert_array_equal(image_to_rgb(message), RGB)
    else:
        with pytest.raises(ValueError, match='cv_bridge'):
            image_to_rgb(message)


def test_compressed_round_trip_and_rubbish():
    smooth = np.full((48, 64, 3), 40, np.uint8)
    smooth[..., 0] = np.linspace(0, 255, 64)
    jpeg = cv2.imencode('.jpg', smooth[..., ::-1])[1].tobytes()
    back = compressed_to_rgb(CompressedImage(format='rgb8; jpeg compressed bgr8', data=jpeg))
    assert back.shape == smooth.shape
    assert np.abs(back.astype(int) - smooth).mean() < 3
    for data in (b'', b'no jpeg at all', jpeg[:100]):
        with pytest.raises(ValueError, match='cannot be decoded'):
            compressed_to_rgb(CompressedImage(format='jpeg', data=data))


@pytest.mark.parametrize(
    ('pixels', 'encoding'), [(RGB, 'mono8'), (RGB[..., 0], 'rgb8'), (RGB.astype(float), 'rgb8'), (RGB, 'x')]
)
def test_pixels_that_do_not_fit_an_encoding_are_refused(pixels, encoding):
    with pytest.raises(ValueError, match='encoding'):
        numpy_to_image(pixels, Header(), encoding)


def test_an_image_of_one_channel_may_have_two_or_three_dimensions():
    assert image(RGB[..., :1], 'mono8') == image(RGB[..., 0], 'mono8')
    assert isinstance(image(RGB, 'rgb8'), Image)
