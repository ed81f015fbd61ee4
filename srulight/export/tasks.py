"""Finds the exported network of a task."""

from typing import Any

from srulight.export.networks.base import Network
from srulight.export.networks.language_modeling import LanguageModelNetwork
from srulight.export.networks.text_classification import ClassifierNetwork
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.tasks.text_classification.task import TextClassification

NETWORKS: dict[type[Task], type[Network[Any]]] = {
    TextClassification: ClassifierNetwork,
    LanguageModeling: LanguageModelNetwork,
}
"""The networks of all tasks that can be exported."""


def network_of(task: Task) -> Network[Any]:
    """Returns the network of a task.

    Args:
        task: A trained task.

    Raises:
        InputError: If networks of this task cannot be exported.
    """
    for kind, network in NETWORKS.items():
        if isinstance(task, kind):
            return network(task.cpu().eval())
    names = ", ".join(kind.__name__ for kind in NETWORKS)
    raise InputError(
        f"{type(task).__name__} cannot be exported; pass the checkpoint of one of {names}"
    )
