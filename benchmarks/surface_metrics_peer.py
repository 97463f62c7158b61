"""What MeshMetrics finds for a pair of masks; run by ``surface_metrics.py`` in its environment."""

import json
import sys

import numpy as np
from MeshMetrics import DistanceMetrics


def main() -> None:
    """Measure the pair in a file and print one JSON line."""
    with np.load(sys.argv[1]) as pair:
        first, second, spacing = (pair[name] for name in ("first", "second", "spacing"))
    metrics = DistanceMetrics(verbose=False)
    metrics.set_input(first, second, spacing=tuple(float(edge) for edge in spacing))
    found = {
        "hd95_mm": metrics.hd(percentile=95),
        "assd_mm": metrics.assd(),
        "nsd": metrics.nsd(tau=1.01 * float(np.median(spacing))),
        "nsd_at_one_voxel": metrics.nsd(tau=float(np.median(spacing))),
    }
    print(json.dumps({name: float(value) for name, value in found.items()}))


if __name__ == "__main__":
    main()
