"""What Prolific and Amazon Mechanical Turk take to send listeners to a study that is served elsewhere."""

import html
import json
from dataclasses import dataclass

from magnet_eval.study.exchange.tabular import to_csv
from magnet_eval.study.schema import Packet

RETURN = "https://app.prolific.com/submissions/complete?cc="  # where Prolific wants listeners back
LAYOUT = """<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form answer-format="flatten-objects">
  <h2>{title}</h2>
  <p>You listen to short sounds with headphones and judge them. It takes about {minutes} minutes.</p>
  <p><a id="study" href="${{url}}" target="_blank" rel="noopener">Open the listening test in a new tab</a></p>
  <p>At its end you get a code. Come back and type it here:</p>
  <crowd-input name="code" label="Completion code" required></crowd-input>
</crowd-form>
<script>
  const worker = new URLSearchParams(location.search).get("workerId");
  const link = document.getElementById("study");
  if (worker) link.href += (link.href.includes("?") ? "&" : "?") + "workerId=" + encodeURIComponent(worker);
</script>
"""


@dataclass(frozen=True)
class Offer:
    """What listeners are asked to do."""

    url: str  # of the served study
    places: int
    minutes: int
    reward: float  # in the platform's currency


def prolific(packet: Packet, offer: Offer, code: str) -> dict[str, str]:
    """Files by name: the body of a request for a new study to Prolific's API, version 1."""
    joint = "&" if "?" in offer.url else "?"
    places = "&".join(f"{name}={{{{%{name}%}}}}" for name in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"))
    body = {
        "name": packet.title,
        "internal_name": packet.study_id,
        "description": f"{packet.title}. You listen to short sounds with headphones and judge them.",
        "external_study_url": f"{offer.url}{joint}{places}",
        "prolific_id_option": "url_parameters",
        "completion_codes": [{"code": code, "code_type": "COMPLETED", "actions": [{"action": "MANUALLY_REVIEW"}]}],
        "total_available_places": offer.places,
        "estimated_completion_time": offer.minutes,
        "reward": round(100 * offer.reward),  # in hundredths
        "device_compatibility": ["desktop", "mobile", "tablet"],
        "peripheral_requirements": ["audio"],
    }
    return {"study.json": json.dumps(body, indent=1, ensure_ascii=False) + "\n"}


def mturk(packet: Packet, offer: Offer) -> dict[str, str]:
    """Files by name: the layout of a project and the table of its one HIT, which each worker may do once."""
    layout = LAYOUT.format(title=html.escape(packet.title), minutes=offer.minutes)
    return {"layout.html": layout, "hits.csv": to_csv(["url"], [{"url": offer.url}])}
