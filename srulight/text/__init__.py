"""Tokenizers and pretrained word vectors."""
