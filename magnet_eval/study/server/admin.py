"""The page for whoever runs a study: who is how far, which slots are open. No system's name, no score, no comment."""

from typing import Any

from magnet_eval.study.schema import Assignment, Packet

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Progress of {{ packet.title }}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="app.css">
</head>
<body>
<header id="bar"><div class="inside"><span class="title">{{ packet.title }}</span></div></header>
<main class="wide">
<h1>{{ finished }} of {{ slots }} slots finished</h1>
<p class="muted">{{ sessions|length }} sessions: {{ finished_sessions }} finished, {{ working }} on their way,
{{ withdrawn }} withdrawn. {{ n_pages }} pages stored. Nothing here tells which system is which.</p>
{% if sessions %}
<div class="scroll" tabindex="0" role="region" aria-label="Sessions"><table>
<thead><tr><th>Session</th><th>Code</th><th class="number">Slot</th><th class="number">Pages</th><th>Begun (UTC)</th>
<th>Last seen (UTC)</th><th>State</th><th>Completion code</th></tr></thead>
<tbody>
{% for one in sessions %}<tr>
<th scope="row"><code>{{ one.session }}</code></th><td>{{ one.code or "" }}</td><td class="number">{{ one.slot }}</td>
<td class="number">{{ one.n_pages }} / {{ one.all }}</td><td>{{ one.started[:16]|replace("T", " ") }}</td>
<td>{{ one.seen[:16]|replace("T", " ") }}</td><td>{{ one.state }}</td><td><code>{{ one.done }}</code></td>
</tr>
{% endfor %}</tbody></table></div>
{% else %}<p>Nobody has begun yet. Give listeners the address of this server without /admin.</p>{% endif %}
</main>
</body>
</html>
"""


def page(packet: Packet, slots: dict[int, list[Assignment]], sessions: list[dict[str, Any]], code: Any) -> str:
    """The page as HTML; ``code`` gives the completion code of a session's id."""
    import jinja2

    rows = [
        {
            **one,
            "all": len(slots[one["slot"]]),
            "state": "withdrawn" if one["withdrawn"] else "finished" if one["finished"] else "on the way",
            "done": code(one["session"]) if one["finished"] and not one["withdrawn"] else "",
        }
        for one in sessions
    ]
    states = [row["state"] for row in rows]
    return jinja2.Environment(autoescape=True).from_string(PAGE).render(
        packet=packet,
        slots=len(slots),
        sessions=rows,
        finished=len({row["slot"] for row in rows if row["state"] == "finished"}),
        finished_sessions=states.count("finished"),
        working=states.count("on the way"),
        withdrawn=states.count("withdrawn"),
        n_pages=sum(row["n_pages"] for row in rows),
    )  # fmt: skip
