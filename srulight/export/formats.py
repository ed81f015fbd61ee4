"""The formats of exported models: how each one is written, read and run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.export import Dim, ExportedProgram

from srulight.export.networks.base import Model, Run, Sizes, Tensors
from srulight.export.onnx_program import LARGEST, to_onnx
from srulight.export.self_contained import self_contained
from srulight.runtime.errors import InputError

_EXAMPLE = 3
"""Size of the first named dimension of the example; each further one has 4 more."""


class Format(ABC):
    """A format of exported models.

    Attributes:
        name: Value of ``--format``.
        title: Name of the format in the model card.
        needs: What it takes to run a model, as a phrase for the model card.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[str]

    def check(self) -> None:  # noqa: B027 - most formats need nothing
        """Raises InputError if a package is missing that writes or runs this format."""

    @abstractmethod
    def write(self, model: Model, folder: Path) -> Run:
        """Writes a model, and reads it back.

        Args:
            model: The model.
            folder: Folder to write to.

        Returns:
            A function that runs what was written.

        Raises:
            InputError: If the model cannot be written in this format.
        """


def example_sizes(model: Model) -> Sizes:
    """Returns different sizes of the named dimensions of a model, of at least 3."""
    names = [size for shape in model.inputs.values() for size in shape if isinstance(size, str)]
    return {
        name: max(_EXAMPLE + 4 * i, model.least.get(name, 1) + 4)
        for i, name in enumerate(dict.fromkeys(names))
    }


def program_of(model: Model) -> ExportedProgram:
    """Records a model as a program with named dimensions of any size."""
    with torch.no_grad():
        inputs = model.draw(example_sizes(model))
        try:
            return torch.export.export(_Named(model), inputs, dynamic_shapes=(_dynamic(model),))
        except (torch._dynamo.exc.UserError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"cannot export the model {model.name!r} of this network: torch.export says: "
                f"{reason[:300]}"
            ) from error


def _dynamic(model: Model) -> tuple[dict[int, Any], ...]:
    """Returns the named dimensions of each input, as ``torch.export`` takes them."""
    return tuple(
        {axis: Dim.DYNAMIC for axis, size in enumerate(shape) if isinstance(size, str)}
        for shape in model.inputs.values()
    )


class _Named(torch.nn.Module):
    """Calls a module, so that its inputs have no names of their own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.module

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        found = self.network(*inputs)
        return found if isinstance(found, tuple) else (found,)


class Onnx(Format):
    """ONNX with standard operators, for ONNX Runtime and other runtimes."""

    name = "onnx"
    title = "ONNX"
    needs = "onnxruntime, or another runtime of ONNX; srulight and PyTorch are not needed"

    def check(self) -> None:
        _import("onnx")
        _import("onnxruntime")

    def write(self, model: Model, folder: Path) -> Run:
        import onnx

        proto = to_onnx(
            program_of(model), {k: list(v) for k, v in model.inputs.items()},
            {k: list(v) for k, v in model.outputs.items()},
        )  # fmt: skip
        path = folder / f"{model.name}.onnx"
        proto.doc_string = model.about
        if sum(len(one.raw_data) for one in proto.graph.initializer) > LARGEST:
            onnx.save_model(
                proto, path, save_as_external_data=True, location=f"{model.name}.onnx.data"
            )
        else:
            onnx.save_model(proto, path)
        return onnx_runner(path, list(model.inputs))


def onnx_runner(path: Path, names: list[str]) -> Run:
    """Opens an ONNX model with as many threads as PyTorch has.

    Args:
        path: The file.
        names: Names of its inputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Threads that wait actively would slow down PyTorch, which is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Tensors) -> Tensors:
        given = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(one) for one in session.run(None, given))

    return run


class TorchProgram(Format):
    """A program of ``torch.export``, which runs without the Python code of the network."""

    name = "torch"
    title = "torch.export"
    needs = (
        "PyTorch, and `import srulight.encoders`, which registers the operators of the recurrence"
    )

    def write(self, model: Model, folder: Path) -> Run:
        path = folder / f"{model.name}.pt2"
        torch.export.save(program_of(model), path)
        return _runner(torch.export.load(path).module())


class PlainProgram(Format):
    """A program of ``torch.export`` that also runs where srulight is not installed, but slowly."""

    name = "aten"
    title = "torch.export with PyTorch's own operators"
    needs = "PyTorch; srulight is not needed"

    def write(self, model: Model, folder: Path) -> Run:
        path = folder / f"{model.name}.pt2"
        program = program_of(model)
        inputs = model.draw(example_sizes(model))
        torch.export.save(self_contained(program, inputs, _dynamic(model)), path)
        return _runner(torch.export.load(path).module())


class Compiled(Format):
    """A package of AOTInductor, compiled for this kind of processor."""

    name = "aoti"
    title = "AOTInductor"
    needs = (
        "PyTorch of the same version, a processor like the one that exported it, and `import "
        "srulight.encoders`, which registers the operators of the recurrence"
    )

    def check(self) -> None:
        from srulight.tasks.compiling import check_compiler

        check_compiler(torch.device("cpu"))

    def write(self, model: Model, folder: Path) -> Run:
        from torch._inductor import aoti_compile_and_package, aoti_load_package

        path = str(folder / f"{model.name}.pt2")
        with torch.no_grad():
            aoti_compile_and_package(program_of(model), package_path=path)
        return _runner(aoti_load_package(path))


def _runner(call: Callable[..., Any]) -> Run:
    def run(inputs: Tensors) -> Tensors:
        with torch.no_grad():
            # Compiled code reads wrong numbers from a tensor that is not contiguous.
            found = call(*(one.contiguous() for one in inputs))
        return (found,) if isinstance(found, torch.Tensor) else tuple(found)

    return run


def _import(name: str) -> None:
    from importlib import import_module

    try:
        import_module(name)
    except ImportError as error:
        raise InputError(
            f"--format=onnx needs {name}, which is not installed; run pip install "
            '"srulight[export]"'
        ) from error


FORMATS: dict[str, type[Format]] = {
    cls.name: cls for cls in (Onnx, TorchProgram, Compiled, PlainProgram)
}
"""The formats by the value of ``--format``. A format of quantized models belongs here as well."""
