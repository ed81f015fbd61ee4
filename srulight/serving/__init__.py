"""Answers requests over HTTP and WebSocket with the task of a checkpoint."""
