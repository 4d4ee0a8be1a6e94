"""magnet-eval VERB key=value ...: verbs to functions, mistakes to one line, nothing else.

Exit codes: 0 done, 1 a bug of ours (with its traceback), 2 a mistake in what was asked, 130 stopped by Ctrl-C, 143 by
SIGTERM, as a machine that is taken away announces it; both end cleanly.
stdout is for the answer; logs and bars go to stderr. Nothing heavy is imported until a verb needs it.
"""

import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magnet_eval import options, places
from magnet_eval.config import Run
from magnet_eval.lookup import UserError, load, nearest, unknown
from magnet_eval.study import options as study
from magnet_eval.terminal import Formatter, visible

TRACE = "MAGNET_EVAL_TRACE"  # set to 1: a user's mistake comes with its traceback


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, what it understands, an example."""

    text: str
    options: type[Any]
    example: str


VERBS = {
    "run": Verb(
        "generate, score, time and report a protocol: the main job",
        Run,
        "protocol=quickstart systems=[magnet-tiny,musicgen-tiny]",
    ),
    "generate": Verb(
        "make clips of your own texts, or those of a protocol",
        options.GenerateOptions,
        "model=magnet-tiny prompts='[slow waltz for strings]' seconds=5 seed=1",
    ),
    "score": Verb("judge the clips of a protocol", Run, "protocol=quickstart"),
    "bench": Verb(
        "measure how fast a protocol's systems are", options.BenchOptions, "protocol=latency-tiny batches=[1,2]"
    ),
    "report": Verb(
        "render the report of a protocol's run, or its tables in another format",
        options.ReportOptions,
        "protocol=quickstart format=latex",
    ),
    "compare": Verb(
        "score systems of several runs on their common prompts, and report them side by side",
        options.CompareOptions,
        "runs='[results/quickstart-v1,elsewhere/quickstart-v1]'",
    ),
    "data": Verb(
        "prepare a published data set: a manifest, and what of its audio is at hand",
        options.DataOptions,
        "prepare dataset=musiccaps csv=musiccaps-public.csv audio=clips out=musiccaps.jsonl",
    ),
    "prune": Verb(
        "free the disk of a finished run's audio or cache; scores and manifest stay",
        options.PruneOptions,
        "run=results/quickstart-v1 what=audio yes=true",
    ),
    "list": Verb("show models, protocols, metrics or runs", options.ListOptions, "models json=true"),
    "doctor": Verb("say what is installed and what is missing", options.DoctorOptions, "json=true"),
    "train": Verb("make the embedded tiny models again", options.TrainOptions, "what=magnet minutes=60"),
}
STUDY: dict[str, Verb] = {  # the actions of the verb study
    "plan": Verb("how many raters and prompts find what difference", study.PlanOptions, "raters=[20,40] systems=3"),
    "prepare": Verb(
        "make a blinded packet of clips, and its key",
        study.PrepareOptions,
        "run=results/quickstart-v1 systems=[magnet-tiny,musicgen-tiny] out=study",
    ),
    "check": Verb("look for anything that tells a listener what is what", study.CheckOptions, "study=study"),
    "serve": Verb(
        "collect answers: the page for listeners, and its server", study.ServeOptions, "study=study port=8000"
    ),
    "simulate": Verb(
        "rehearse: synthetic raters with known effects, through the real server",
        study.SimulateOptions,
        "study=study raters=20 effects='{musicgen-tiny: 8}'",
    ),
    "export": Verb("make of a packet what other tools take", study.ExportOptions, "to=webmushra study=study"),
    "import": Verb("make ratings of answers", study.ImportOptions, "study=study answers=mushra.csv"),
    "analyse": Verb("what the ratings say", study.AnalyseOptions, "study=study runs=[results/quickstart-v1]"),
    "withdraw": Verb("delete what a listener gave", study.WithdrawOptions, "study=study code=r_0123456789abcdef"),
}
VERBS |= {f"study {action}": verb for action, verb in STUDY.items()}
FUNCTIONS = {  # each: options -> what goes to stdout
    **{name: f"magnet_eval.verbs:{name}" for name in VERBS},
    **{f"study {action}": f"magnet_eval.study.verbs:{action}" for action in STUDY},
    "study import": "magnet_eval.study.verbs:take_in",  # import is a word of Python
    "list": "magnet_eval.listing:listing",
    "doctor": "magnet_eval.doctor:doctor",
    "prune": "magnet_eval.prune:prune",
}
HYDRA_FLAGS = ("-m", "--multirun", "--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p")


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the words say; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("magnet_eval").setLevel(logging.INFO)
    try:
        with ending_cleanly():
            dispatch(words)
    except UserError as error:
        if os.environ.get(TRACE) == "1":
            raise
        print(visible("magnet-eval: " + " ".join(str(error).split())), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("magnet-eval: stopped; the same command goes on from here.", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    return 0


class Terminated(KeyboardInterrupt):
    """SIGTERM came: to all code the same as Ctrl-C."""


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Within it SIGTERM raises Terminated, once: what is being put in order then is not disturbed by a second one."""
    process = os.getpid()

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN if os.getpid() == process else signal.SIG_DFL)
        if os.getpid() == process:
            raise Terminated
        os.kill(os.getpid(), number)  # a forked child ends as if there were no handler

    if threading.current_thread() is not threading.main_thread():  # Python takes handlers from no other
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def dispatch(words: list[str]) -> None:
    """Runs one verb. Raises UserError on a word that it does not understand."""
    if words and words[0] in ("--shell-completion", "-sc"):
        from magnet_eval.completion import complete

        return print(complete(words[1:], {name: verb.options for name, verb in VERBS.items()}), end="")
    if words and words[0] == "--version":
        from magnet_eval import __version__

        return print(__version__)
    if not words or words[0] in ("--help", "-h", "help"):
        return print(overview())
    if words[0] == "study" and (len(words) == 1 or words[1] in ("--help", "-h")):
        return print(overview_of_study())
    name, rest = verb_of(words)
    if any(word in ("--help", "-h") for word in rest):
        return print(details(name))
    return execute(name, rest)


