"""Train, validate and test a model: ``recbole-ext run``."""

from __future__ import annotations

import argparse

from recbole_ext.quick_start import run
from recbole_ext.runs.summary import summarize
from recbole_ext.tools.command_line import add_model_arguments

DESCRIPTION = """\
Train, validate and test a model of recbole_ext or RecBole.

    recbole-ext run --model=LambdaOptMF --dataset=ml-100k --epochs=50

Any other hyper-parameter of RecBole or of the model is given as --key=value, for example
  --learning_rate=0.005  --topk=[10,50]  --load_col="{'inter':['user_id','item_id']}"
  --resume_file=saved/X-last.pth   continue an interrupted run
The models' hyper-parameters are explained in properties/model/<Name>.yaml.
"""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options besides hyper-parameters, as in RecBole's own ``run.py``."""
    add_model_arguments(parser)
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine (GPUs)")
    parser.add_argument("--ip", default="localhost", help="address of the master node")
    parser.add_argument("--port", default="5678", help="port of the master node")
    parser.add_argument("--world_size", type=int, default=-1, help="processes in total")
    parser.add_argument(
        "--group_offset", type=int, default=0, help="rank of the first process here"
    )
    parser.add_argument("--ray_address", help="Ray cluster to train on: auto, local or host:port")
    parser.add_argument("--num_workers", type=int, help="processes on that cluster (default: 1)")


def main(options: argparse.Namespace) -> str:
    """Run the model; returns the summary."""
    result = run(
        options.model,
        options.dataset,
        config_file_list=options.config_files,
        config_dict=options.settings,
        nproc=options.nproc,
        world_size=options.world_size,
        ip=options.ip,
        port=options.port,
        group_offset=options.group_offset,
        ray_address=options.ray_address,
        num_workers=options.num_workers,
    )
    return summarize(options.model, options.dataset, result)
