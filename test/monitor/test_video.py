"""The cameras as a video."""

import cv2
import numpy as np

from rlt_ros.monitor.video import Video


def test_cameras_stand_side_by_side_and_earlier_videos_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr('rlt_ros.monitor.video.FILE_SECONDS', 1)
    for _ in range(2):
        video = Video(tmp_path, ['wrist', 'base'], 96, 10.0)
        red = np.full((96, 96, 3), [200, 0, 0], np.uint8)
        for i in range(15):
            video.add([red, None if i == 14 else red], f'{i} steps')
        video.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'cameras-{i}.mp4' for i in (1, 2, 3, 4)]
    lengths = []
    for i in (1, 2, 3, 4):
        capture, frames = cv2.VideoCapture(str(tmp_path / f'cameras-{i}.mp4')), []
        while (read := capture.read())[0]:
            frames.append(read[1])
        lengths.append(len(frames))
    assert lengths == [10, 5, 10, 5]
    height, width = frames[-1].shape[:2]
    assert (width, height) == (576, 320)
    left, right = frames[-1][200, 144].astype(int), frames[-1][200, 432].astype(int)
    assert np.abs(left - [0, 0, 200]).max() < 30 and right.max() < 30
