"""The only module that uses DeepSpeed: the engine holds the model while it is trained.

It runs with one process or many, on CPU (gloo) and CUDA (NCCL), with or without a launcher, in ZeRO stages 0 to 3. The
weights stay float32 and passes run under autocast: DeepSpeed's own bfloat16 mode would keep a second set of weights.
The optimisers are torch's own, so that none of DeepSpeed's operators has to be compiled.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gvf.config.training import TrainingConfig
from gvf.training.checkpoint import TrainingState, restore_state, whole_state
from gvf.training.ema import Ema
from gvf.training.optimizer import ParameterGroup, configured_optimizer, set_learning_rate
from gvf.training.precision import autocast
from gvf.training.world import World

if TYPE_CHECKING:
    from types import ModuleType

Model = TypeVar("Model", bound=nn.Module)
# (model) -> (loss, values worth logging); the loss is the mean over the items of this pass.
Objective = Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]]


class Engine:
    """A model, its optimiser and its averaged weights, over the processes of a World.

    model: for calls outside training. Gradients of every trainable parameter are averaged over passes and processes,
    clipped by their global norm and applied; then the average is updated.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[ParameterGroup], config: TrainingConfig, world: World
    ) -> None:
        """groups: together every trainable parameter of `model`, each once."""
        grouped = [id(parameter) for group in groups for parameter in group.parameters]
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if sorted(grouped) != sorted(map(id, trainable)):
            raise ValueError("parameter groups must hold every trainable parameter of the model exactly once")
        self.model = model.to(world.device)
        self.world = world
        self._config = config
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._parameters = trainable
        self._partitions_weights = config.zero_stage == 3
        self._optimizer = configured_optimizer(groups, config)
        self._deepspeed = _initialise(_Call(model, config.precision, world.device), self._optimizer, config, world)
        if config.zero_stage > 0:
            self._start_flat_partitions()
        self.ema = Ema(self._live, config.ema_decay)

    def backward(self, objective: Objective) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Compute the objective under autocast and its gradients; return the loss and its values, detached."""
        values: dict[str, Tensor] = {}

        def call(model: nn.Module) -> Tensor:
            loss, named_values = objective(model)
            values.update((name, value.detach()) for name, value in named_values.items())
            return loss

        loss = self._deepspeed(call)
        self._deepspeed.backward(loss)
        return loss.detach(), values

    def step(self, step: int) -> float:
        """End a pass; the last pass of a step applies the gradients as optimiser step `step` (from 1).

        Returns the global gradient norm before clipping (nan when this was not the last pass). If it is not finite,
        nothing has been applied.
        """
        last = self._deepspeed.is_gradient_accumulation_boundary()
        norm = math.nan
        if last:
            set_learning_rate(self._optimizer, step, self._config)
            if self._config.zero_stage == 0:
                for parameter in self._parameters:
                    if parameter.grad is None:  # a zero gradient, as under ZeRO and with several processes
                        parameter.grad = torch.zeros_like(parameter)
                norm = float(nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm))
                if not math.isfinite(norm):
                    return norm
        self._deepspeed.step()
        if last:
            if self._config.zero_stage > 0:
                norm = float(self._deepspeed.get_global_grad_norm())
            if math.isfinite(norm):
                self.ema.update()
        return norm

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean of each scalar over processes, all of which pass the same names."""
        stacked = torch.stack([value.float() for value in values.values()])
        if self.world.size > 1:
            dist.all_reduce(stacked)
            stacked /= self.world.size
        return dict(zip(values, stacked.tolist()))

    def broadcast_from_main(self, value: int) -> int:
        """Return rank 0's value, in every process."""
        if self.world.size == 1:
            return value
        received = torch.tensor(value, device=self.world.device)
        dist.broadcast(received, src=0)
        return int(received)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights, whole, into `model` and switch it to eval mode inside the block; every process enters it."""
        training = self.model.training
        with self.ema.swapped(), self._whole_weights():
            self.model.eval()
            try:
                yield
            finally:
                self.model.train(training)

    def state(self, step: int, progress: Mapping[str, Any]) -> TrainingState:
        """Return copies of everything that `restore` needs; every process calls it."""
        with self._whole_weights():
            model = whole_state(self.model)
        with self.ema.swapped(), self._whole_weights():
            average = {name: p.detach().to("cpu", copy=True) for name, p in zip(self._names, self._parameters)}
        return TrainingState(step, model, average, self._optimizer_state(), progress)

    def restore(self, state: TrainingState, source: str) -> None:
        """Restore a state. Raises UserError, naming `source`, when it belongs to another model."""
        with self._whole_weights(write=True):
            restore_state(self.model, {**state.model, **state.average}, source)
        self.ema.shadow = [tensor.to(torch.float32, copy=True) for tensor in self._live()]
        with self._whole_weights(write=True):
            restore_state(self.model, state.model, source)
        if self._config.zero_stage > 0:
            self._deepspeed.optimizer.refresh_fp32_params()
        self._restore_optimizer(state.optimizer)

    def _live(self) -> list[Tensor]:
        if self._partitions_weights:
            return [parameter.ds_tensor.data for parameter in self._parameters]  # type: ignore[attr-defined]
        return [parameter.data for parameter in self._parameters]

    @contextmanager
    def _whole_weights(self, write: bool = False) -> Iterator[None]:
        """Make every parameter whole in every process inside the block; with `write`, rank 0's changes are kept."""
        if not self._partitions_weights:
            yield
            return
        from deepspeed.runtime.zero import GatheredParameters

        with GatheredParameters(list(self.model.parameters()), modifier_rank=0 if write else None):
            yield

    def _optimizer_state(self) -> dict[str, Tensor]:
        """Return moments and step count of each parameter, whole."""
        from deepspeed.utils import safe_get_full_optimizer_state

        tensors: dict[str, Tensor] = {}
        for name, parameter in zip(self._names, self._parameters):
            if self._config.zero_stage == 0:
                tensors |= {f"{key}/{name}": value for key, value in self._optimizer.state[parameter].items()}
                continue
            for key in ("exp_avg", "exp_avg_sq"):
                tensors[f"{key}/{name}"] = safe_get_full_optimizer_state(parameter, key)
            tensors[f"step/{name}"] = self._optimizer.state[self._flat_partitions()[0]]["step"]
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        if self._config.zero_stage > 0:
            for flat in self._flat_partitions():
                self._optimizer.state[flat]["step"].copy_(tensors[f"step/{self._names[0]}"])
        states: dict[str, dict[str, Tensor]] = {name: {} for name in self._names}
        for label, tensor in tensors.items():
            key, name = label.split("/", 1)
            states[name][key] = tensor.to(self.world.device)
        for name, parameter in zip(self._names, self._parameters):
            if self._config.zero_stage == 0:
                self._optimizer.state[parameter] = states[name]
                continue
            for key in ("exp_avg", "exp_avg_sq"):
                safe_set_full_optimizer_state(parameter, states[name][key], key)

    def _flat_partitions(self) -> list[Tensor]:
        """Return what ZeRO hands to AdamW in place of the parameters: this process's part of each group, flat."""
        zero = self._deepspeed.optimizer
        return zero.fp32_partitioned_groups_flat if self._partitions_weights else zero.single_partition_of_fp32_groups

    def _start_flat_partitions(self) -> None:
        """Give AdamW the state it would only create at its first step, and link the parameters' fragments to it.

        DeepSpeed itself links after the first group's first step, when the other groups have no state yet.
        """
        for flat in self._flat_partitions():
            self._optimizer.state[flat] = {
                "step": torch.tensor(0.0, device=flat.device),
                "exp_avg": torch.zeros_like(flat),
                "exp_avg_sq": torch.zeros_like(flat),
            }
        if not self._partitions_weights:
            self._deepspeed.optimizer._lazy_init_hp_params_optimizer_state()


