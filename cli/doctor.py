"""`odp doctor`: what works on this machine."""

from __future__ import annotations

import json as json_module

from onedpiece.cli import options


def doctor(json: options.Json = False) -> None:
    """Check ONNX Runtime, CUDA and cuDNN, the models, and decode on each device.

    Exits with code 1 if something is broken.
    """
    from onedpiece.runtime.diagnosis import diagnose

    broken = 0
    for topic, fine, text in diagnose():
        broken += not fine
        if json:
            print(json_module.dumps({"topic": topic, "fine": fine, "text": text}), flush=True)
        else:
            print(f"{'ok    ' if fine else 'BROKEN'}  {topic:8s}  {text}", flush=True)
    options.exit_after(broken)
