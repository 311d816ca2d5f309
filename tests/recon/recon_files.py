"""A raw scan on disk, written without the package's own writers."""

from pathlib import Path

import tifffile
from recon_phantom import intensities, project


def write_scan(folder: Path, geo, *, name="mouse", photons=None, white=40000.0, images=None, **changes):
    """Write projections and a log as a SkyScan 1276 does."""
    folder.mkdir(parents=True, exist_ok=True)
    if images is None:
        images = intensities(project(geo), white, photons)
    for view, image in enumerate(images):
        tifffile.imwrite(folder / f"{name}{view:08d}.tif", image)
    entries = {
        "System": {"Scanner": "SkyScan1276"},
        "Acquisition": {
            "Filename Prefix": name,
            "Number Of Files": len(images),
            "Number Of Rows": geo.rows,
            "Number Of Columns": geo.columns,
            "Optical Axis (line)": geo.rows - 1 - geo.optical_axis_row,  # counted from the bottom
            "Image Pixel Size (um)": f"{geo.pixel_mm * 1000:.6f}",
            "Object to Source (mm)": f"{geo.sod_mm:.6f}",
            "Camera to Source (mm)": f"{geo.sdd_mm:.6f}",
            "Rotation Step (deg)": f"{abs(geo.step_deg):.3f}",
            "Rotation Direction": "CC",
            "Flat Field Correction": "ON",
            "Reference Intensity": f"{white:g}",
            **changes,
        },
    }
    lines = []
    for title, values in entries.items():
        lines.append(f"[{title}]")
        lines += [f"{k}={v}" for k, v in values.items() if v is not None]
    (folder / f"{name}.log").write_bytes(("\r\n".join(lines) + "\r\n").encode("latin-1"))
    return images
