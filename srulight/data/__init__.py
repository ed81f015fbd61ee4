"""Data modules, and the corpora they read."""

from srulight.data.an4 import AN4
from srulight.data.base import TaskData
from srulight.data.corpus import Corpus
from srulight.data.dial import Dial
from srulight.data.flat_files import FlatFiles
from srulight.data.grammar import Grammar
from srulight.data.language_modelling import LanguageModellingData
from srulight.data.librispeech import LibriSpeech
from srulight.data.manifest import Manifest
from srulight.data.number_words import NumberWords
from srulight.data.parallel import ParallelCorpus
from srulight.data.parallel_text import ParallelText
from srulight.data.question_answering import QuestionAnsweringData
from srulight.data.questions import QuestionCorpus
from srulight.data.speech import SpeechRecognitionData
from srulight.data.spoken_digits import SpokenDigits
from srulight.data.squad import Squad
from srulight.data.stanford_trees import StanfordTrees
from srulight.data.stories import Stories
from srulight.data.tables import Tables
from srulight.data.text_classification import TextClassificationData
from srulight.data.texts import GrammarText, TextCorpus, TextFiles
from srulight.data.translation import TranslationData
from srulight.data.utterances import SpeechCorpus
from srulight.data.yes_no import YesNo

__all__ = [
    "AN4",
    "Corpus",
    "Dial",
    "FlatFiles",
    "Grammar",
    "GrammarText",
    "LanguageModellingData",
    "LibriSpeech",
    "Manifest",
    "NumberWords",
    "ParallelCorpus",
    "ParallelText",
    "QuestionAnsweringData",
    "QuestionCorpus",
    "SpeechCorpus",
    "SpeechRecognitionData",
    "SpokenDigits",
    "Squad",
    "StanfordTrees",
    "Stories",
    "Tables",
    "TaskData",
    "TextClassificationData",
    "TextCorpus",
    "TextFiles",
    "TranslationData",
    "YesNo",
]
