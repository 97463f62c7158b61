"""Raw data to preprocessed store: autoseg against nnU-Net, in one run.

    python benchmarks/plan_and_preprocess.py DATASET SCRATCH --peer PYTHON --script peer_nnunet.py

DATASET is in the Decathlon layout. Both use two workers and prepare 3d_fullres;
autoseg prepares 2d besides.
"""

import argparse
import json
from pathlib import Path

from commands import empty_folder, run_autoseg, run_peer


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--peer", type=Path, required=True, help="Python of nnU-Net's environment.")
    parser.add_argument("--script", type=Path, required=True, help="peer_nnunet.py")
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    number = "".join(c for c in options.dataset.resolve().name.split("_")[0] if c.isdigit())

    run_peer(options.peer, options.script, "convert", options.dataset, scratch / "peer")
    peer = run_peer(options.peer, options.script, "prepare", scratch / "peer", number)
    ours = run_autoseg(
        "plan_and_preprocess", "-d", options.dataset, "--workspace", scratch / "ours",
        "--workers", "2", "--json",
    )  # fmt: skip
    print(
        json.dumps(
            {
                "autoseg_seconds": round(ours.seconds, 2),
                "nnunet_seconds": peer["seconds"],
                "ratio": round(float(str(peer["seconds"])) / ours.seconds, 2),
                "nnunet_steps": peer,
                "autoseg": json.loads(ours.output),
            }
        )
    )


if __name__ == "__main__":
    main()
