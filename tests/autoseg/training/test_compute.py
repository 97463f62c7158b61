from dataclasses import replace

import pytest
import torch

from autoseg.core.errors import DocumentError
from autoseg.execution.processor import processor_name
from autoseg.io import documents
from autoseg.networks.device import Device
from autoseg.training.compute import (
    ROUNDS,
    Compute,
    choose_compute,
    find_compute,
    machine_name,
    prepare_step,
)

FLOAT32 = Device(torch_device=torch.device("cpu"), autocast=None)
HALF = replace(FLOAT32, autocast=torch.bfloat16)
CUDA = Device(torch_device=torch.device("cuda", 1), autocast=torch.bfloat16)
FOUND = Compute(
    kind="cpu",
    precision="bfloat16",
    channels_last=True,
    compiled=False,
    fused=False,
    threads=2,
    measured=(("float32, channels last", 0.5), ("bfloat16, channels last", 0.25)),
)


class Machine:
    """Makes steps that take given times, seconds, by the words for how they are computed."""

    def __init__(self, **seconds):
        self.seconds = seconds
        self.made = []

    def __call__(self, description, device):
        words = {
            torch.bfloat16: "half", torch.float16: "float16", None: "full"
        }[device.autocast]  # fmt: skip
        words += "_last" * device.channels_last + "_compiled" * device.compiled

        def step():
            self.made.append(words)
            return self.seconds[words]

        return step


def chosen(device, **seconds):
    return choose_compute(None, device, prepare=Machine(**seconds))


@pytest.mark.parametrize(
    ("seconds", "precision", "channels_last"),
    [
        pytest.param(
            {"full_last": 1.0, "half_last": 0.5, "half": 0.6}, "bfloat16", True, id="half-wins"
        ),
        pytest.param(
            {"full_last": 1.0, "half_last": 1.5, "full": 1.2}, "float32", True, id="half-loses"
        ),
        pytest.param(
            {"full_last": 1.0, "half_last": 0.95, "full": 0.98}, "float32", True, id="hardly-faster"
        ),
        pytest.param(
            {"full_last": 1.0, "half_last": 0.5, "half": 0.4}, "bfloat16", False, id="contiguous"
        ),
    ],
)
def test_cpu_takes_what_is_clearly_faster_on_top_of_what_won(seconds, precision, channels_last):
    found = chosen(HALF, **seconds)
    assert (found.precision, found.channels_last) == (precision, channels_last)
    assert (found.kind, found.compiled, found.fused) == ("cpu", False, False)
    assert found.threads == torch.get_num_threads()


def test_cpu_without_sound_half_precision_is_not_asked_for_it():
    found = chosen(FLOAT32, full_last=0.5, full=1.0)
    assert found.precision == "float32"
    assert found.measured == (("float32, channels last", 0.5), ("float32, contiguous", 1.0))


def test_ways_take_turns_and_the_first_step_of_each_does_not_count():
    machine = Machine(full_last=0.2, full=0.1)
    choose_compute(None, FLOAT32, prepare=machine)
    assert machine.made == ["full_last", "full"] * (1 + ROUNDS)


def test_slow_steps_are_compared_once():
    machine = Machine(full_last=3.0, full=3.0)
    choose_compute(None, FLOAT32, prepare=machine)
    assert machine.made == ["full_last", "full"] * 2


@pytest.fixture
def no_cuda_seeds(monkeypatch):
    """The part of CUDA that is called on a machine with it: its random state is left alone."""
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: torch.no_grad())


@pytest.mark.usefixtures("no_cuda_seeds")
def test_gpu_keeps_half_precision_and_compiles_what_gets_faster():
    seconds = {"half": 1.0, "half_last": 0.8, "half_last_compiled": 0.5}
    found = chosen(CUDA, **seconds)
    assert (found.precision, found.channels_last, found.compiled) == ("bfloat16", True, True)
    assert (found.kind, found.fused) == ("cuda", True)
    float16 = replace(CUDA, autocast=torch.float16)
    found = chosen(float16, float16=1.0, float16_last=1.0, float16_compiled=1.0)
    assert (found.precision, found.channels_last, found.compiled) == ("float16", False, False)


