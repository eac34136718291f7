"""Train an image classifier: accelerate launch train.py --config hparams/digits.yaml --loss sosr"""

from sosr_timm.train import command

if __name__ == "__main__":
    command()
