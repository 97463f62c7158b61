import numpy as np
import pytest
import torch
from torch import nn

from autoseg.core.errors import ResourceError
from autoseg.inference.predictor import predict_logits
from autoseg.inference.tiling import Tiling
from autoseg.inference.workplace import CPU_VOXELS, Workplace, workplace
from autoseg.networks.device import Device

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
TILING = Tiling(tile=(4, 6), mirror_axes=(1,))


class Small(nn.Module):
    """A network that takes a limited number of patches at once; it doubles its input."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.batches = []

    def forward(self, x, levels=1):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.batches.append(len(x))
        return [2 * x]


def image():
    return np.random.default_rng(5).normal(size=(1, 9, 20)).astype(np.float32)


def place_of(network, patches, **options):
    return Workplace(
        networks=(network,),
        device=CPU,
        most_voxels=patches * 24,
        **({"sums_on": torch.device("cpu")} | options),
    )


def test_patches_per_pass_are_halved_until_they_fit_and_nothing_is_lost():
    network = Small(3)
    place = place_of(network, 14)
    logits = predict_logits(place, image(), TILING)
    np.testing.assert_allclose(logits, 2 * image(), rtol=1e-6)
    assert place.patches((4, 6)) == 3
    assert place.notes == [
        "cpu ran out of memory: 7 patches per pass instead of 14",
        "cpu ran out of memory: 3 patches per pass instead of 7",
    ]
    assert max(network.batches) == 3


def test_sums_move_to_the_host_in_the_middle_of_an_image():
    class Later(Small):
        def forward(self, x, levels=1):
            if len(self.batches) == 3 and place.sums_on.index == 0:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(x)

    place = place_of(Later(1), 1, sums_on=torch.device("cpu:0"))  # another one by its name
    logits = predict_logits(place, image(), TILING)
    np.testing.assert_allclose(logits, 2 * image(), rtol=1e-6)
    assert place.sums_on == torch.device("cpu")
    assert place.notes == ["cpu ran out of memory: logits are added up in the host's memory"]


def test_sums_without_room_on_the_device_lie_on_the_host(monkeypatch):
    zeros = torch.zeros

    place = place_of(Small(4), 4, sums_on=torch.device("cpu:0"))

    def short_of_memory(shape, **options):
        if len(shape) > 2 and place.sums_on.index == 0:  # the sums of all channels
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return zeros(shape, **options)

    monkeypatch.setattr(torch, "zeros", short_of_memory)
    logits = predict_logits(place, image(), TILING)
    np.testing.assert_allclose(logits, 2 * image(), rtol=1e-6)
    assert place.sums_on == torch.device("cpu")


def test_the_last_resort_is_the_cpu():
    device = Device(torch_device=torch.device("meta"), autocast=None)
    network = nn.Conv2d(1, 1, 1)
    place = Workplace(
        networks=(network,), device=device, sums_on=torch.device("cpu"), most_voxels=1
    )
    place.make_do(torch.OutOfMemoryError("CUDA out of memory."), (4, 6))
    assert place.device.torch_device == torch.device("cpu")
    assert place.notes == ["meta ran out of memory: the prediction goes on on the CPU"]


class Weights(nn.Module):
    """A network that counts how often it moves, and fits on a device with few others."""

    def __init__(self, factor, room):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(factor)))
        self.room = room
        self.moves = []

    def to(self, *place, **form):
        if place:
            kind = str(place[0])
            self.room.discard(self)
            if kind == "cpu:0":
                if len(self.room) == 1:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                self.room.add(self)
            self.moves.append(kind)
        return self

    def forward(self, x, levels=1):
        assert self in self.room
        return [self.weight * x]


def test_weights_of_folds_that_do_not_fit_together_take_turns():
    room = set()
    networks = [Weights(factor, room) for factor in (1, 2, 6)]
    device = Device(torch_device=torch.device("cpu:0"), autocast=None)
    place = workplace(networks, device, axes=2)
    assert place.takes_turns
    assert place.notes == ["cpu:0 ran out of memory: the weights of 3 folds take turns on it"]
    logits = predict_logits(place, image(), TILING)
    np.testing.assert_allclose(logits, 3 * image(), rtol=1e-6)
    assert not room
    assert networks[2].moves[-2:] == ["cpu:0", "cpu"]


def test_with_nothing_left_to_try_the_lack_is_told():
    with pytest.raises(ResourceError, match=r"memory ran out with one patch of 4x6 vox") as error:
        predict_logits(place_of(Small(0), 2), image(), TILING)
    assert error.value.rule == "E-RES-65"


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Broken(nn.Module):
        def forward(self, x, levels=1):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        predict_logits(place_of(Broken(), 4), image(), TILING)


def test_a_cpu_takes_several_small_patches_and_one_large_one():
    place = workplace([nn.Identity()], CPU, axes=3)
    assert place.patches((40, 56, 40)) == CPU_VOXELS // 89600 == 5
    assert place.patches((64, 192, 160)) == 1
