"""Any camera's picture as the VLA sees it: square and small."""

import cv2
import numpy as np


def to_square(rgb: np.ndarray, size: int) -> np.ndarray:
    """Pixels (size, size, 3) of a picture (H, W, 3): centre crop, area interpolation; no copy at the right size."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = rgb[top : top + side, left : left + side]
    return square if side == size else cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