@pytest.mark.usefixtures("no_cuda_seeds")
def test_network_that_cannot_be_compiled_is_not(caplog):
    def prepare(description, device):
        if device.compiled:
            raise RuntimeError("no Triton")
        return lambda: 1.0

    assert not choose_compute(None, CUDA, prepare=prepare).compiled
    assert "dropped='bfloat16, compiled, fused optimizer, contiguous'" in caplog.text
    assert "no Triton" in caplog.text


def test_what_fails_without_a_choice_is_not_hidden():
    def prepare(description, device):
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        choose_compute(None, FLOAT32, prepare=prepare)


def test_nothing_is_tried_on_other_devices():
    device = Device(torch_device=torch.device("mps"), autocast=None, channels_last=False)
    found = choose_compute(None, device, prepare=None)
    assert (found.kind, found.channels_last, found.measured) == ("mps", False, ())


def test_cpu_is_measured_and_neither_cuda_nor_random_state_is_touched(setup_of):
    state = torch.get_rng_state()
    found = choose_compute(setup_of().description, FLOAT32)
    assert found.precision == "float32"
    assert [name for name, _ in found.measured] == ["float32, channels last", "float32, contiguous"]
    assert all(seconds > 0 for _, seconds in found.measured)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.cuda.is_initialized()


@pytest.mark.parametrize("device", [FLOAT32, HALF, replace(HALF, channels_last=False)])
def test_real_steps_are_made_and_told_in_seconds(setup_of, device):
    step = prepare_step(setup_of().description, device)
    assert 0 < step() < 60


def test_device_computes_as_was_found():
    device = FOUND.applied_to(Device(torch_device=torch.device("cpu"), autocast=None))
    assert device == HALF
    last = replace(FOUND, precision="float16", channels_last=False, compiled=True, fused=True)
    assert str(last.applied_to(CUDA)) == "cuda:1 in float16, compiled, fused optimizer"


def test_line_says_what_was_found_and_why():
    assert FOUND.title == (
        "cpu in bfloat16, channels last, 2 threads (measured: float32, channels last 0.5 s; "
        "bfloat16, channels last 0.25 s)"
    )
    assert (
        replace(FOUND, threads=1, measured=()).title == "cpu in bfloat16, channels last, 1 thread"
    )


def test_it_is_kept_as_a_document(tmp_path):
    documents.write(tmp_path / "compute.json", FOUND)
    assert documents.read(tmp_path / "compute.json", Compute) == FOUND


def test_a_way_is_found_of_the_same_machine_and_threads_only(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    (tmp_path / "0.json").write_text("{broken")
    documents.write(tmp_path / "1.json", replace(FOUND, machine="other"))
    documents.write(tmp_path / "2.json", replace(FOUND, machine="this", threads=3))
    documents.write(tmp_path / "3.json", replace(FOUND, machine="this", precision="float32"))
    documents.write(tmp_path / "4.json", replace(FOUND, machine="this"))
    files = [tmp_path / f"{number}.json" for number in range(-1, 5)]
    found = find_compute(files, "this")
    assert found == replace(FOUND, machine="this", precision="float32")
    assert find_compute(files[:4], "this") is None


def test_machine_says_what_its_processor_can_compute_with():
    name = machine_name(FLOAT32)
    assert name.startswith(processor_name())
    assert name.endswith((", AVX512", ", AVX2", ", DEFAULT", ", NEON", ", SVE256", ", NO AVX"))


def test_no_threads_are_refused():
    with pytest.raises(DocumentError, match="threads is 0; it must be at least 1"):
        replace(FOUND, threads=0)
