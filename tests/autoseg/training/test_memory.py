import gc
import resource
from dataclasses import replace

import pytest
import torch

from autoseg.core.errors import PlanError, UsageError
from autoseg.core.labels import Labels
from autoseg.core.network_presets import preset
from autoseg.core.network_spec import Arch, Block
from autoseg.core.training_config import PRESETS
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, place_network
from autoseg.training.batches import Batch
from autoseg.training.memory import (
    LOWERED,
    RAISED,
    TRACED,
    StepMemory,
    TracedDevice,
    step_bytes,
    trace_step,
)
from autoseg.training.state import make_state
from autoseg.training.step import training_step

FULL = PRESETS["full"]
CPU = torch.device("cpu")
ONEDNN = ("aten::mkldnn_convolution", "aten::convolution_backward")
"""Operations that allocate nothing themselves but what oneDNN works with."""
RESIDUAL = Arch(encoder=Block(shortcut="residual", repeat=(1, 2)), decoder=Block(n=(1,)), stem=True)


def labels_of(count):
    return Labels(names=tuple(f"label {number}" for number in range(count)))


def predicted(configuration, **options):
    defaults = {"channels": 1, "labels": labels_of(3)}
    return step_bytes(configuration, **defaults | options)


def count_weights(configuration, channels, labels):
    with torch.device("meta"):
        network = build_network(
            configuration.arch, configuration.topology, channels_in=channels, channels_out=labels
        )
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [
        # Weights, average, gradients, momentum; and gradients with weight decay, in their use.
        pytest.param("sgd", 5, id="sgd"),
        # Weights, average, gradients and two moments; and the root of the second.
        pytest.param("adamw", 6, id="adamw"),
    ],
)
def test_small_patch_takes_the_weights_as_often_as_the_optimizer_does(
    configuration_of, optimizer, copies
):
    configuration = configuration_of((1.0, 1.0), (4, 6), features=(96, 160), batch_size=1)
    weights = 4 * count_weights(configuration, 1, 3)
    training = replace(FULL, optimizer=optimizer)
    found = predicted(configuration, training=training, half_precision=False)
    assert copies * weights < found < 1.02 * copies * weights


def test_moments_are_kept_of_all_weights_but_those_that_the_loss_leaves_out(configuration_of):
    configuration = configuration_of((2.0, 1.0, 1.0), (16, 32, 24), features=(4, 6, 8))
    one, two = (
        predicted(configuration, training=replace(FULL, optimizer=optimizer), device="cpu")
        for optimizer in ("sgd", "adamw")
    )
    left_out = 6 * 3 + 3  # the coarsest head: from 6 channels to 3 labels, and biases
    kept = count_weights(configuration, 1, 3) - left_out
    assert two - one == 4 * kept


def in_order(results):
    """Return torch's own record of a profile: operations, and what they allocate and free."""
    left = list(results.experimental_event_tree())
    for event in left:
        left.extend(event.children)
    return left


def measured(configuration, channels, labels, training):
    """Return what torch's profiler sees of a real second step, in use at most, bytes.

    Without the workspaces of oneDNN, which `step_bytes` does not count: they depend on the kind of
    CPU. With AVX2, one convolution of the residual network takes 2.2 MB, and the peak moves there.
    """
    device = Device(torch_device=CPU, autocast=None)
    size = (configuration.batch_size, *configuration.patch_size)
    activities = [torch.profiler.ProfilerActivity.CPU]
    gc.collect()  # what earlier tests left must not be freed meanwhile
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        network = build_network(
            configuration.arch,
            configuration.topology,
            channels_in=channels,
            channels_out=labels.channels,
        )
        state = make_state(place_network(network, device, axes=len(size) - 1), training, device)
        batch = Batch(
            images=torch.zeros(size[0], channels, *size[1:]),
            targets=torch.zeros(size, dtype=torch.long),
            waited_s=0.0,
        )
        for name in ("first", "second"):
            with torch.profiler.record_function(name):
                training_step(
                    state,
                    batch,
                    labels=labels,
                    learning_rate=0.01,
                    gradient_norm=12.0,
                    batch_dice=configuration.batch_dice,
                    device=device,
                )
    events = sorted(in_order(profile.profiler.kineto_results), key=lambda it: it.start_time_ns)
    begin = next(event.start_time_ns for event in events if event.name == "second")
    used, peak, workspaces = 0, 0, set()
    for event in events:
        if event.tag.name != "Allocation":
            continue
        memory = event.extra_fields
        if memory.alloc_size > 0 and event.parent and event.parent.name in ONEDNN:
            workspaces.add(memory.ptr)
        elif memory.ptr in workspaces:
            workspaces.remove(memory.ptr)
        else:
            used += memory.alloc_size
            peak = max(peak, used) if event.start_time_ns >= begin else peak
    return peak


