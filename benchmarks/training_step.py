"""Measure a step of the three trainings of the paper: milliseconds and their parts, operations, share of the machine's peak.

Steps are those of `gvf train-vae-static`, `train-vae-joint` (complete ones, and as `train_vae_joint_motion` those of
its motion phase) and `train-dit` on a workspace in which the stages before them have run: the same task, engine,
batches and draws, without checkpoints and curves, and after the first pass over the clips: they have been read, and
what a training keeps of them is there. A second checkout can be measured beside this one; the two then take turns, a
few steps each, in two processes that live through the whole run, so that both see the same load. Milliseconds are the
median over the rounds of a round's mean; beside them stands the processor time of all threads, which other work on the
machine changes less, and from which shares of the peak are computed.

Operations are those of matrix products and convolutions, forward and backward, a fused multiply-add counting as two, as
torch's FlopCounterMode finds them with attention as plain products; drawing and everything by element count as time
only. The peak is what a product of two square matrices of 2048 reaches in the same run, in float32 and bfloat16.

    python benchmarks/training_step.py --workspace FOLDER [--against CHECKOUT] [--threads 1] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gvf.config.load import load_params
from gvf.devices import resolve_device
from gvf.execution.allocator import keep_freed_memory
from gvf.storage.files import write_json
from gvf.tracking.provenance import device_name
from gvf.training.batches import Batches
from gvf.training.engine import Engine
from gvf.training.fit import to_device
from gvf.training.randomness import deterministic, seed_everything
from gvf.training.world import init
from gvf.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
MOTION = "train_vae_joint_motion"
STAGES = ("train_vae_static", "train_vae_joint", "train_dit")
PARTS = ("data", "forward", "backward", "optimizer")
WARM_UP = 3  # steps
PEAK_SIZE = 2048


class TaskFound(BaseException):
    """Carries a stage's task out of the stage, which goes no further."""


def task_of(stage: str, params: Any, workspace: Workspace) -> Any:
    """Return the task that a stage would train."""

    def stop(task: Any, *_: Any) -> None:
        raise TaskFound(task)

    module = importlib.import_module(f"gvf.stages.{stage}")
    original, module.fit = module.fit, stop
    try:
        module.run(params, workspace)
    except TaskFound as found:
        return found.args[0]
    finally:
        module.fit = original
    raise AssertionError(f"{stage} trains nothing")


