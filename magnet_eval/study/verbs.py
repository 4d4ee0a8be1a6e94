"""What the actions of the verb ``study`` do; each returns what goes to stdout."""

from typing import TYPE_CHECKING, Any

from magnet_eval.lookup import UserError
from magnet_eval.study.options import (
    AnalyseOptions,
    CheckOptions,
    ExportOptions,
    ImportOptions,
    PlanOptions,
    PrepareOptions,
    ServeOptions,
    SimulateOptions,
    WithdrawOptions,
)

if TYPE_CHECKING:
    from magnet_eval.study.server.app import Site


def prepare(chosen: PrepareOptions) -> str:
    """Makes a packet and its key: what is in them, and what to type next."""
    from magnet_eval.progress import bar
    from magnet_eval.study import summary
    from magnet_eval.study.packet.prepare import prepare as make

    with bar() as progress:
        packet, plan = make(chosen, progress)
    return summary.prepared(packet, plan, chosen.out)


def check(chosen: CheckOptions) -> str:
    """Looks for what would tell a listener what is what: what was looked at, if there is nothing."""
    from magnet_eval.study import schema, summary
    from magnet_eval.study.packet.check import check as look

    return summary.checked(look(schema.Folders.of(chosen.study)), chosen.study)


def export(chosen: ExportOptions) -> str:
    """Makes of a packet what other tools and platforms take: where it is, and what to do with it."""
    from magnet_eval.study.exchange.export import export as make

    return make(chosen)


def take_in(chosen: ImportOptions) -> str:
    """Answers to ratings: how many, and how many rows were refused and why."""
    from magnet_eval.study import summary
    from magnet_eval.study.exchange.importing import take_in as read

    return summary.taken_in(*read(chosen))


def serve(chosen: ServeOptions) -> str:
    """Serves a packet until it is stopped: what was collected."""
    return _serving().serve(_site(chosen.study, chosen.completion), chosen.host, chosen.port)


def simulate(chosen: SimulateOptions) -> str:
    """Lets synthetic raters rehearse a study: how many, and where their answers are. People's are left alone."""
    from magnet_eval.progress import bar
    from magnet_eval.study import schema
    from magnet_eval.study.server import simulate as rehearsal

    folders = schema.Folders.of(chosen.study).rehearsed()
    packet = schema.read_packet(folders)
    key = schema.read_key(folders, packet)
    with bar() as progress:
        if chosen.url:
            url = rehearsal.checked(chosen.url, folders)
            sessions = rehearsal.simulate(packet, key, chosen, url, progress)
        else:
            rehearsal.clear(folders)
            with _serving().running(_site(str(folders))) as url:
                sessions = rehearsal.simulate(packet, key, chosen, url, progress)
    return f"{len(sessions)} synthetic raters took part. Next: magnet-eval study import study={folders}"


def withdraw(chosen: WithdrawOptions) -> str:
    """Deletes what a listener gave: how much that was."""
    from magnet_eval.study import schema
    from magnet_eval.study.exchange.withdrawal import withdraw as delete

    n_pages = delete(schema.Folders.of(chosen.study), chosen.code)
    return (
        f"{n_pages} pages deleted, and no later import takes any of them. Files elsewhere are yours to delete.\n"
        f"If there is an analysis, make it anew: magnet-eval study analyse study={chosen.study}"
    )


def analyse(chosen: AnalyseOptions) -> str:
    """What the ratings say, in words and as a table, and where the rest is."""
    from magnet_eval.study.analysis import printed

    return printed.analyse(chosen)


def plan(chosen: PlanOptions) -> str:
    """What studies of several sizes would find."""
    from magnet_eval.study.analysis import printed

    return printed.plan(chosen)


def _site(study: str, completion: str = "") -> "Site":
    return _serving().site_of(study, completion)


def _serving() -> Any:
    try:
        from magnet_eval.study.server import serving
    except ModuleNotFoundError as error:
        raise UserError(f"a study is served with {error.name}: pip install 'magnet-eval[study]'.") from error
    return serving
