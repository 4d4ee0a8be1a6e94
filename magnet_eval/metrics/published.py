"""Metrics on the networks of the published numbers; every preset reproduces one tool's convention."""

from magnet_eval.metrics.record import Metric

PUBLISHED: tuple[Metric, ...] = ()
