"""The data room: sources -> pack -> edits -> exports. Nothing here imports torch."""
