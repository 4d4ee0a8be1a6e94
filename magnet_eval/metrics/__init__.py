"""The metrics: pure NumPy functions, and one record each that says what they need and how they are read.

To add one: a function in a module of this folder, and a record (see record.py) in tiny.py, attributes.py or
published.py. A metric may have several presets, that is named numerics; where none is named, its first one is taken.
"""

from magnet_eval import lookup
from magnet_eval.lookup import UserError, check, unknown
from magnet_eval.metrics.attributes import TAGGED
from magnet_eval.metrics.published import PUBLISHED
from magnet_eval.metrics.record import NEEDS as NEEDS
from magnet_eval.metrics.record import Metric as Metric
from magnet_eval.metrics.tiny import TINY

PRESETS: dict[tuple[str, str], Metric] = {
    (metric.name, metric.preset): metric for metric in (*TINY, *TAGGED, *PUBLISHED)
}
METRICS: dict[str, Metric] = {}  # each with its first preset
for (_name, _), _metric in PRESETS.items():
    METRICS.setdefault(_name, _metric)


def get(name: str, preset: str = "") -> Metric:
    """The metric of a name with one of its presets ("": the first), or a Metric of the user's own, pkg.module:object.

    Raises UserError with the nearest names.
    """
    if ":" in name:
        metric = lookup.load({}, name, "metric")
        if not isinstance(metric, Metric):
            raise UserError(f"metric {name} is no magnet_eval.metrics.Metric, got {type(metric).__name__}.")
        return metric
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    if not preset:
        return METRICS[name]
    check(f"preset of {name}", preset, [known for other, known in PRESETS if other == name])
    return PRESETS[name, preset]
