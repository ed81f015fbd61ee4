"""Models that read a text with a question in mind."""

from srulight.readers.document_reader import DocumentReader, Scores, span_loss
from srulight.readers.stacked import Stacked

__all__ = ["DocumentReader", "Scores", "Stacked", "span_loss"]
