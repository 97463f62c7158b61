"""Resample what `resampling.py` left in a folder as nnU-Net does; runs in nnU-Net's environment.

    python resampling_peer.py FOLDER

``FOLDER/grids.json`` lists what to do; the inputs are ``NAME.npy`` and the results are written to
``NAME.nnunet.npy``. Prints one JSON object: the shortest time of each by its name, seconds.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape


def main() -> None:
    """Resample all and print the times."""
    folder = Path(sys.argv[1])
    seconds = {}
    for grid in json.loads((folder / "grids.json").read_text()):
        voxels = np.load(folder / f"{grid['name']}.npy")[None]
        times = []
        for _ in range(grid["repeats"]):
            began = time.perf_counter()
            resampled = resample_data_or_seg_to_shape(
                voxels.copy(),
                grid["wanted"],
                grid["spacing"],
                grid["target"],
                is_seg=grid["is_segmentation"],
                order=1 if grid["is_segmentation"] else 3,
                order_z=0,
                force_separate_z=None,
            )
            times.append(time.perf_counter() - began)
        seconds[grid["name"]] = min(times)
        np.save(folder / f"{grid['name']}.nnunet.npy", np.asarray(resampled)[0])
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
