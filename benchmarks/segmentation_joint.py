"""Compartments of a real joint beside IPL's: a human finger joint by HR-pQCT, with Scanco IPL's contour.

python benchmarks/segmentation_joint.py [--json] [--picture FILE]

The data (ormir_xct's test joint) are looked for in ``../shared/data/finger-joint-hrpqct``.
The threshold is found by ``half_height``, which knows nothing of the contour; the sizes are ``HUMAN``, which
were chosen while looking at this joint.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from harness import Figure, arguments, show
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.segmentation.bone import HUMAN, Compartments, bone_pieces, compartments
from bonemet.segmentation.threshold import half_height, scan_histogram

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "finger-joint-hrpqct"
Mask = NDArray[np.bool_]


def joint() -> tuple[NDArray[np.int16], tuple[float, ...], Mask, Mask]:
    """Return the grey values, the spacing, IPL's contour and its trabecular mask on the joint's grid."""
    image = sitk.ReadImage(str(DATA / "GRAY_JOINT.nii.gz"))
    # The masks are cropped: their origins tell where they belong.
    masks = [
        sitk.Resample(sitk.ReadImage(str(DATA / name)), image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        for name in ("AUTOCONTOUR_IPL.nii.gz", "TRAB_SEG_IPL.nii.gz")
    ]
    contour, trabeculae = (sitk.GetArrayFromImage(m) > 0 for m in masks)
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], contour, trabeculae


def dice(a: Mask, b: Mask) -> float:
    """Return the Dice coefficient."""
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def figures() -> tuple[list[Figure], Compartments, NDArray[np.int16], Mask]:
    """Measure."""
    grey, spacing, contour, trabeculae = joint()
    start = time.process_time()
    threshold = half_height(*scan_histogram(grey)).halfway
    bone = bone_pieces(grey, threshold)
    found = compartments(bone, spacing, sizes=HUMAN)
    cpu = time.process_time() - start
    pieces, _ = ndimage.label(contour)
    sizes = np.bincount(pieces.ravel())
    first, second = np.argsort(sizes[1:])[::-1][:2] + 1
    # Of what we outline, that bone is meant whose contour by IPL is the nearer.
    apart = [ndimage.distance_transform_edt(pieces != k, sampling=spacing) for k in (first, second)]
    nearer = apart[0] <= apart[1]
    slices = [dice(a, b) for a, b in zip(found.outline, contour, strict=True)]
    # What IPL calls trabecular bone is brighter than this almost everywhere: its own, higher threshold.
    bright = float(np.percentile(grey[trabeculae], 1))
    ours = found.outline & (grey >= bright)
    inside = np.count_nonzero(trabeculae & found.outline) / np.count_nonzero(trabeculae)
    rows = [
        Figure("threshold by half-height (native units)", threshold, ""),
        Figure(
            "Dice of the outline, first bone",
            dice(found.outline & nearer, pieces == first),
            "",
            ">= 0.97",
            dice(found.outline & nearer, pieces == first) >= 0.97,
        ),
        Figure("Dice of the outline, second bone", dice(found.outline & ~nearer, pieces == second), ""),
        Figure(
            "Dice of the outline, both",
            dice(found.outline, contour),
            "",
            ">= 0.97",
            dice(found.outline, contour) >= 0.97,
        ),
        Figure("slices with Dice >= 0.97", float(np.mean(np.asarray(slices) >= 0.97)), ""),
        Figure("IPL's trabecular bone within the outline", inside, ""),
        Figure("Dice of bone as bright as IPL's, within the outline", dice(ours, trabeculae), ""),
        Figure(
            "share of the outline that is marrow space",
            float(found.trabecular.sum() / found.outline.sum()),
            "",
        ),
        Figure("processor time", cpu, "s"),
    ]
    return rows, found, grey, contour


def picture(path: Path, found: Compartments, grey: NDArray[np.int16], contour: Mask) -> None:
    """Draw some slices with IPL's contour red, the outline yellow and the endosteal contour blue."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(20, 10))
    for axis, z in zip(axes.flat, (8, 30, 60, 80, 95, 110, 130, 155), strict=True):
        axis.imshow(grey[z], cmap="gray", vmin=-400, vmax=2500)
        for mask, colour in ((contour, "red"), (found.outline, "yellow"), (found.trabecular, "deepskyblue")):
            axis.contour(mask[z], [0.5], colors=colour, linewidths=0.7)
        axis.set_title(f"slice {z}")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Print the figures."""
    parser = arguments("Compartments of a finger joint beside IPL's.")
    parser.add_argument("--picture", type=Path, help="also draw the contours")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not here; this benchmark needs the shared finger joint.")
    rows, found, grey, contour = figures()
    if options.picture is not None:
        picture(options.picture, found, grey, contour)
    show(rows, options, 1)


if __name__ == "__main__":
    main()