class Trainer:
    """One training, whose steps are taken when asked for."""

    def __init__(self, stage: str, params: Any, workspace: Workspace, precision: str | None) -> None:
        self.world = init(params.run.device)
        seed_everything(params.run.seed)
        task = task_of("train_vae_joint" if stage == MOTION else stage, params, workspace)
        motion_phase = getattr(params.train_vae_joint, "motion_phase", None)
        if stage == MOTION and motion_phase is None:
            raise SystemExit("These parameters have no train_vae_joint.motion_phase to measure.")
        first = motion_phase.steps if stage == "train_vae_joint" and motion_phase is not None else 0
        model = task.build()
        training = replace(task.training, precision=precision or task.training.precision)
        self.engine = Engine(model, task.parameter_groups(model), training, self.world)
        self.engine.model.train()
        self.task, self.step_number = task, first
        endless = replace(training, steps=2**31)
        batches = Batches(len(task.clips), task.load, endless, params.run.seed, self.world)
        self.passes = batches.after(first)
        if self.world.device.type == "cpu":
            self._pass_once(stage, model, batches, training.batch_size)

    def _pass_once(self, stage: str, model: Any, batches: Batches[Any], batch_size: int) -> None:
        """Read every clip, and keep what the task keeps of clips, as a training has after the first of its passes."""
        kept, first = getattr(self.task, "posteriors", None), self.step_number
        for step in range(-(-len(self.task.clips) // batch_size)):
            draw = batches.draw(first + step + 1, 0)
            batch = self.task.load(draw)
            if kept is None:
                continue
            if stage == MOTION:
                with torch.no_grad():
                    self.task.loss(model, batch, draw)
            else:
                static = batch.canonical
                kept(model.static.encoder, [self.task.clips[i] for i in draw.indices], static.features, static.voxels)

    def step(self) -> dict[str, float]:
        """Take one step; return the seconds of its parts."""
        self.step_number += 1
        marks = [time.perf_counter()]
        draw, batch = next(self.passes)
        marks.append(time.perf_counter())
        seed_everything(draw.seed)

        def objective(model: Any) -> Any:
            loss = self.task.loss(model, to_device(batch, self.world.device), draw)
            self._wait()
            marks.append(time.perf_counter())
            return loss

        with deterministic(self.world.device):
            self.engine.backward(objective)
            self._wait()
            marks.append(time.perf_counter())
            self.engine.step(self.step_number)
            self._wait()
        marks.append(time.perf_counter())
        return {part: end - start for part, start, end in zip(PARTS, marks, marks[1:])}

    def operations(self) -> int:
        """Return the operations of a step."""
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            self.step()
        return counter.get_total_flops()

    def measure(self, steps: int) -> dict[str, float]:
        """Return the mean seconds of a step, of its parts, and of processor time of all threads."""
        started = time.process_time()
        parts = [self.step() for _ in range(steps)]
        processor = (time.process_time() - started) / steps
        means = {part: statistics.mean(part_of[part] for part_of in parts) for part in PARTS}
        return means | {"step": sum(means.values()), "processor": processor}

    def _wait(self) -> None:
        if self.world.device.type == "cuda":
            torch.cuda.synchronize(self.world.device)


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations per second (of processor time on CPUs) of a product of two matrices, the best of a few tries."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    a, b = (torch.randn(PEAK_SIZE, PEAK_SIZE, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(8):
        start = clock()
        float((a @ b)[0, 0])
        seconds.append(clock() - start)
    return 2 * PEAK_SIZE**3 / min(seconds)


def serve(arguments: argparse.Namespace) -> None:
    """Answer requests, one JSON line each, until the input ends: [stage, steps], or [stage, 0] for its operations."""
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    answers, sys.stdout = sys.stdout, sys.stderr
    params = load_params(arguments.params or ROOT / "params.yaml")
    workspace, trainers = Workspace(Path(arguments.workspace)), {}
    for line in sys.stdin:
        stage, steps = json.loads(line)
        if stage == "peak":
            device = init(params.run.device).device
            answer: Any = {str(dtype): peak(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
        else:
            if stage not in trainers:
                trainers[stage] = Trainer(stage, params, workspace, arguments.precision)
                trainers[stage].measure(WARM_UP)
            answer = trainers[stage].measure(steps) if steps else trainers[stage].operations()
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """A process that imports gvf from a checkout and takes steps when asked."""

    def __init__(self, checkout: Path, workspace: str, params: str | None, arguments: argparse.Namespace) -> None:
        options = ["--serve", f"--workspace={Path(workspace).resolve()}", f"--threads={arguments.threads}"]
        options += [f"--precision={arguments.precision}"] if arguments.precision else []
        options += [f"--params={(Path(params) if params else checkout / 'params.yaml').resolve()}"]
        environment = os.environ | {
            "PYTHONPATH": f"{checkout / 'src'}:{checkout / 'evaluation'}:{checkout}",
            "OMP_NUM_THREADS": str(arguments.threads),
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def ask(self, *request: Any) -> Any:
        """Return the answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(workers: dict[str, Worker], stage: str, rounds: int, steps: int) -> dict[str, Any]:
    """Return for every checkout the median seconds over rounds in which the checkouts take turns, and its operations."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    operations = {name: worker.ask(stage, 0) for name, worker in workers.items()}
    for number in range(rounds):
        order = list(workers) if number % 2 == 0 else list(workers)[::-1]
        for name in order:
            found[name].append(workers[name].ask(stage, steps))
    return {
        name: {part: statistics.median(row[part] for row in rows) for part in rows[0]}
        | {"operations": operations[name]}
        for name, rows in found.items()
    }


def table(results: dict[str, Any], peaks: dict[str, float], on_cpu: bool) -> str:
    """Return the results as lines of text."""
    lines = [", ".join(f"{name.removeprefix('torch.')} {rate / 1e9:.0f} GFLOP/s" for name, rate in peaks.items())]
    for stage, by_checkout in results.items():
        for name, row in by_checkout.items():
            parts = ", ".join(f"{part} {1e3 * row[part]:.1f}" for part in (*PARTS, "processor"))
            rate = row["operations"] / row["processor" if on_cpu else "step"]
            shares = ", ".join(f"{rate / peak:.0%} of {dtype.removeprefix('torch.')}" for dtype, peak in peaks.items())
            lines.append(
                f"{stage:17} {name:7} {1e3 * row['step']:7.1f} ms ({parts}); "
                f"{row['operations'] / 1e9:.1f} GFLOP, {shares}"
            )
        steps = [row["step"] for row in by_checkout.values()]
        if len(steps) > 1:
            processors = [row["processor"] for row in by_checkout.values()]
            faster, cheaper = steps[0] / steps[1], processors[0] / processors[1]
            lines.append(f"{stage:17} {faster:.2f} times as fast, {cheaper:.2f} by processor time")
    return "\n".join(lines)


def main() -> None:
    """Print the table and, if asked, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", required=True, help="folder with data/ and models/ of the stages before")
    parser.add_argument("--against", help="another checkout, measured in turns with this one")
    parser.add_argument("--against-workspace", help="its workspace, where it reads other files than this one")
    parser.add_argument("--against-params", help="its parameters, by default its own params.yaml")
    parser.add_argument("--params", help="parameters, by default this checkout's params.yaml")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), help="instead of the configured one")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=(*STAGES, MOTION))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5, help="of a round")
    parser.add_argument("--output", help="JSON file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return
    workers = {}
    if arguments.against:
        workspace = arguments.against_workspace or arguments.workspace
        workers["before"] = Worker(Path(arguments.against).resolve(), workspace, arguments.against_params, arguments)
    workers["now"] = Worker(ROOT, arguments.workspace, arguments.params, arguments)
    peaks = workers["now"].ask("peak", 0)
    results = {stage: compare(workers, stage, arguments.rounds, arguments.steps) for stage in arguments.stages}
    for worker in workers.values():
        worker.close()
    device = resolve_device(load_params(arguments.params or ROOT / "params.yaml").run.device).type
    print(f"{device_name(device)}; threads: {arguments.threads}; torch {torch.__version__}")
    print(table(results, peaks, device == "cpu"))
    if arguments.output:
        write_json(arguments.output, {"peaks": peaks, "stages": results, "threads": arguments.threads})


if __name__ == "__main__":
    main()
