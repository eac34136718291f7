"""Ray Train: a worker on each of two nodes starts the launcher for the node's eight GPUs. Not tested.

ray job submit --working-dir . -- python hparams/cluster/ray_train.py
"""

import os
import subprocess

NODES, GPUS = 2, 8
TRAIN = "--config hparams/imagenet/sosr_resnet50.yaml --loss sosr --batch-size 16 --data-dir FOLDER --output FOLDER"
PORT = 29511  # not Ray's own MASTER_PORT, which is taken


def command(rank: int, address: str) -> list[str]:
    """The command line of a node.

    Args:
        rank: of the node.
        address: of the first node.
    """
    launch = ["accelerate", "launch", "--quiet", "--config_file", "hparams/accelerate/several_nodes.yaml"]
    launch += ["--num_machines", str(NODES), "--num_processes", str(NODES * GPUS), "--machine_rank", str(rank)]
    launch += ["--main_process_ip", address, "--main_process_port", str(PORT)]
    return [*launch, "train.py", *TRAIN.split(), "--resume", "auto", "--experiment", "sosr-timm"]


def train() -> None:
    from ray.train import get_context

    rank = get_context().get_world_rank()
    subprocess.run(command(rank, os.environ["MASTER_ADDR"]), check=True)


def main() -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # STRICT_SPREAD: each worker on a node of its own.
    scaling = ScalingConfig(
        num_workers=NODES, use_gpu=True, resources_per_worker={"GPU": GPUS}, placement_strategy="STRICT_SPREAD"
    )
    run = RunConfig(failure_config=FailureConfig(max_failures=2))
    TorchTrainer(train, scaling_config=scaling, run_config=run).fit()


if __name__ == "__main__":
    main()
