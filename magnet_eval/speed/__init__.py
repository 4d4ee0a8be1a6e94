"""How fast systems are: a timing loop, the memory it took, and the Score rows of both.

Conventions: wall seconds; one call makes one batch of clips. Latency is the time of a whole call, which is what the
person waits who asked for any one of its clips. Two opposite real-time factors are in use, so both have a name:
``rtf`` = latency / seconds of one clip (lower is better), ``speedup_x`` = its inverse.
"""

LATENCY = "latency"  # s, by stage and batch
THROUGHPUT = "throughput"  # clips/s
AUDIO_THROUGHPUT = "audio_throughput"  # seconds of audio, all clips of a batch together, per second
RTF = "rtf"
SPEEDUP = "speedup_x"
ITERATIONS = "iterations"
NETWORK_EVALUATIONS = "network_evaluations"
LOAD_TIME = "load_time"
PEAK_MEMORY = "peak_memory"
METRICS = (
    LATENCY, THROUGHPUT, AUDIO_THROUGHPUT, RTF, SPEEDUP, ITERATIONS, NETWORK_EVALUATIONS, LOAD_TIME, PEAK_MEMORY,
)  # fmt: skip
TOTAL = "total"  # the stage that is the whole call