@pytest.mark.parametrize(
    ("arch", "patch_size", "features", "labels", "optimizer"),
    [
        pytest.param(preset("plain"), (16, 24, 32), (8, 16, 16), 3, "sgd", id="3d"),
        pytest.param(preset("plain"), (16, 24, 32), (8, 16), 20, "adamw", id="3d-many-labels"),
        pytest.param(RESIDUAL, (16, 32, 24), (8, 12), 4, "sgd", id="3d-residual"),
        pytest.param(preset("plain"), (64, 96), (8, 12, 16), 2, "sgd", id="2d"),
    ],
)
def test_real_step_on_the_cpu_takes_what_was_predicted(
    configuration_of, arch, patch_size, features, labels, optimizer
):
    spacing = (1.0,) * len(patch_size)
    configuration = replace(configuration_of(spacing, patch_size, features=features), arch=arch)
    training = replace(FULL, optimizer=optimizer)
    found = predicted(
        configuration,
        channels=2,
        labels=labels_of(labels),
        training=training,
        half_precision=False,
        device="cpu",
    )
    truth = measured(configuration, 2, labels_of(labels), training)
    assert found == pytest.approx(truth, rel=1e-4)  # numbers of the loss take a few bytes each


@pytest.mark.parametrize("half", [False, True])
def test_batch_adds_the_same_for_every_patch(configuration_of, half):
    configuration = configuration_of((2.0, 1.0, 1.0), (16, 32, 24))
    found = [
        predicted(replace(configuration, batch_size=n), half_precision=half, device="cpu")
        for n in (3, 4, 6, 10)
    ]
    slope = found[1] - found[0]
    assert [n - found[0] for n in found[1:]] == [slope, 3 * slope, 7 * slope]
    # At full resolution each patch leaves its image and target, and for the backward pass input
    # and output of four normalizations and the 2 x 4 channels that the decoder starts from.
    assert slope > 16 * 32 * 24 * (4 + 8 + (8 * 4 + 8) * (2 if half else 4))


@pytest.mark.parametrize("patch_size", [(16, 32, 24), (4, 8, 4)])
def test_two_traces_tell_every_batch(configuration_of, patch_size):
    configuration = configuration_of((2.0, 1.0, 1.0), patch_size, features=(16, 32))
    options = {"channels": 1, "labels": labels_of(3), "device": "cpu"}
    rest = {"training": FULL, "half_precision": True}
    traces = (trace_step(configuration, n, **options, **rest) for n in TRACED)
    memory = StepMemory(moments=tuple(zip(*traces, strict=True)))
    for n in (2, 3, 7, 40):
        assert memory.peak_bytes(n) == step_bytes(replace(configuration, batch_size=n), **options)
    # A single patch spares some copies of a few numbers per channel.
    single = step_bytes(replace(configuration, batch_size=1), **options)
    assert memory.peak_bytes(1) == pytest.approx(single, rel=0.01)


def test_batch_without_a_patch_is_refused():
    memory = StepMemory(moments=((10, 12),))
    with pytest.raises(UsageError, match="batch size is 0; it must be at least 1"):
        memory.peak_bytes(0)


def test_labels_take_at_least_their_logits_and_probabilities(configuration_of):
    configuration = configuration_of((2.0, 1.0, 1.0), (16, 32, 24))
    few, many = (predicted(configuration, labels=labels_of(k)) for k in (2, 118))
    logits = 2 * (118 - 2) * 16 * 32 * 24 * 4  # bytes, of a batch of 2 in float32
    assert many - few > 2 * logits


def test_order_of_the_axes_does_not_matter(configuration_of):
    first, second = (
        predicted(configuration_of((1.0, 1.0, 1.0), patch_size))
        for patch_size in ((8, 16, 24), (24, 8, 16))
    )
    assert first == second


