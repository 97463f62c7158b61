"""Parts of ``prediction.py`` that need a process of their own.

    prediction_parts.py model DATASET_FOLDER            a model folder with random weights
    prediction_parts.py start MODEL IMAGE OUTPUT        seconds until the network's first pass
    prediction_parts.py export LOGITS.npy Z Y X         seconds from logits to labels, best of 5
    prediction_parts.py many_labels                     118 classes on 512x512x600: peak memory

Each prints one JSON line.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]


def write_model(folder: Path) -> Json:
    """Write fold 0 of the dataset's 3d_fullres with random weights."""
    import torch
    from safetensors.torch import save

    from autoseg.core.model import FoldRecord, ModelDescription
    from autoseg.core.training_config import PRESETS
    from autoseg.io import documents, files
    from autoseg.io.workspace import DatasetFolder
    from autoseg.networks.assembler import build_network

    dataset = DatasetFolder(path=folder)
    plan = dataset.read_plan("default")
    description = ModelDescription(
        autoseg_version="0",
        dataset=dataset.read_dataset().description,
        plan=plan,
        configuration_name="3d_fullres",
        training=PRESETS["full"],
        decisions=(),
    )
    torch.manual_seed(0)
    network = build_network(
        description.configuration.arch,
        description.topology,
        channels_in=description.channels_in,
        channels_out=description.dataset.labels.channels,
    )
    data = save(network.state_dict())
    record = FoldRecord(
        fold=dataset.read_splits().folds[0],
        weights_digest=files.digest(data),
        steps=0,
        minutes=0.0,
        device="cpu",
    )
    model = dataset.run("default", "3d_fullres", "random")
    documents.write(model / "model.json", description)
    files.write_atomically(model / "fold_0" / "weights.safetensors", data)
    documents.write(model / "fold_0" / "fold.json", record)
    return {"model": str(model)}


FIRST_PASS = """
import sys, time
from autoseg.cli.main import main
import importlib.abc, importlib.util

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "autoseg.networks.assembler":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def patched(module):
            run(module)
            def forward(self, x, levels=1):
                print(time.time(), flush=True)
                sys.stdout.flush()
                import os
                os._exit(0)
            module.UNet.forward = forward
        spec.loader.exec_module = patched
        return spec

sys.meta_path.insert(0, Watch())
sys.exit(main(sys.argv[1:]))
"""


def time_start(model: Path, image: Path, output: Path) -> Json:
    """Time from the start of the process until the network is called."""
    line = [sys.executable, "-c", FIRST_PASS, "predict", "-i", str(image), "-o", str(output)]
    began = time.time()
    done = subprocess.run(
        [*line, "-m", str(model), "--device", "cpu", "--quiet"],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return {"seconds": round(float(done.stdout.splitlines()[-1]) - began, 2)}


def time_export(path: Path, shape: tuple[int, ...]) -> Json:
    """Time labels from logits, as the prediction has them: slabs of tiles of 64 planes."""
    import torch

    from autoseg.core.labels import Labels
    from autoseg.inference.labelling import grid_axes, label_slabs

    logits = torch.from_numpy(np.load(path))
    labels = Labels(names=("background", "a", "b", "c", "d"))
    axes = grid_axes(logits.shape[1:], shape, order=1, separate=None)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        starts = range(0, logits.shape[1], 32)
        slabs = (logits[:, max(0, start - 1) : start + 32] for start in starts)
        whole = np.empty(shape, np.uint8)
        done = 0
        for planes in label_slabs(slabs, axes, labels):
            whole[done : done + len(planes)] = planes.numpy()
            done += len(planes)
        times.append(time.perf_counter() - began)
    naive = torch.nn.functional.interpolate(logits[None], size=shape, mode="trilinear")[0]
    differs = int((naive.argmax(0).numpy() != whole).sum())
    return {"seconds": round(min(times), 3), "labels_that_differ_from_all_logits": differs}


def many_labels() -> Json:
    """Predict 118 classes with a thin network on 273x273x400 and export onto 512x512x600."""
    import torch

    from autoseg.core.labels import Labels
    from autoseg.core.network_presets import PRESETS
    from autoseg.core.plan import Topology
    from autoseg.inference.labelling import grid_axes, label_slabs
    from autoseg.inference.predictor import predict_slabs
    from autoseg.inference.tiling import Tiling
    from autoseg.inference.workplace import workplace
    from autoseg.networks.assembler import build_network
    from autoseg.networks.device import choose_device

    topology = Topology(
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 4,
        features=(8, 16, 32, 64),
    )
    torch.manual_seed(0)
    device = choose_device("cpu")
    arch = next(iter(PRESETS.values()))
    network = build_network(arch, topology, channels_in=1, channels_out=118).eval()
    place = workplace([network], device, axes=3)
    image = np.random.default_rng(0).normal(size=(1, 400, 273, 273)).astype(np.float32)
    shape = (600, 512, 512)
    axes = grid_axes(image.shape[1:], shape, order=1, separate=None)
    labels = Labels(names=tuple(f"label {n}" for n in range(118)))
    whole = np.empty(shape, np.uint8)
    began, done = time.perf_counter(), 0
    tiling = Tiling(tile=(112, 112, 128), mirror_axes=())
    for planes in label_slabs(predict_slabs(place, image, tiling), axes, labels):
        whole[done : done + len(planes)] = planes.numpy()
        done += len(planes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": round(time.perf_counter() - began, 1), "peak_gib": round(peak, 2)}


def main() -> None:
    """Do one part."""
    verb, *rest = sys.argv[1:]
    parts = {
        "model": lambda: write_model(Path(rest[0])),
        "start": lambda: time_start(Path(rest[0]), Path(rest[1]), Path(rest[2])),
        "export": lambda: time_export(Path(rest[0]), tuple(int(n) for n in rest[1:])),
        "many_labels": many_labels,
    }
    print(json.dumps(parts[verb]()))


if __name__ == "__main__":
    main()
