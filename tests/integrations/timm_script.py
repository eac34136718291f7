"""Stands in for timm's train.py, which is not in timm's package: the functions that the page's script relies on."""

import argparse

import timm.loss
import timm.task
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--loss", choices=timm.loss.LOSS_TYPES, default="ce")
parser.add_argument("--epochs", type=int, default=300)
parser.add_argument("--resume", default="")
tasks = []


def _parse_args():
    return parser.parse_args(), ""


def train_one_epoch(epoch, model, loader, optimizer, args, task=None):
    for features, target in loader:
        optimizer.zero_grad()
        task(features, target)["loss"].backward()
        optimizer.step()


def main():
    args, _ = _parse_args()
    torch.manual_seed(0)
    model = nn.Linear(6, 4)
    task = timm.task.ClassificationTask(model, criterion_kwargs={"loss_type": args.loss}, verbose=False)
    tasks.append(task)
    loader = [(torch.randn(16, 6), torch.randint(4, (16,))) for _ in range(5)]
    for epoch in range(args.epochs):
        train_one_epoch(epoch, model, loader, torch.optim.SGD(model.parameters(), lr=0.1), args, task=task)
