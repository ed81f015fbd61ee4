"""Small trained tasks without any training, and ONNX models of small modules."""

from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.cli import instantiate_module
from torch import Tensor, nn

from srulight.export.formats import example_sizes, program_of
from srulight.export.networks.base import Model, Shape, Tensors
from srulight.export.onnx_program import to_onnx
from srulight.tasks.base import Task

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

TOKENIZER = {
    "kind": "Words", "split": "english", "language": None, "lowercase": True, "detokenize": False,
    "specials": ["<pad>", "<unk>"], "lines": False,
    "vocabulary": ["<pad>", "<unk>", "the", "plot", "was", "dull", "charming", "not", "but", ","],
}  # fmt: skip
TARGET = {"kind": "class", "names": ["bad", "good"], "columns": [], "counts": [1, 1]}
SENTENCES = {"tokenizer": TOKENIZER, "target": TARGET, "max_length": 9, "column": "text"}
"""Metadata of a classifier."""


def setting(name: str, **options: object) -> dict[str, Any]:
    return {"class_path": f"srulight.{name}", "init_args": options}


def checkpoint_of(kind: type[Task], metadata: dict[str, Any], **settings: object) -> dict[str, Any]:
    """Returns the contents of a checkpoint of a task with random weights, away from zero."""
    task = instantiate_module(kind, settings)
    task.build(metadata)
    for parameter in task.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    path = f"{kind.__module__.rpartition('.')[0]}.{kind.__name__}"
    return {
        "epoch": 2, "global_step": 7, "pytorch-lightning_version": lightning.__version__,
        "state_dict": task.state_dict(), "hyper_parameters": settings, "metadata": metadata,
        "task": path, "hyper_parameters_dropped": [], "callbacks": {},
    }  # fmt: skip


def in_onnxruntime(
    module: nn.Module, example: Callable[[dict[str, int]], Tensors], inputs: dict[str, Shape]
) -> Callable[..., list[Tensor]]:  # fmt: skip
    """Translates a module to ONNX, and returns a function that runs it there."""
    model = Model("model", "", module.eval(), inputs, {}, example, {})
    found = model.run(example(example_sizes(model)))
    names: dict[str, list[str | int]] = {
        f"y{i}": [f"y{i}_{axis}" for axis in range(y.dim())] for i, y in enumerate(found)
    }
    proto = to_onnx(program_of(model), {k: list(v) for k, v in inputs.items()}, names)
    domains = {node.domain for node in proto.graph.node}
    assert domains == {""}, "only standard operators"
    session = onnxruntime.InferenceSession(proto.SerializeToString())

    def run(*given: Tensor) -> list[Tensor]:
        feeds = {name: one.numpy() for name, one in zip(inputs, given, strict=True)}
        return [torch.from_numpy(one) for one in session.run(None, feeds)]

    return run