class _Call(nn.Module):
    """Passes the model to the function it is called with, so that any objective runs inside DeepSpeed's forward pass."""

    def __init__(self, model: nn.Module, precision: str, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._precision, self._device = precision, device

    def forward(self, call: Callable[[nn.Module], Tensor]) -> Tensor:
        with autocast(self._precision, self._device):
            return call(self.model)


def _initialise(module: nn.Module, optimizer: torch.optim.Optimizer, config: TrainingConfig, world: World) -> Any:
    """Return a DeepSpeed engine without timers, reports and, in a single process, collectives."""
    deepspeed = _deepspeed(world.device)
    settings = {
        "train_micro_batch_size_per_gpu": config.batch_size // config.gradient_accumulation_steps // world.size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        # Without ZeRO its clipping does not return the norm, which decides whether the step is taken.
        "gradient_clipping": config.max_grad_norm if config.zero_stage > 0 else 0.0,
        "zero_optimization": {
            "stage": config.zero_stage,
            "stage3_param_persistence_threshold": 0,  # the average is kept of shards, so all weights are sharded
        },
        "timers": {"throughput": {"enabled": False}},
    }
    engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=settings)
    if world.size == 1 and config.zero_stage == 0:
        engine.enable_backward_allreduce = False  # it would flatten and copy every gradient to sum it with nothing
    return engine


def _deepspeed(device: torch.device) -> ModuleType:
    """Import DeepSpeed for a device, without the parts that training does not use.

    Its autotuner imports mlflow (5 s). Its CPU backend compiles a shared-memory all-reduce (40 s, needs a compiler)
    that only inference calls.
    """
    os.environ["DS_ACCELERATOR"] = device.type
    with _hidden("mlflow") if "mlflow" not in sys.modules else nullcontext():
        import deepspeed
        import deepspeed.ops
    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Make importing the module fail inside the block, as if it were not installed."""
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
