"""The job files of hparams/cluster, which no engine has run: well-formed, and their commands are understood."""

import os
import runpy
import shlex
import subprocess

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from tests.training.harness import ROOT

FOLDER = ROOT / "hparams" / "cluster"
SKYPILOT = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "8", "SKYPILOT_NODE_RANK": "1"}
SKYPILOT["SKYPILOT_NODE_IPS"] = "10.0.0.1\n10.0.0.2"
OPERATOR = {"RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "23456"}


def words_of(script: str, **environment: str) -> list[str]:
    """What a script gives to `accelerate`, with the variables that the engine sets."""
    recorded = 'accelerate() { printf "%s\\n" "$@"; }; git() { :; }; pip() { :; }; cd() { :; }\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", recorded + script.replace("exec accelerate", "accelerate")],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def container() -> dict:
    job = yaml.safe_load((FOLDER / "kubeflow_pytorchjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    pods = [job["spec"]["pytorchReplicaSpecs"][name] for name in ("Master", "Worker")]
    assert [pod["replicas"] for pod in pods] == [1, 1]
    (first,), (second,) = (pod["template"]["spec"]["containers"] for pod in pods)
    assert first == second
    assert first["name"] == "pytorch", "the only name that the operator knows"
    return first


def skypilot() -> list[str]:
    return words_of(yaml.safe_load((FOLDER / "skypilot.yaml").read_text())["run"], **SKYPILOT)


def kubeflow() -> list[str]:
    return words_of(container()["args"][0], **OPERATOR)


def ray() -> list[str]:
    return runpy.run_path(str(FOLDER / "ray_train.py"))["command"](1, "10.0.0.1")[1:]


def hugging_face() -> list[str]:
    text = (FOLDER / "hugging_face_jobs.sh").read_text()
    words = shlex.split(text[text.index("hf jobs run") :])
    return words_of(words[words.index("-c") + 1])


@pytest.mark.parametrize(
    ("words_of_file", "machines"),
    [(skypilot, 2), (kubeflow, 2), (ray, 2), (hugging_face, 1)],
    ids=["skypilot", "kubeflow", "ray", "hugging_face"],
)
def test_the_command_of_a_job_file_is_understood(words_of_file, machines):
    command, *words = words_of_file()
    assert command == "launch"
    arguments = _validate_launch_command(launch_command_parser().parse_args(words))[0]
    assert (arguments.num_machines, arguments.num_processes, arguments.multi_gpu) == (machines, 8 * machines, True)
    if machines == 2:
        assert (arguments.machine_rank, arguments.main_process_ip) == (1, "10.0.0.1")
    assert arguments.training_script == "train.py"
    options = load(TrainOptions, arguments.training_script_args, "").options
    assert (options.run.resume, options.run.experiment) == ("auto", "sosr-timm")


def test_a_pod_asks_for_as_many_gpus_as_the_launcher_starts_processes():
    assert container()["resources"]["limits"]["nvidia.com/gpu"] == 8


def test_every_job_file_says_that_it_was_not_tested_and_is_on_the_page():
    page = (ROOT / "docs" / "launch.md").read_text()
    for path in FOLDER.iterdir():
        assert "Not tested" in path.read_text(), path
        assert f"`hparams/cluster/{path.name}`" in page
