"""Runs and studies posted to MLflow and TensorBoard, beside the training and never in its way.

The run's own files are the truth. A poster reads them from where it stopped and sends what is new; it is a process of
its own while a training goes on (`following`), and the same function afterwards (`track`). Losing the server loses
nothing: what was not posted is posted by the next one.
"""
