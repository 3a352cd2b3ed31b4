"""The process that owns MLflow, and the only importer of it: one run, written from messages of `gvf.tracking.client` on stdin.

It ends when its input ends, whatever happens to the stage: with an `end` message the run is marked finished or failed;
without one (the stage was killed) it is marked killed. If the store cannot be reached, or becomes unreachable, one line on
standard error says so and the rest is not logged.

Without MLFLOW_TRACKING_URI the store is `mlflow.db` in the main checkout, which is this process's working folder. The
addresses of the store and of its artifacts are relative, so the checkout may have any name and may be moved.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import signal
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gvf.storage.files import atomic_path, write_json
from gvf.text import clean

DEFAULT_STORE = Path("mlflow.db")
DEFAULT_URI = f"sqlite:///{DEFAULT_STORE}"
_ARTIFACTS = "mlruns"
# Columns of MLflow's tables that hold artifact addresses.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# `mlflow ui` listens here by default.
DEFAULT_UI = "http://127.0.0.1:5000"
_BATCH = 1000  # MLflow's limit of metrics per request
_PARAM_BATCH = 100
_PARAM_LENGTH = 6000
# Time limits of a server for a health check, for a request, and for retrying a request although the server is healthy. The
# first two add up to less than the 15 s within which a stage reports that its server is gone.
_HEALTH_SECONDS = 3.0
_REQUEST_SECONDS = 6
_PATIENT_SECONDS = 60
# With this tag MLflow's UI shows experiments as model training; without it, it may show them as language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

Message = dict[str, Any]


class _ServerProblem(Exception):
    """The tracking server is down, hangs or answers with errors; the message says which."""


def main() -> None:
    """Write the run described on standard input."""
    # Ctrl-C and SIGTERM reach the whole process group; this process ends only when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true"
    )
    os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_URI)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    messages = _inbox()
    start = messages.get()
    if start is None:
        return
    try:
        if problem := _problem_of_server():
            raise _ServerProblem(problem)
        run = _Run(start)
    except Exception as error:  # whatever a store raises, it must not reach the stage
        _warn(f"no run is logged: {_reason(error)}")
        while messages.get() is not None:
            pass
        return
    run.serve(messages)


def _inbox() -> queue.Queue[Message | None]:
    """Yield messages as they arrive, and None at the end; a thread reads them, so that the stage never waits."""
    inbox: queue.Queue[Message | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            if line.endswith("\n"):
                inbox.put(json.loads(line))
        inbox.put(None)

    threading.Thread(target=read, daemon=True).start()
    return inbox


def _is_remote() -> bool:
    return urlsplit(os.environ["MLFLOW_TRACKING_URI"]).scheme in ("http", "https")


def _name_of_server() -> str:
    """Return the server with host and port, without a password that the address may contain."""
    return f"the tracking server {urlsplit(os.environ['MLFLOW_TRACKING_URI']).netloc.rpartition('@')[2]}"


def _problem_of_server() -> str | None:
    """Return what is wrong with the tracking server, or None if it is healthy or the store is local.

    MLflow itself would retry for minutes. Any answer but a server error counts as healthy: whether the server is MLflow
    and grants access shows with the first request.
    """
    if not _is_remote():
        return None
    import requests
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    uri = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
    name = _name_of_server()
    try:
        # MLflow checks certificates; nothing is sent here, and the content of the answer is not used.
        with requests.get(
            f"{uri}/health", timeout=_HEALTH_SECONDS, verify=False, allow_redirects=False, stream=True
        ) as answer:
            return f"{name} answers with error {answer.status_code}" if answer.status_code >= 500 else None
    except requests.Timeout:
        return f"{name} does not answer"
    except (requests.RequestException, ValueError):
        return f"{name} cannot be reached"


def _reason(error: Exception) -> str:
    """Return why no run could be opened; a server that stopped answering after its health check is named."""
    if isinstance(error, _ServerProblem) or not _is_remote():
        return _brief(error)
    problem = _problem_of_server() if _is_fault_of_server(error) else None
    return problem or f"{_name_of_server()} failed: {_brief(error)}"


def _is_fault_of_server(error: Exception) -> bool:
    """Return whether a call failed because of the server and not because of the data sent to it."""
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500
    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500
    return isinstance(error, requests.RequestException)


def _create_store(uri: str) -> None:
    """Create a SQLite store that is not there yet, whole or not at all, by one process at a time.

    Left to MLflow, two first runs meet in its schema migrations and break the file, and so does a run killed in them.
    """
    if not uri.startswith("sqlite:///") or "?" in uri or (store := Path(uri.removeprefix("sqlite:///"))).exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f"{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not store.exists():
            with atomic_path(store) as partial:
                SqlAlchemyStore(f"sqlite:///{partial}", _ARTIFACTS).engine.dispose()


def _make_addresses_relative() -> None:
    """Shorten artifact addresses in the default store to `mlruns/...`, so that they stay valid when the checkout is moved.

    MLflow writes absolute ones for every new experiment; older stores have them for runs and models too.
    """
    here = f"{Path.cwd()}/"
    with closing(sqlite3.connect(DEFAULT_STORE, timeout=60.0)) as connection, connection:
        prefixes = {here}
        for number, address in connection.execute("SELECT experiment_id, artifact_location FROM experiments"):
            end = f"{_ARTIFACTS}/{number}"
            # Files that exist at the absolute address but not in this folder are left where they are.
            if (
                address.startswith("/")
                and address.endswith(f"/{end}")
                and (Path(end).exists() or not Path(address).exists())
            ):
                prefixes.add(address.removesuffix(end))
        for prefix in prefixes:
            start = f"{prefix}{_ARTIFACTS}/"
            for table, column in _ADDRESSES:
                connection.execute(
                    f"UPDATE {table} SET {column} = substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (len(prefix) + 1, len(start), start),
                )
    for prefix in prefixes - {here}:
        _note(f"addresses of artifacts in {DEFAULT_STORE} led to {prefix} and now lead to this folder.")


def _hide_tables() -> None:
    """Import MLflow as its skinny installation would, without the table libraries this process has no use for.

    It takes 4.6 s of processor time to the first run, against 7 s with them.
    """
    for name in ("pandas", "pyarrow", "scipy", "sklearn"):
        sys.modules[name] = None  # type: ignore[assignment]


def _warn(text: str) -> None:
    print(f"Warning: MLflow: {text}", file=sys.stderr, flush=True)


def _note(text: str) -> None:
    print(f"MLflow: {text}", file=sys.stderr, flush=True)


def _brief(error: Exception | None) -> str:
    return clean((str(error).splitlines() or [""])[0], 200) or type(error).__name__


class _Run:
    """One MLflow run and the messages it understands, one method for each."""

    def __init__(self, start: Message) -> None:
        _hide_tables()
        import mlflow
        from mlflow.entities import Param

        for name in ("mlflow", "urllib3"):  # this module warns instead
            logging.getLogger(name).setLevel(logging.ERROR)
        _create_store(os.environ["MLFLOW_TRACKING_URI"])
        self._client = mlflow.MlflowClient()
        self._experiment = self._experiment_id(start["stage"])
        if os.environ["MLFLOW_TRACKING_URI"] == DEFAULT_URI:
            _make_addresses_relative()
        tags = {**start["tags"], "mlflow.runName": start["run_name"]}
        params = [Param(name, value[:_PARAM_LENGTH]) for name, value in start["params"].items()]
        self._final: list[str] = []
        self._parent = None if start["parent"] is None else self._parent_id(start, params)
        if self._parent is not None:
            tags["mlflow.parentRunId"] = self._parent
            self._headline = start["parent"]["headline"]
        run = self._client.create_run(self._experiment, start["time"], tags, run_name=start["run_name"])
        self._id = run.info.run_id
        self._warned = self._gone = False
        address = os.environ["MLFLOW_TRACKING_URI"]
        ui = address.rstrip("/") if address.startswith("http") else DEFAULT_UI
        record = {
            "stage": start["stage"],
            "run_id": self._id,
            "parent_id": self._parent,
            "run_name": start["run_name"],
            "experiment_id": self._experiment,
            "url": f"{ui}/#/experiments/{self._experiment}/runs/{self._id}?workflowType=machine_learning",
        }
        self._tags = {name: value for name, value in start["tags"].items() if not name.startswith("mlflow.")}
        self._params(self._id, params)
        write_json(start["record"], record)
        self._sampler = _SystemSampler()
        self._sampling_interval = float(start["system_metrics_interval"])

    def serve(self, messages: queue.Queue[Message | None]) -> None:
        """Handle messages until the end, and sample the machine between them."""
        handlers: dict[str, Callable[[Message], None]] = {
            "metrics": self._metrics,
            "image": self._image,
            "artifact": self._artifact,
            "model": self._model,
            "dataset": self._dataset,
            "final": self._remember_final,
        }
        status, ended = "KILLED", None
        sample_at = time.monotonic() + self._sampling_interval
        while True:
            if (left := sample_at - time.monotonic()) <= 0:
                self._guarded("system metrics", self._sample)
                sample_at = time.monotonic() + self._sampling_interval
                continue
            try:
                message = messages.get(timeout=left)
            except queue.Empty:
                continue
            if message is None:
                break
            if message["op"] == "end":
                status, ended = message["status"], message["time"]
                break
            self._guarded(message["op"], handlers[message["op"]], message)
        self._guarded("system metrics", self._sample)
        self._guarded("end", self._client.set_terminated, self._id, status, ended)
        if self._parent is not None and status == "FINISHED":
            self._guarded("mean over runs", self._summarize, self._parent)

    def _guarded(self, kind: str, function: Callable[..., object], *arguments: object) -> None:
        """Call `function`; if it fails, its data is not logged and the run's first failure is warned about.

        Once the server is gone, nothing more is sent. If the server is healthy, the request is retried with more time.
        """
        if self._gone:
            return
        try:
            function(*arguments)
        except Exception as error:  # whatever a store raises, the stage goes on
            problem: str | None = None
            failure: Exception | None = error
            if _is_remote() and _is_fault_of_server(error):
                problem = _problem_of_server()
                if problem is None:
                    failure = self._second_chance(function, *arguments)
                    if failure is None:
                        return
                    problem = _brief(failure) if _is_fault_of_server(failure) else None
            self._gone = problem is not None
            if not self._warned:
                self._warned = True
                if self._gone:
                    _warn(f"{problem}; the rest of this run is not tracked.")
                else:
                    _warn(f"{kind} not logged: {_brief(failure)}. Further failures of this run are not shown.")

    def _second_chance(self, function: Callable[..., object], *arguments: object) -> Exception | None:
        seconds = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(_PATIENT_SECONDS, int(seconds)))
        try:
            function(*arguments)
        except Exception as error:
            return error
        finally:
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = seconds
        return None

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name, tags=_EXPERIMENT_TAGS)
            except MlflowException:  # another process was first
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def _params(self, run_id: str, params: list[Any]) -> None:
        for first in range(0, len(params), _PARAM_BATCH):
            self._client.log_batch(run_id, params=params[first : first + _PARAM_BATCH])

    def _parent_id(self, start: Message, params: list[Any]) -> str:
        """Return the id of a variant's parent run, which its first run creates with all params but the seed."""
        parent = start["parent"]
        found = self._client.search_runs([self._experiment], f"tags.variant_key = '{parent['key']}'", max_results=1)
        if found:
            return found[0].info.run_id
        tags = {**start["tags"], **parent["tags"], "variant_key": parent["key"]}
        tags.pop("seed", None)
        run = self._client.create_run(self._experiment, start["time"], tags, run_name=parent["name"])
        self._params(run.info.run_id, [param for param in params if param.key != "run.seed"])
        return run.info.run_id

    def _remember_final(self, message: Message) -> None:
        self._final += [name for name in message["names"] if name not in self._final]

    def _summarize(self, parent: str) -> None:
        """Log mean and sample standard deviation of the final metrics over the newest finished run of each seed."""
        query = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'FINISHED'"
        by_seed: dict[str, Any] = {}
        for run in self._client.search_runs([self._experiment], query, order_by=["attributes.start_time ASC"]):
            by_seed[run.data.tags["seed"]] = run.data.metrics
        for name in sorted(self._final, key=lambda name: name != self._headline):
            values = [metrics[name] for metrics in by_seed.values() if name in metrics]
            self._client.log_metric(parent, name, statistics.mean(values))
            if len(values) > 1:
                self._client.log_metric(parent, f"{name}_std", statistics.stdev(values))
        self._client.log_metric(parent, "seeds", len(by_seed))
        self._client.set_terminated(parent)

    def _metrics(self, message: Message) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, time, step) for name, value, step, time in message["points"]]
        for first in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._id, metrics=metrics[first : first + _BATCH])

    def _image(self, message: Message) -> None:
        from gvf.storage.images import read_image

        self._client.log_image(self._id, read_image(message["path"]), key=message["name"], step=message["step"])

    def _artifact(self, message: Message) -> None:
        is_folder = Path(message["path"]).is_dir()
        log = self._client.log_artifacts if is_folder else self._client.log_artifact
        log(self._id, message["path"], message["folder"])

    def _dataset(self, message: Message) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": message["path"]})
        data = Dataset(message["name"], message["digest"], source_type="local", source=source)
        tags = [InputTag("mlflow.data.context", message["context"])]
        self._client.log_inputs(self._id, [DatasetInput(data, tags)])

    def _model(self, message: Message) -> None:
        """Upload the folder as a logged model, with an MLmodel file that says what it is; register a new version."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        if self._parent is not None:  # one of many variants, none of them the next version of the model
            return
        name = message["name"]
        logged = self._client.create_logged_model(
            self._experiment, name, source_run_id=self._id, tags=self._tags, model_type="safetensors"
        )
        with tempfile.TemporaryDirectory() as folder:
            card = Model(artifact_path=logged.artifact_location, run_id=self._id, model_id=logged.model_id)
            card.add_flavor("safetensors", weights="*/model.safetensors", config="*/config.json", loader="gvf")
            card.save(str(Path(folder) / "MLmodel"))
            self._client.log_model_artifacts(logged.model_id, folder)
        self._client.log_model_artifacts(logged.model_id, message["directory"])
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(self._id, [LoggedModelOutput(logged.model_id, step=0)])
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._client.create_model_version(
            name, logged.artifact_location, self._id, tags=self._tags, await_creation_for=0, model_id=logged.model_id
        )

    def _sample(self) -> None:
        now, values = int(time.time() * 1000), self._sampler.take()
        self._metrics(
            {"points": [(f"system/{name}", value, self._sampler.step, now) for name, value in values.items()]}
        )


class _SystemSampler:
    """System load since the last sample, as MLflow measures it, but without MLflow's logging thread."""

    def __init__(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(run_id="")
        self._monitor.collect_metrics()  # the load is measured from here on
        self._clear()
        self.step = -1

    def take(self) -> dict[str, float]:
        """Return system metrics by name and increment `step`."""
        self._monitor.collect_metrics()
        values = self._monitor.aggregate_metrics()
        self._clear()
        self.step += 1
        return values

    def _clear(self) -> None:
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    # Taking MLflow's modules apart takes seconds on a busy machine, for which the stage would wait.
    os._exit(0)
