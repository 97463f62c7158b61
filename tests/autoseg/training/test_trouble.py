import pytest
import torch

from autoseg.core.errors import InterruptedRun, ResourceError
from autoseg.training.batches import read_samples
from autoseg.training.trouble import device_failures, drawn_cases, find_skipped, no_number

NAN, INF = float("nan"), float("inf")


def test_the_cases_of_a_batch_are_those_that_are_read(setup_of):
    source = setup_of(seed=3).source("training")
    for epoch, step in ((0, 0), (0, 1), (4, 2)):
        read = [sample.case for sample in read_samples(source, epoch, step)]
        assert drawn_cases(source, epoch, step) == tuple(dict.fromkeys(read))


def test_steps_without_a_number_are_found_with_their_cases(setup_of):
    source = setup_of().source("training")
    addresses = [(2, 5), (2, 6), (2, 7), (3, 0)]
    losses = torch.tensor([0.5, NAN, 0.25, 0.125])
    norms = torch.tensor([1.0, NAN, INF, 2.0])
    first, second = find_skipped(lambda: source, addresses, losses, norms)
    assert (first.epoch, first.step) == (2, 6)
    cases = ", ".join(drawn_cases(source, 2, 6))
    assert str(first) == f"epoch 2, step 6 ({cases}): loss nan"
    assert (second.epoch, second.step, second.norm) == (2, 7, INF)
    assert str(second).endswith(": gradient norm inf")


def test_the_error_names_the_last_step_and_the_cases(setup_of):
    source = setup_of().source("training")
    found = find_skipped(
        lambda: source, [(0, 1), (0, 2)], torch.full((2,), NAN), torch.full((2,), NAN)
    )
    error = no_number(4, found)
    assert error.text.startswith("E-RUN-70 fold 4, epoch 0, step 2 (")
    assert "2 steps were skipped" in error.text
    assert error.rule == "E-RUN-70"
    assert all(case in error.hint for each in found for case in each.cases)


def test_too_little_memory_of_a_device_names_a_smaller_plan():
    small = pytest.raises(ResourceError, match="fold 2: the memory of cuda:1 in bfloat16 is")
    with small as error, device_failures(2, "cuda:1 in bfloat16"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore text")
    assert error.value.rule == "E-RES-65"
    assert "Tried to allocate 2 GiB)" in error.value.text
    assert "--gpu-memory-gib" in error.value.hint


def test_a_lost_device_can_be_resumed():
    lost = pytest.raises(InterruptedRun, match=r"cuda in bfloat16 was lost \(CUDA error: unspec")
    with lost, device_failures(0, "cuda in bfloat16"):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")


def test_other_errors_stay_what_they_are():
    with pytest.raises(ValueError, match="ours"), device_failures(0, "cpu"):
        raise ValueError("ours")
