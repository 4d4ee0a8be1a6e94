#!/usr/bin/env bash
# A virtual environment with audiocraft 1.3.0 beside a current torch on the CPU: bash environment.sh VENV
# About two minutes and 1.6 GB. audiocraft's own pins (torch 2.1, xformers, av, torchtext) do not install together with
# a current Python, hence --no-deps and the stand-ins of stand_ins.py.
set -euo pipefail
VENV=${1:?usage: bash environment.sh VENV}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$VENV/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$VENV"
PIP="$VENV/bin/pip install --quiet --disable-pip-version-check"
$PIP 'setuptools<85' wheel # audiocraft and julius are source packages
$PIP torch==2.13.0
$PIP torch==2.13.0 'transformers==5.23.*' 'numpy>=2,<3' 'omegaconf>=2.3,<2.4' einops flashy==0.0.2 julius==0.2.8 \
    'num2words>=0.5.12' soundfile 'librosa>=0.10' torchmetrics safetensors
$PIP --no-deps audiocraft==1.3.0
cd "$HERE"
HF_HUB_OFFLINE=1 "$VENV/bin/python" -W ignore -c 'import stand_ins, audiocraft; print("audiocraft", audiocraft.__version__)'