def verb_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb that the words begin with, and the rest of them. Raises UserError if they begin with none."""
    n = 2 if words[0] == "study" else 1
    name = " ".join(words[:n])
    if name not in VERBS:
        raise unknown("verb", name, VERBS, "See: magnet-eval --help.")
    return name, list(words[n:])


def execute(name: str, words: list[str]) -> None:
    """Runs the verb ``name`` with the rest of the words, once, or through Hydra if one of its flags is there."""
    from magnet_eval import compose

    words = ["json=true" if word == "--json" else word for word in words]

    def act(chosen: Any) -> None:
        places.check_options(name, chosen)
        print(visible(load(FUNCTIONS, name, "verb")(chosen)))

    if any(word.startswith("-") for word in words):
        check_flags(name, words)
        compose.hydra_main(VERBS[name].options, words, act)
    else:
        act(understood(name, words))


def understood(name: str, words: Sequence[str]) -> Any:
    """The options of the verb ``name`` that the words amount to. Raises UserError on a wrong one."""
    from magnet_eval.compose import compose

    first = {"list": "what", "data": "action"}.get(name)
    if first and words and "=" not in words[0]:
        words = [f"{first}={words[0]}", *words[1:]]
    return compose(VERBS[name].options, words)


def check_flags(name: str, words: Sequence[str]) -> None:
    """Nothing if every word that begins with - is one of Hydra's flags. Raises UserError otherwise."""
    for flag in (word for word in words if word.startswith("-")):
        if flag not in HYDRA_FLAGS:
            near = nearest(flag.lstrip("-"), [field.name for field in dataclasses.fields(VERBS[name].options)], n=1)
            guess = f" Did you mean {near[0]}=...?" if near else ""
            raise UserError(f"unknown flag {flag!r}.{guess} Options are key=value; see: magnet-eval {name} --help.")


def overview() -> str:
    """The text of ``magnet-eval --help``."""
    lines = [
        "magnet-eval VERB key=value ...",
        "",
        "How good, how fast, and how alike to the ear text-to-audio models are.",
        "",
    ]
    lines += [f"  {name:10}{verb.text}" for name, verb in VERBS.items() if " " not in name]
    lines += [f"  {'study':10}listening tests: {', '.join(STUDY)}"]
    lines += [
        "",
        "Start:      magnet-eval run protocol=quickstart",
        "A clip:     magnet-eval generate model=magnet-tiny prompts='[slow waltz for strings]'",
        "A verb:     magnet-eval VERB --help",
        "A sweep:    magnet-eval run -m protocol=quickstart seed=0,1,2",
        "A program:  magnet-eval run protocol=quickstart --json",
        'Completion: eval "$(magnet-eval --shell-completion install=bash)"    (bash, zsh and fish: install=SHELL)',
        f"A mistake in what was asked ends with one line and exit code 2; {TRACE}=1 shows where it was raised.",
    ]
    return "\n".join(lines)


def overview_of_study() -> str:
    """The text of ``magnet-eval study --help``."""
    lines = ["magnet-eval study ACTION key=value ...", "", "Listening tests, from clips to analysed ratings.", ""]
    lines += [f"  {action:10}{verb.text}" for action, verb in STUDY.items()]
    return "\n".join([*lines, "", "An action:  magnet-eval study ACTION --help"])


def details(name: str) -> str:
    """The text of ``magnet-eval VERB --help``."""
    from magnet_eval import compose, zoo

    verb = VERBS[name]
    values = compose.defaults(verb.options)
    lines = [f"magnet-eval {name} key=value ...", "", f"{verb.text[0].upper()}{verb.text[1:]}.", ""]
    width = max(11, *(len(field.name) + 2 for field in dataclasses.fields(verb.options)))
    for field in dataclasses.fields(verb.options):
        value = "" if values[field.name] is None else f" [{values[field.name]}]"
        lines.append(f"  {field.name + '=':{width}}{field.metadata.get('help', '')}{value}")
        if field.name in compose.GROUPS:
            lines.append(f"{'':{width + 2}}one of: {', '.join(zoo.names(field.name + 's'))}")
            lines.append(f"{'':{width + 2}}{field.name}.KEY=VALUE changes a part of it; --cfg job shows all of them")
    lines += ["", f"Example: magnet-eval {name} {verb.example}"]
    return "\n".join(lines)


def entry() -> None:
    """The console script."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        code = 141  # as the shell has it: 128 + SIGPIPE
    sys.exit(code)