def test_half_precision_takes_less_but_more_than_half(configuration_of):
    configuration = configuration_of((2.0, 1.0, 1.0), (16, 32, 24), features=(16, 32))
    half, full = (predicted(configuration, half_precision=half) for half in (True, False))
    assert full / 2 < half < 0.75 * full


def test_labels_of_a_previous_stage_count_as_channels(configuration_of):
    configuration = configuration_of((2.0, 1.0, 1.0), (16, 32, 24))
    cascade = replace(configuration, previous_stage="3d_lowres")
    assert predicted(cascade) == predicted(configuration, channels=1 + 2)
    assert predicted(cascade) > predicted(configuration)


def test_width_and_batch_are_those_of_the_training(configuration_of):
    wide = configuration_of((2.0, 1.0, 1.0), (16, 32, 24), features=(16, 32), batch_size=5)
    narrow = configuration_of((2.0, 1.0, 1.0), (16, 32, 24), features=(8, 16), batch_size=2)
    training = replace(FULL, width_fraction=0.5, batch_voxels=2 * 16 * 32 * 24 + 1)
    assert predicted(wide, training=training) == predicted(narrow)


def test_trace_leaves_everything_as_it_was_and_ends_the_same_twice(configuration_of):
    configuration = configuration_of((1.0, 1.0), (16, 24))
    before = torch.get_rng_state()
    first = predicted(configuration)
    with torch.inference_mode():
        second = predicted(configuration)
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert torch.empty(1).device == CPU


def test_nothing_is_allocated(configuration_of):
    configuration = configuration_of((1.0, 1.0, 1.0), (128, 128, 128), features=(32, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = predicted(replace(configuration, batch_size=64))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert found > 64 * 2**30
    assert grown < 2**19  # half a GiB: modules of torch that are loaded on first use


def test_network_of_a_single_stage_is_refused(configuration_of):
    with pytest.raises(PlanError, match="1 stage is too few"):
        predicted(configuration_of((1.0, 1.0), (8, 12), features=(4,)))


def saved(network, image, device):
    """Return type and shape of all that the forward pass keeps for the backward pass."""
    kept = []
    with (
        torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor),
        device.precision(),
    ):
        outputs = network(image, network.supervised_levels)
    return [output.dtype for output in outputs], [(x.dtype, x.shape) for x in kept]


@pytest.mark.parametrize("arch", [preset("plain"), RESIDUAL], ids=["plain", "residual"])
@pytest.mark.parametrize("patch_size", [(8, 8), (8, 8, 16)])
def test_types_are_those_of_real_autocast(configuration_of, arch, patch_size):
    configuration = configuration_of((1.0,) * len(patch_size), patch_size, features=(4, 8))
    found = []
    for place, device in (
        ("cpu", Device(torch_device=CPU, autocast=torch.bfloat16)),
        ("meta", TracedDevice(torch_device=CPU, autocast=torch.bfloat16, kind="cpu")),
    ):
        with torch.device(place):
            network = build_network(arch, configuration.topology, channels_in=1, channels_out=3)
            found.append(saved(network, torch.empty(2, 1, *patch_size), device))
    assert found[0] == found[1]
    assert {dtype for dtype, _ in found[0][1]} == {torch.bfloat16, torch.float32}


def test_functions_that_autocast_changes_are_those_that_torch_registers():
    def registered(name, kind):
        return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", f"Autocast{kind}")

    operators = {
        torch.conv2d: "conv2d",
        torch.conv3d: "conv3d",
        torch.conv_transpose2d: "conv_transpose2d.input",
        torch.conv_transpose3d: "conv_transpose3d.input",
        torch.nn.functional.avg_pool2d: "avg_pool2d",
        torch.nn.functional.avg_pool3d: "avg_pool3d",
        torch.nn.functional.leaky_relu: "leaky_relu",
        torch.instance_norm: "instance_norm",
        torch.batch_norm: "batch_norm",
        torch.add: "add.Tensor",
    }
    for kind in ("cuda", "cpu"):
        changed = {f for f, name in operators.items() if registered(name, kind.upper())}
        assert changed == LOWERED | RAISED[kind]
