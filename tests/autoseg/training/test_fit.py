import pytest
import torch

from autoseg.core.errors import ResourceError
from autoseg.execution.machine import Machine
from autoseg.networks.device import Device
from autoseg.training import fit
from autoseg.training.fit import check_fits, free_bytes
from autoseg.training.memory import step_bytes

CPU = Device(torch_device=torch.device("cpu"), autocast=None)


def needed_by(setup):
    description = setup.description
    return step_bytes(
        description.configuration,
        channels=1,
        labels=description.dataset.labels,
        training=description.training,
        half_precision=False,
        device="cpu",
    )


def test_a_step_that_fits_exactly_is_trained_and_one_byte_less_is_refused(setup_of, monkeypatch):
    setup = setup_of()
    needed = needed_by(setup)
    monkeypatch.setattr(fit, "free_bytes", lambda device: needed)
    check_fits(setup.description, CPU)
    monkeypatch.setattr(fit, "free_bytes", lambda device: needed - 1)
    with pytest.raises(
        ResourceError, match="3d_fullres: a training step of batch 2 needs"
    ) as error:
        check_fits(setup.description, CPU)
    assert error.value.rule == "E-RES-65"
    assert "autoseg plan --gpu-memory-gib 0.5 --plan small" in error.value.hint
    check_fits(setup.description, CPU, processes=2)


def test_the_plan_that_would_fit_is_named_in_whole_halves(setup_of, monkeypatch):
    monkeypatch.setattr(fit, "step_bytes", lambda *_, **__: 9 * 2**30)
    monkeypatch.setattr(fit, "free_bytes", lambda device: int(7.9 * 2**30))
    with pytest.raises(
        ResourceError, match=r"needs 9 GiB of memory; cpu in float32, channels last has 7\.9"
    ) as error:
        check_fits(setup_of().description, CPU)
    assert "--gpu-memory-gib 7.5 " in error.value.hint


def test_a_cpu_has_what_this_process_may_use(monkeypatch):
    monkeypatch.setattr(fit, "inspect_machine", lambda: Machine(cores=2, memory_bytes=2**30))
    assert free_bytes(CPU) == Machine(cores=2, memory_bytes=2**30).budget_bytes < 2**30


def test_nobody_can_tell_what_another_device_has(setup_of):
    other = Device(torch_device=torch.device("meta"), autocast=None)
    assert free_bytes(other) is None
    check_fits(setup_of().description, other)
