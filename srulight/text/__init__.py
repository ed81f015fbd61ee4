"""Words, vocabularies and tokenizers."""
