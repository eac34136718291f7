"""Accelerate reads the launch configurations; the SLURM files do what they say, run with a stand-in for Slurm."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from tests.training.harness import SMALL, free_port

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = sorted((ROOT / "hparams" / "accelerate").glob("*.yaml"))
SLURM = sorted((ROOT / "hparams" / "slurm").glob("*.sbatch"))

# What each stand-in does with the variables that Slurm would set; tasks run one after another.
SRUN = """\
#!/bin/bash
while [[ $1 == --* ]]; do shift; done
task=0
for node in $(seq 0 $((SLURM_NNODES - 1))); do
    SLURM_NODEID=$node SLURM_PROCID=$task SLURM_LOCALID=0 "$@" &
    if [ -n "$SIGNAL_WHEN" ]; then
        until [ -e "$SIGNAL_WHEN" ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
        kill -USR1 $!
    fi
    wait $! || exit $?
    task=$((task + 1))
done
"""
SCONTROL = """\
#!/bin/bash
if [ "$1 $2" = "show hostnames" ]; then printf '%s\\n' 127.0.0.1 node2; else echo "$@" >> "$LOG"; fi
"""
ACCELERATE = """\
#!/bin/bash
printf '%q ' "$@" >> "$LOG"
echo >> "$LOG"
"""


@pytest.fixture
def slurm(tmp_path):
    """Runs a batch file as Slurm would; returns what it printed and what reached scontrol and accelerate."""
    commands = tmp_path / "commands"
    commands.mkdir()
    python = f'#!/bin/bash\nexec {shlex.quote(sys.executable)} "$@"\n'
    stand_ins = {"srun": SRUN, "scontrol": SCONTROL, "accelerate": ACCELERATE, "python": python}
    for name, text in stand_ins.items():
        path = commands / name
        path.write_text(text)
        path.chmod(0o755)

    def run(name: str, *arguments: object, nodes: int = 1, signal_when: Path | str = ""):
        log = tmp_path / "log"
        log.write_text("")
        environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "LOG": str(log),
            "SIGNAL_WHEN": str(signal_when),
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_NNODES": str(nodes),
            "SLURM_NTASKS": str(nodes),
            "SLURM_GPUS_ON_NODE": "4",
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            ["bash", f"hparams/slurm/{name}", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done, log.read_text().splitlines()

    return run


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_accelerate_reads_a_launch_configuration(path):
    config = load_config_from_file(str(path))
    assert config.mixed_precision == "no", "without --amp the launcher's precision would hold unseen"
    processes, machines, on_cpu = {
        "cpu.yaml": (1, 1, True),
        "one_gpu.yaml": (1, 1, False),
        "eight_gpus.yaml": (8, 1, False),
        "several_nodes.yaml": (16, 2, False),
    }[path.name]
    assert (config.num_processes, config.num_machines, config.use_cpu) == (processes, machines, on_cpu)


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_the_command_of_a_launch_configuration_is_understood(path):
    (words,) = re.findall(r"^# command: accelerate launch (.*)$", path.read_text(), re.MULTILINE)
    arguments = launched(words)
    assert arguments.config_file == str(path.relative_to(ROOT))
    assert arguments.multi_gpu == (path.stem in ("eight_gpus", "several_nodes"))
    load(TrainOptions, arguments.training_script_args, "")


def launched(words: str):
    """What `accelerate launch` makes of its arguments."""
    arguments = launch_command_parser().parse_args(shlex.split(words))
    return _validate_launch_command(arguments)[0]


@pytest.mark.parametrize("path", SLURM, ids=lambda path: path.name)
def test_a_batch_file_is_bash_and_its_command_is_understood(path):
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    text = path.read_text()
    (words,) = re.findall(r"^# command: sbatch (.*)$", text, re.MULTILINE)
    name, *arguments = shlex.split(words)
    assert name == str(path.relative_to(ROOT))
    load(TrainOptions, arguments, "")
    # Slurm stops reading its options at the first command.
    assert "#SBATCH" not in text[text.index("\nset ") :]


def test_one_node_starts_a_process_for_each_gpu(slurm):
    done, (line,) = slurm("one_node.sbatch", "--loss", "ols + sosr")
    assert done.returncode == 0, done.stderr
    arguments = launched(line.removeprefix("launch "))
    assert (arguments.num_processes, arguments.num_machines, arguments.multi_gpu) == (4, 1, True)
    assert arguments.training_script == "train.py"
    assert arguments.training_script_args == ["--loss", "ols + sosr"]


def test_several_nodes_agree_on_one_address_and_have_their_own_rank(slurm):
    done, lines = slurm("several_nodes.sbatch", "--loss", "ols + sosr", nodes=2)
    assert done.returncode == 0, done.stderr
    first, second = (launched(line.removeprefix("launch ")) for line in lines)
    assert (first.machine_rank, second.machine_rank) == (0, 1)
    for arguments in (first, second):
        assert (arguments.num_processes, arguments.num_machines, arguments.multi_gpu) == (8, 2, True)
        assert (arguments.main_process_ip, arguments.main_process_port) == ("127.0.0.1", 24711)
        assert arguments.training_script_args == ["--loss", "ols + sosr"]


def test_a_signalled_job_is_saved_requeued_and_resumed_to_its_end(slurm, tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--epochs", "40", "--output", tmp_path / "runs"]
    run = RunFolder(tmp_path / "runs" / "4711")
    done, requests = slurm("preempt_and_requeue.sbatch", *arguments, signal_when=run.summary)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped early by signal" in done.stdout
    assert requests == ["requeue 4711"]
    assert not (run.path / "result.json").exists()

    done, requests = slurm("preempt_and_requeue.sbatch", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumes from" in done.stdout
    assert requests == []
    assert (run.path / "result.json").is_file()
    assert len(run.summary.read_text().splitlines()) == 1 + 40
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["4711"]


def test_a_job_that_fails_is_not_requeued(slurm, tmp_path):
    done, requests = slurm("preempt_and_requeue.sbatch", "--dataset", "digits", "--loss", "sosrr", "--output", tmp_path)
    assert done.returncode == 2
    assert "unknown loss 'sosrr'" in done.stderr
    assert requests == []


@pytest.mark.slow
def test_accelerate_launch_quiet_shows_the_one_line_of_an_error(tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    command += ["--main_process_port", str(free_port())]
    arguments = ["train.py", "--config", "hparams/digits.yaml", "--loss", "sosrr", "--output", str(tmp_path)]
    for quiet in ([], ["--quiet"]):
        done = subprocess.run(
            [*command, *quiet, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 1, "the launcher does not give back its script's exit code"
        assert "train.py: error:" in done.stderr
        assert ("Traceback" in done.stderr) == (not quiet)
