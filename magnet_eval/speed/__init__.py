"""How fast systems are: timed calls in processes of their own, memory and energy, and the Score rows of all of it.

Conventions: wall seconds; one call makes one batch of clips. Latency is the time of a whole call, which is what the
person waits who asked for any one of its clips. Two opposite real-time factors are in use, so both have a name:
``rtf`` = latency / seconds of one clip (lower is better), ``speedup_x`` = its inverse.
Scenarios are named after those of MLPerf's inference benchmark (Reddi et al., 2020); see loop.py and server.py.
"""

LATENCY = "latency"  # s, by stage and batch
THROUGHPUT = "throughput"  # clips/s
AUDIO_THROUGHPUT = "audio_throughput"  # seconds of audio, all clips of a batch together, per second
RTF = "rtf"
SPEEDUP = "speedup_x"
ITERATIONS = "iterations"
NETWORK_EVALUATIONS = "network_evaluations"
LOAD_TIME = "load_time"
FIRST_CALL = "first_call"  # s: compiles, captures graphs, fills caches
PEAK_MEMORY = "peak_memory"
FIRST_AUDIO = "time_to_first_audio"  # s
SERVER_RATE = "server_rate"  # clips/s that arrive at random and are served within the bound
ENERGY_PER_CLIP = "energy_per_clip"  # J
ENERGY_PER_SECOND = "energy_per_audio_second"  # J/s
IDLE_POWER = "idle_power"  # W
ROOFLINE_SHARE = "roofline_share"  # of the speed that arithmetic or memory allows, by stage and batch
SPEEDUP_VS = "speedup_vs"  # how many times the clips/s of another system, by batch
CROSSOVER_BATCH = "crossover_batch"  # from which on another system makes more clips/s
METRICS = (
    LATENCY, THROUGHPUT, AUDIO_THROUGHPUT, RTF, SPEEDUP, ITERATIONS, NETWORK_EVALUATIONS, LOAD_TIME, FIRST_CALL,
    PEAK_MEMORY, FIRST_AUDIO, SERVER_RATE, ENERGY_PER_CLIP, ENERGY_PER_SECOND, IDLE_POWER, ROOFLINE_SHARE, SPEEDUP_VS,
    CROSSOVER_BATCH,
)  # fmt: skip
TOTAL = "total"  # the stage that is the whole call
