"""Several ranks train one model: each launch of mpiexec makes many checks (`mpi_ranks.py`)."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import densenet as dn

HERE = Path(__file__).resolve().parent
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py, of the extra [mpi], is missing"),
    pytest.mark.skipif(MPIEXEC is None, reason="mpiexec, of the extra [mpi] or the system, is missing"),
]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    "OMPI_ALLOW_RUN_AS_ROOT": "1",  # Open MPI asks
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
ANYWHERE = "gradients_of_every_layer steps_by_hand streams weights_that_are_zero batch_norm bad_input".split()
CHECKS = {
    1: "one_rank gradients_of_every_layer long_runs streams batch_norm copies_train_alone".split(),
    2: """
    gradients_of_every_layer steps_by_hand long_runs early_stopping the_same_bits_twice batch_norm without_a_seed
    streams numbered_streams memory_maps weights_that_are_zero stops interrupts divergence drift exceptions_of_all
    observers checkpoints bad_input copies_train_alone noise_after_a_fit
    """.split(),
    3: [*ANYWHERE, "long_runs", "early_stopping", "checkpoints"],
    4: [*ANYWHERE, "stops", "divergence"],
}


def launch(ranks: int, *arguments: str, timeout: float = 200, without: str = "-") -> subprocess.CompletedProcess[str]:
    """Run this Python on so many ranks, without the variables whose names end so."""
    variables = {**os.environ, **ENVIRONMENT}
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in variables.items() if not name.endswith(without)},
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{ranks} ranks have not ended after {timeout} s:\n{out}\n{err}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What every check of a number of ranks has found; all of them in one launch."""
    kept = {}

    def of(ranks):
        if ranks not in kept:
            result = tmp_path_factory.mktemp("ranks") / "said.json"
            done = launch(ranks, str(HERE / "mpi_ranks.py"), str(result), *CHECKS[ranks])
            assert result.exists(), done.stdout + done.stderr
            kept[ranks] = json.loads(result.read_text(encoding="utf-8"))
        return kept[ranks]

    return of


@pytest.mark.parametrize(("ranks", "check"), [(ranks, name) for ranks, names in CHECKS.items() for name in names])
def test_ranks(said, ranks, check):
    assert said(ranks).get(check, ["not reached: a check before it failed"]) == []


def script(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


ONE_SIDED = {
    "callback": ("disk", "fit(x, x[:, 0], seed=0, callbacks=[dn.LambdaCallback(on_batch_end=fail)], **given)"),
    "iterable": ("disk", "fit(Rows(), **given)"),
    "step": ("(n, 3), got (64, 2)", "step(x[:, : 3 - comm.rank], x[:, 0])"),
}


@pytest.mark.parametrize("where", ONE_SIDED)
def test_an_exception_of_one_rank_ends_all_and_is_named(tmp_path, where):
    said, call = ONE_SIDED[where]
    path = script(
        tmp_path,
        f"""
        import numpy as np, densenet as dn
        from mpi4py import MPI
        comm = MPI.COMM_WORLD
        class Rows:
            def __iter__(self):
                for start in range(0, 64, 8):
                    yield x[start : start + 8], x[start : start + 8, 0]
                    fail(trainer.optimizer.steps)
        def fail(run):
            if comm.rank == 1 and getattr(run, "step", run) == 3:
                raise RuntimeError("the disk of rank 1 is full")
        trainer = dn.Trainer(dn.mlp([3, 4, 1], seed=0), "mse", "sgd", communicator=comm)
        x = np.random.default_rng(0).standard_normal((64, 3))
        given = {{"epochs": 10**7, "batch_size": 8}}
        trainer.{call}
        """,
    )
    done = launch(2, path, timeout=60)  # it would train for days, or wait for the rank that is gone
    assert done.returncode != 0
    assert "rank 1 of 2 failed alone" in done.stderr
    assert said in done.stderr


def test_a_node_shares_its_cores(tmp_path):
    path = script(
        tmp_path,
        """
        import json, os, numpy as np, densenet as dn
        from densenet._blas import blas_description
        from mpi4py import MPI
        comm, seen, x = MPI.COMM_WORLD, [], np.ones((4, 2))
        dn.threads(len(os.sched_getaffinity(0)))
        look = dn.LambdaCallback(on_batch_end=lambda run: seen.append(blas_description()["threads"]))
        trainer = dn.Trainer(dn.mlp([2, 1], seed=0), "mse", "sgd", communicator=comm)
        trainer.fit(x, x[:, 0], epochs=1, batch_size=4, callbacks=[look])
        said = comm.gather((seen, blas_description()["threads"], len(os.sched_getaffinity(0))))
        if comm.rank == 0:
            print(json.dumps(said))
        """,
    )
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not say which cores a process may use")
    done = launch(2, path, without="_NUM_THREADS")
    for seen, after, cores in json.loads(done.stdout):
        assert seen == [max(1, cores // 2)]
        assert after == cores


COMMAND = ("-c", "import sys, densenet.cli; sys.exit(densenet.cli.main(sys.argv[1:]))", "train")


def test_the_command_trains_on_all_ranks_and_writes_once(tmp_path):
    given = ("--epochs", "2", "--batch-size", "64", "--output")
    done = launch(2, *COMMAND, "--mpi", *given, str(tmp_path / "many"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("2 epochs in") == done.stdout.count("held out") == 1
    alone = subprocess.run([sys.executable, *COMMAND, *given, str(tmp_path / "one")], check=True, capture_output=True)
    assert b"2 epochs in" in alone.stdout
    many, one = (dn.load(tmp_path / name / "model.npz") for name in ("many", "one"))
    np.testing.assert_allclose(many.params, one.params, atol=1e-3)


def test_the_command_under_a_launcher_wants_to_be_told(tmp_path):
    done = launch(2, *COMMAND, "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "a launcher has started 2 processes: --mpi lets them train one model together" in done.stderr
    assert not (tmp_path / "run").exists()
    done = launch(2, *COMMAND, "--mpi", "--learning-rate=-3", "--output", str(tmp_path / "run"))
    assert (done.returncode, done.stderr.count("learning_rate")) == (2, 1)


def test_a_missing_library_is_named_with_its_extra():
    code = "import sys; sys.modules['mpi4py'] = None; import densenet as dn; dn.Trainer(dn.mlp([1, 1]), 'mse', 'sgd'"
    done = subprocess.run([sys.executable, "-c", code + ", communicator=1)"], capture_output=True, text=True)
    assert "ImportError: several processes need mpi4py and an MPI library: pip install '.[mpi]'" in done.stderr


@pytest.mark.parametrize("name", ["accuracy", "f1", "precision", "recall", "roc_auc", "r2", "mae", "rmse"])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_merge(name, weighted):
    rng = np.random.default_rng(0)
    p, t = rng.random((50, 3)), rng.integers(0, 3, 50)
    if name in ("r2", "mae", "rmse"):
        t = 1e6 + rng.random((50, 3))
        p = p + 1e6
    weight = rng.random(50) if weighted else None
    whole, *parts = (dn.metrics.get(name) for _ in range(4))
    whole.update(p, t, weight)
    cuts = (slice(0, 17), slice(17, 18), slice(18, 50))
    for part, cut in zip(parts, cuts, strict=True):
        part.update(p[cut], t[cut], None if weight is None else weight[cut])
    empty = dn.metrics.get(name)
    for part in parts:
        empty.merge(part)
    empty.merge(dn.metrics.get(name))
    assert empty.result() == pytest.approx(whole.result(), rel=1e-9)
    assert parts[0].result() != whole.result()
