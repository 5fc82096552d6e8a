"""sensor_msgs Image and CompressedImage to and from numpy, without a copy where the layout allows it."""

import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

# encoding -> type of a number, numbers per pixel
LAYOUT = {
    'rgb8': (np.uint8, 3),
    'bgr8': (np.uint8, 3),
    '8UC3': (np.uint8, 3),
    'rgba8': (np.uint8, 4),
    'bgra8': (np.uint8, 4),
    'mono8': (np.uint8, 1),
    '8UC1': (np.uint8, 1),
    'mono16': (np.uint16, 1),
    '16UC1': (np.uint16, 1),
    '32FC1': (np.float32, 1),
}
# encoding -> OpenCV's conversion to rgb. 8UC3 says nothing about colours; it is taken as rgb.
TO_RGB = {
    'bgr8': cv2.COLOR_BGR2RGB,
    'rgba8': cv2.COLOR_RGBA2RGB,
    'bgra8': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB,
    '8UC1': cv2.COLOR_GRAY2RGB,
}
LARGEST_SIDE = 16384  # px


def image_to_numpy(message: Image) -> np.ndarray:
    """The pixels as they are, (H, W) or (H, W, channels), in native byte order: a view where there is no padding.

    Raises ValueError for an unknown encoding or sizes that do not fit the data.
    """
    if message.encoding not in LAYOUT:
        raise ValueError(f'image encoding "{message.encoding}" is not known; known: {", ".join(LAYOUT)}')
    number, channels = LAYOUT[message.encoding]
    dtype = np.dtype(number)
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise ValueError(f'image of {width} x {height} px: each side must be 1 to {LARGEST_SIDE}')
    if step < row or len(message.data) != height * step:
        raise ValueError(
            f'{message.encoding} image of {width} x {height} px has step {step} and {len(message.data)} bytes; '
            f'needs step >= {row} and height x step bytes'
        )
    data = np.frombuffer(message.data, np.uint8).reshape(height, step)
    pixels = np.ascontiguousarray(data[:, :row]).view(dtype)
    if dtype.itemsize > 1 and bool(message.is_bigendian) != (sys.byteorder == 'big'):
        pixels = pixels.byteswap()
    return pixels if channels == 1 else pixels.reshape(height, width, channels)


def image_to_rgb(message: Image) -> np.ndarray:
    """Colours (H, W, 3) uint8, red first; grey images give three equal channels.

    Encodings unknown here (Bayer, YUV) go through cv_bridge where it is installed. Raises ValueError for anything else,
    also for depth images, which have no colours.
    """
    if message.encoding not in LAYOUT:
        return _with_cv_bridge(message)
    if message.encoding in ('16UC1', '32FC1'):
        raise ValueError(f'image encoding "{message.encoding}" holds no colours')
    pixels = image_to_numpy(message)
    if message.encoding == 'mono16':
        return cv2.cvtColor((pixels >> 8).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    conversion = TO_RGB.get(message.encoding)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion)


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Colours (H, W, 3) uint8, red first, of a JPEG or PNG. Raises ValueError if it cannot be decoded."""
    try:
        pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR) if len(message.data) else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError(f'compressed image "{message.format}" of {len(message.data)} bytes cannot be decoded')
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def numpy_to_image(pixels: np.ndarray, header: Header, encoding: str = 'rgb8') -> Image:
    """An Image message of pixels (H, W) or (H, W, channels). Raises ValueError if they do not fit the encoding."""
    if encoding not in LAYOUT:
        raise ValueError(f'image encoding "{encoding}" is not known; known: {", ".join(LAYOUT)}')
    number, channels = LAYOUT[encoding]
    if pixels.dtype != number or pixels.ndim not in (2, 3) or (*pixels.shape, 1)[2] != channels:
        raise ValueError(f'pixels {pixels.dtype} {list(pixels.shape)} do not fit image encoding {encoding}')
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=sys.byteorder == 'big')
    message.step = width * channels * pixels.dtype.itemsize
    message.data = pixels.tobytes()
    return message


def _with_cv_bridge(message: Image) -> np.ndarray:
    """Other encodings, by cv_bridge."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise ValueError(
            f'image encoding "{message.encoding}" needs cv_bridge, which is not installed; known: {", ".join(LAYOUT)}'
        ) from None
    try:
        pixels = np.asarray(CvBridge().imgmsg_to_cv2(message, 'rgb8'))
    except Exception as error:  # cv_bridge raises a class of its own, broken builds anything
        raise ValueError(f'cv_bridge cannot convert image encoding "{message.encoding}": {error}') from None
    if pixels.dtype != np.uint8 or pixels.shape != (message.height, message.width, 3):
        raise ValueError(f'cv_bridge gave {pixels.dtype} {list(pixels.shape)} for image encoding "{message.encoding}"')
    return pixels
