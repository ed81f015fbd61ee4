"""Models in repositories of the Hugging Face hub: their names, uploads and downloads."""
