"""The command: what it prints, what it returns, and that nothing stops it halfway."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parity_tests.harness import score, score_table
from parity_tests.harness.results import Technique
from parity_tests.harness_tests.conftest import AGREES, FAILS, HEAD

ROOT = Path(__file__).resolve().parents[2]


def test_agreement_is_status_0_one_table_and_two_files(write_suite, parity):
    done = parity(write_suite(layers__double=AGREES), "run", "--jobs", "1")
    assert done.status == 0, done.out + done.err
    assert "NumPy and PyTorch agree on 1 technique." in done.out
    assert done.err == "" and "\x1b" not in done.out
    assert sorted(os.listdir("parity-report")) == ["report.html", "report.json"]
    assert "parity-report/report.html" in done.out


def test_failures_are_status_1_in_full_and_stop_nothing(write_suite, parity):
    suite = write_suite(layers__mixed=FAILS, losses__broken="class TestX(Y): pass", tuning__none="")
    done = parity(suite, "run", "-o", "deep/er")
    assert done.status == 1
    for text in (
        "disagree on 4 of 5 techniques: Fails, Raises, CannotStart, broken.",
        "FAILS layers/Fails  agrees[float64]",
        "again: parity run Fails --seed 0 --dtype float32",
        "ZeroDivisionError: division by zero",
        "in <lambda>",
        "FAILS layers/Raises  divides\n    and 1 more of its checks, in the same words",
        "SystemExit: 0",
        "compared nothing",
        "RuntimeWarning: divide by zero",
        "one is <not> above two",
        "KeyError: 'no such configuration'",
        "NameError: name 'Y' is not defined",
        "Report: deep/er/report.html",
    ):
        assert text in done.out, text
    data = json.loads(Path("deep/er/report.json").read_text())
    verdicts = {t["technique"]: t["verdict"] for t in data["techniques"]}
    assert verdicts.pop("Agrees") == "agrees" and set(verdicts.values()) == {"fails"}
    assert max(len(line) for line in done.out.splitlines()) <= 100


def test_the_printed_command_fails_again_in_the_same_words(write_suite, parity):
    suite = write_suite(layers__mixed=FAILS)
    done = parity(suite, "run", "--seed", "5", "--quick", "--no-report")
    (line,) = [x for x in done.out.splitlines() if "again:" in x and "float64" in x]
    command = shlex.split(line.split("again:")[1])
    assert command == "parity run Fails --seed 5 --dtype float64 --quick".split()
    again = parity(suite, *command[1:], "--no-report")
    assert again.status == 1
    said = done.out.split("agrees[float64]\n")[1].split("again:")[0]
    assert said in again.out and "Raises" not in again.out


def test_what_comes_out_depends_on_the_seed_and_not_on_the_workers(write_suite, parity):
    suite = write_suite(layers__mixed=FAILS, losses__double=AGREES)

    def results(*argv):
        parity(suite, "run", *argv)
        data = json.loads(Path("parity-report/report.json").read_text())["techniques"]
        for checks in (t.pop("seconds") and t["checks"] or t["checks"] for t in data):
            for check in checks:
                check.pop("seconds")
        return data

    first = results("--jobs", "1")
    assert results("--jobs", "3") == first
    assert results("--seed", "1") != first


def test_one_dtype_is_one_group_of_columns(write_suite, parity):
    done = parity(write_suite(layers__double=AGREES), "run", "--dtype", "float32", "--no-report")
    assert done.status == 0 and "float32" in done.out and "float64" not in done.out
    assert not Path("parity-report").exists()


@pytest.mark.parametrize("name", ["layers", "mixed", "Layers/Mixed", "AGREES", "test_mixed.py"])
def test_names_are_chapters_files_or_techniques(write_suite, parity, name):
    done = parity(write_suite(layers__mixed=FAILS, losses__other="") or "", "list", name)
    assert done.status == 0 and "Doubles what it is given." in done.out


def test_an_unknown_name_is_status_2_with_what_is_near_it(write_suite, parity):
    done = parity(write_suite(layers__mixed=FAILS), "run", "Agrees", "Fials")
    assert done.status == 2 and done.out == ""
    assert "'Fials'" in done.err and "Fails" in done.err
    assert "parity list" in parity(write_suite(layers__mixed=FAILS), "run", "zzzz").err


@pytest.mark.parametrize(
    "argv", [["run", "--jobs", "0"], ["run", "--seed", "-1"], ["run", "--dtype", "float16"], []]
)
def test_wrong_arguments_are_status_2(parity, argv):
    done = parity("parity_tests", *argv)
    assert done.status == 2 and "usage: parity" in done.err


def test_a_folder_that_cannot_be_written_is_status_2_after_the_table(write_suite, parity):
    Path("file").write_text("")
    done = parity(write_suite(layers__double=AGREES), "run", "-o", "file/folder")
    assert done.status == 2
    assert "agree on 1 technique" in done.out and "cannot write the report" in done.err


def test_a_worker_that_dies_is_a_failure_with_words(write_suite, parity):
    dies = AGREES + "\nclass TestDies(Case):\n    def checks(self, settings):\n"
    dies += "        yield Check('dies', lambda log: os._exit(3))\n"
    done = parity(write_suite(layers__dies=dies), "run", "Dies", "--no-report")
    assert done.status == 1 and "a worker process ended" in done.out


SLOW = (
    HEAD
    + """
