"""Golden vectors: NumPy alone gives torch's recorded results, and who changed is told apart."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import numpy_impl
from parity_tests.harness import discovery
from parity_tests.harness.golden import blueprint, check, record, vectors
from parity_tests.harness.golden.play import play
from parity_tests.harness.inputs import same

ALONE = """
import sys
sys.modules["torch"] = None  # importing it raises
from parity_tests.harness.cli import main
status = main(["check", "--golden", *sys.argv[1:]])
assert not [name for name in sys.modules if name.split(".")[0] == "torch_impl"]
sys.exit(status)
"""


def alone(*args):
    """The command in a process where torch cannot be imported: status, output, errors."""
    done = subprocess.run([sys.executable, "-c", ALONE, *args], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def golden():
    return vectors.load()


def some(golden, *names):
    """The vectors of these techniques."""
    kept = [v for v in golden.vectors if v.technique in names]
    assert {v.technique for v in kept} == set(names)
    return vectors.Golden(golden.made, kept, {})


# ---- what the file holds -------------------------------------------------------------------------


def test_numpy_alone_gives_torchs_recorded_results(golden):
    status, said, errors = alone()
    assert status == 0, said + errors
    text = " ".join(said.split())
    assert f"results of all {len({(v.chapter, v.technique) for v in golden.vectors})} tech" in text
    assert "torch is not installed here" in text and "PyTorch 2." in text
    for name in ("BatchNorm1d", "Adam", "CosineAnnealingLR", "XavierUniform", "Generator"):
        line = next(line for line in said.splitlines() if line.split()[:1] == [name])
        assert line.split()[4:] == ["-", "agrees"], line
    status, _, errors = alone("--record")
    assert status == 2 and "torch, which is not installed" in errors


def test_the_file_is_small_and_holds_every_kind(golden):
    assert vectors.FILE.stat().st_size < 500_000
    kinds = {v.blueprint["kind"] for v in golden.vectors}
    assert kinds == {"module", "function", "initializer", "optimizer", "schedule", "stream"}
    assert {"PyTorch", "NumPy", "platform", "date"} <= golden.made.keys()
    assert all(why for why in golden.left_out.values())
    for v in golden.vectors:
        assert v.expected and v.moved.keys() == v.expected.keys()


def test_torch_gives_its_recorded_results_still(golden):
    names = "Linear", "BatchNorm1d", "SGD", "Softmax", "SequentialLR", "Uniform", "Generator"
    rows = check.check(some(golden, *names))
    assert [r.verdict for r in rows] == ["agrees"] * len(names)
    assert all(r.torch for r in rows)


@pytest.mark.parametrize("name", ["Dropout", "Uniform", "Adam", "LambdaLRByGroup", "Sequential"])
def test_vectors_are_made_from_the_cases(name):
    technique = next(t for t in discovery.discover() if t.name == name)
    made, why = record._vectors(technique, name)
    assert made and len({v.what for v in made}) == len(made), why
    for vector in made:
        assert all(d.passed for d in vector.hold(play(vector)))
        assert vector.what in record.torch_sides(vector.case)


def test_what_only_its_case_can_build_says_so():
    technique = next(t for t in discovery.discover() if t.name == "ModuleList")
    made, why = record._vectors(technique, "layers/ModuleList")
    assert not made and "has no name of its own" in why


# ---- who changed ---------------------------------------------------------------------------------


def test_a_change_of_ours_is_told_from_one_of_torchs(golden, monkeypatch):
    kept = some(golden, "Tanh", "Linear")
    forward = numpy_impl.nn.Tanh.forward
    with monkeypatch.context() as patch:
        patch.setattr(numpy_impl.nn.Tanh, "forward", lambda self, x: forward(self, x) * (1 + 1e-12))
        rows = check.check(kept)
        assert [(r.name, r.verdict) for r in rows] == [("Tanh", "we changed"), ("Linear", "agrees")]
        assert "NumPy now" in check.changes(rows) and "We changed" in check.summary(
            rows, kept, True
        )
    theirs = torch.tanh
    with monkeypatch.context() as patch:
        patch.setattr(torch, "tanh", lambda x: theirs(x) * (1 + 1e-12))
        rows = check.check(kept)
        assert [r.verdict for r in rows] == ["torch changed", "agrees"]
        assert "torch now" in check.changes(rows)
        assert "torch changed" in check.summary(rows, kept, True)
        patch.setattr(numpy_impl.nn.Tanh, "forward", lambda self, x: x)
        assert check.check(kept)[0].verdict == "both changed"
    assert [r.verdict for r in check.check(kept)] == ["agrees", "agrees"]


def test_code_that_raises_has_changed_and_a_case_that_has_gone_is_counted(golden, monkeypatch):
    kept = some(golden, "Tanh")
    v = kept.vectors[0]
    moved = vectors.Vector(**{**vars(v), "case": "parity_tests.layers.test_activation:TestGone"})
    row = check.check(vectors.Golden({}, [moved], {}))[0]
    assert row.gone == 1 and row.verdict == "agrees" and not row.torch
    monkeypatch.setattr(numpy_impl.nn.Tanh, "forward", lambda self: 0)
    row = check.check(kept, torch=False)[0]
    assert row.verdict == "we changed" and "TypeError" in check.changes([row])


# ---- files that are none -------------------------------------------------------------------------


def parts():
    with np.load(vectors.FILE) as held:
        return {name: held[name] for name in held.files}


def broken(path, how):
    whole = vectors.FILE.read_bytes()
    held = parts()
    if how == "cut short":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "one byte":
        path.write_bytes(whole[:30_000] + bytes([whole[30_000] ^ 1]) + whole[30_001:])
    elif how == "text":
        path.write_text("loss,accuracy\n1,2\n")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "an array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif how == "other arrays":
        np.savez(path, x=np.zeros(3))
    elif how == "pickled":
        np.savez(path, **{**held, "about": np.array([{"a": 1}], dtype=object)})
    elif how == "a number changed":
        held["float64"][1000] += 1e-9
        np.savez(path, **held)
    elif how == "a name changed":
        held["index"] = np.array(str(held["index"]).replace(":Tanh", ":ReLU"))
        np.savez(path, **held)
    elif how == "of another format":
        about = {**json.loads(str(held["about"])), "format": "golden vectors 99"}
        np.savez(path, **{**held, "about": np.array(json.dumps(about))})
    elif how == "a folder":
        path.mkdir()


@pytest.mark.parametrize(
    "how, says",
    [
        ("missing", "there is no file"),
        ("a folder", "is a folder"),
        ("cut short", "cut short"),
        ("one byte", "cannot be read|digest"),
        ("text", "no npz"),
        ("empty", "cut short"),
        ("an array", "holds no golden vectors"),
        ("other arrays", "it has no about, index"),
        ("pickled", "cannot be read"),
        ("a number changed", "changed after it was written"),
        ("a name changed", "changed after it was written"),
        ("of another format", "'golden vectors 99', wanted 'golden vectors 1'"),
    ],
)
def test_a_file_that_is_no_whole_file_of_vectors_says_so(tmp_path, how, says):
    path = tmp_path / "vectors.npz"
    broken(path, how)
    with pytest.raises(vectors.BadFile, match=says):
        vectors.load(path)


def test_the_command_names_what_it_does_not_know(tmp_path, capsys):
    from parity_tests.harness.cli import main

    assert main(["check", "--golden", "lossy"]) == 2
    assert "is called 'lossy'" in capsys.readouterr().err
    assert main(["check", "--golden", "--file", str(tmp_path / "none.npz")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["check", "--golden", "--json", "tanh"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["techniques"][0]["verdict"] == "agrees" and said["techniques"][0]["numpy"] < 1
    assert main(["check", "--golden", "--record", "tanh"]) == 2
    assert "recorded whole" in capsys.readouterr().err


# ---- how things are written down -----------------------------------------------------------------


def test_a_file_comes_back_as_it_was_written(golden, tmp_path):
    kept = some(golden, "BatchNorm1d", "Adam", "CrossEntropyLoss", "Generator")
    path = tmp_path / "some" / "vectors.npz"
    vectors.save(kept, path)
    again = vectors.load(path)
    assert again.made == kept.made and len(again.vectors) == len(kept.vectors)
    for a, b in zip(again.vectors, kept.vectors, strict=True):
        assert {k: v for k, v in vars(a).items() if k not in ("given", "expected")} == {
            k: v for k, v in vars(b).items() if k not in ("given", "expected")
        }
        for x, y in ((a.given, b.given), (a.expected, b.expected)):
            assert list(x) == list(y) and all(same(x[k], y[k]) for k in x)
            assert all(x[k].dtype == y[k].dtype and x[k].shape == y[k].shape for k in x)
    assert not list(tmp_path.glob("some/*.part"))


def test_a_blueprint_names_nothing_outside_numpy_impl():
    for name in (
        "os:system",
        "builtins:eval",
        "numpy_implant.x:y",
        "parity_tests.harness.cli:main",
    ):
        with pytest.raises(ValueError, match="not of numpy_impl"):
            blueprint.named(name)
    with pytest.raises(blueprint.Unwritable):
        blueprint.written({"x": object()})
    config = {"a": (1, [2.5, None]), "b": np.arange(3.0), "c": numpy_impl.nn.ReLU}
    again = blueprint.read(json.loads(json.dumps(blueprint.written(config))))
    assert again["a"] == config["a"] and again["c"] is numpy_impl.nn.ReLU
    assert same(again["b"], config["b"])


def test_a_network_of_layers_is_written_down_with_its_arguments():
    nn = numpy_impl.nn
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6, eps=0.1), nn.Dropout(0.25))
    again = blueprint.read(json.loads(json.dumps(blueprint.written(net))))
    assert again.state_dict().keys() == net.state_dict().keys()
    assert [again[1].eps, again[2].p, again[0].bias] == [0.1, 0.25, None]


def test_a_vector_that_numpy_computes_otherwise_is_far_outside_its_budget(golden):
    for name in ("MSELoss", "RMSprop", "StepLR", "XavierNormal"):
        v = some(golden, name).vectors[0]
        found = {k: x * (1 + 1e-9) if x.dtype.kind == "f" else x for k, x in play(v).items()}
        assert all(d.passed for d in v.hold(play(v)))
        assert any(d.units > 1e3 for d in v.hold(found))
