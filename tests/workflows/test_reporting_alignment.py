"""Checkerboard and flicker: both bones are in them, and what differs shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from bonemet.reporting.alignment import checkerboard, flicker


def bone(shift=0):
    out = np.zeros((60, 30, 30), np.uint8)
    out[5:55, 10 + shift : 20 + shift, 10:20] = 200
    return out


def frames(data):
    image = Image.open(io.BytesIO(data))
    found = []
    for n in range(image.n_frames):
        image.seek(n)
        found.append(np.asarray(image.convert("L"), float))
    return found


def test_flicker_shows_one_bone_and_then_the_other():
    still = frames(flicker(bone(), bone(), (0.1, 0.1, 0.1), 30))
    first, second = frames(flicker(bone(), bone(3), (0.1, 0.1, 0.1), 30))
    assert first.shape == second.shape
    assert np.abs(first - second).max() > 100
    assert all(np.array_equal(frame, still[0]) for frame in still)
    assert np.array_equal(first, still[0])


def test_checkerboard_takes_from_both():
    same, off, neither = (
        checkerboard(bone(), other, (0.1, 0.1, 0.1), 30) for other in (bone(), bone(3), bone() * 0)
    )
    pictures = [np.asarray(Image.open(io.BytesIO(p)).convert("L"), float) for p in (same, off, neither)]
    bright = [(p < 250).sum() and p.sum() for p in pictures]
    assert np.abs(pictures[0] - pictures[1]).max() > 100
    assert bright[2] < bright[0]
    assert checkerboard(bone(), bone(), (0.1, 0.1, 0.1), 30) == same