class TestFirst(Doubling):
    pass

class TestSlow(Case):
    def checks(self, settings):
        def run(log):
            with open("pid", "w") as file:
                file.write(str(os.getpid()))
            time.sleep(60)
        yield Check("sleeps", run)
"""
)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_ctrl_c_prints_what_is_done_and_leaves_nothing_running(write_suite, tmp_path):
    suite = write_suite(layers__slow=SLOW)
    code = (  # what a shell starts in its background is deaf to Ctrl-C, and so are its children
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from parity_tests.harness.cli import main; sys.exit(main(suite={suite!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "--jobs", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pid = tmp_path / "pid"
    for _ in range(900):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "Stopped after 1 of 2 techniques; none failed." in out
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_command_answers_without_loading_torch():
    code = "import sys, parity_tests.harness.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_python_dash_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "parity_tests", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Exit status" in done.stdout


SCORED = """
import numpy as np, torch
from parity_tests.harness import FunctionParity, Mistake, arrays

def half(x): return np.tanh(x) / 2
def two_thirds(x): return np.tanh(x) / 1.5

class TestTanh(FunctionParity):
    numpy, torch = np.tanh, torch.tanh
    inputs = arrays("N C", N=[5], C=[3])
    mistakes = {"half": half, MORE}
    rewrites = {"odd": lambda x: -np.tanh(-x), RIGHT}
"""


def test_a_score_counts_what_is_right_and_says_what_is_missed(write_suite, parity):
    good = SCORED.replace("MORE", '"two thirds": two_thirds').replace(", RIGHT", "")
    bad = SCORED.replace("MORE", '"half again": half, "none": np.tanh')
    bad = bad.replace("RIGHT", '"a half is no rewrite": half')
    suite = write_suite(layers__tanh=good, losses__tanh=bad)
    done = parity(suite, "score", "--jobs", "1", "--json", "score.json")
    assert done.status == 1, done.out + done.err
    rows = [line.split() for line in done.out.splitlines() if line.startswith("  Tanh")]
    assert rows[0] == ["Tanh", "2/2", "1/1", "2/2", "7/7", "-"]
    assert rows[1] == ["Tanh", "2/3", "2/3", "2/3", "7/8", "-"]
    for text in (
        "the mistake 'none' is not caught",
        "'half' and 'half again' are not told apart",
        "the mistake 'none' is not seen",
        "false alarm, a half is no rewrite: NxC(N=5,C=3) unit: forward output",
    ):
        assert f"MISSED losses/Tanh: {text}" in done.out, done.out
    found, _ = json.loads(Path("score.json").read_text())["techniques"]
    assert found["apart"] == {"right": 1, "of": 1, "missed": []}


def test_the_table_of_a_score_has_a_row_for_every_file():
    one, two = (Technique("layers", name, "activation", "m", name) for name in ("ReLU", "Tanh"))
    part = score.Score(caught=score.Count(2, 3, ["one"]), apart=score.Count(3, 3))
    mutants = {
        "layers/activation.py": score.Count(39, 40, ["a mutant"]),
        "layers/nothing.py": score.Count(),
        "module.py": score.Count(7, 7),
        "mt19937.py": score.Count(2, 2),
    }
    table = score_table.markdown({one: part, two: part}, mutants).splitlines()
    assert table[0].startswith("| chapter | file | mistakes caught | pairs told apart |")
    assert table[2] == "| Layers | `activation` | 4/6 | 6/6 | - | - | 39/40 (98 %) |"
    assert table[3] == "| What these stand on | `module` | - | - | - | - | 7/7 (100 %) |"
    assert table[4] == "|  | `mt19937` | - | - | - | - | 2/2 (100 %) |"
    assert table[5] == "| **in all** |  | 4/6 | 6/6 | - | - | 48/49 (98 %) |"
    lines = score_table.terminal({one: part, two: part}, mutants, lambda text, _: text).splitlines()
    assert [line.split() for line in lines if line.startswith("  m")] == [
        ["module", "-", "-", "-", "-", "7/7"],
        ["mt19937", "-", "-", "-", "-", "2/2"],
    ]
    assert ["in", "all", "4/6", "6/6", "-", "-", "48/49"] in [line.split() for line in lines]
