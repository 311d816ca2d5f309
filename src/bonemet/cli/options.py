"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it holds something else.")]
Workers = Annotated[
    int | None, typer.Option(help="Threads to use; all cores by default.", show_default=False)
]
MemoryGb = Annotated[float, typer.Option(help="Memory that may be used, in GB.")]
VoxelUm = Annotated[
    float | None,
    typer.Option(help="Voxel size in micrometres; overrides log and header.", show_default=False),
]
Threshold = Annotated[
    float | None, typer.Option(help="Bone is grey >= T; without it, Otsu's.", show_default=False)
]
Regions = Annotated[
    Path | None,
    typer.Option(help="TOML file with [[regions]]; the published ones by default.", show_default=False),
]
