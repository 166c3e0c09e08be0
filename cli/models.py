"""`odp models`: which models are installed."""

from __future__ import annotations

import json as json_module

from onedpiece.cli import app, options


@app.command()
def models(json: options.Json = False) -> None:
    """List installed models with their fingerprints and sizes."""
    from onedpiece.models.registry import installed

    for model in installed():
        facts = {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "id": model.key.hex(),
            "bytes": model.size,
            "path": str(model.path),
            "intact": model.is_intact(),
        }
        if json:
            print(json_module.dumps(facts))
        else:
            state = "" if facts["intact"] else "  DAMAGED: the weights do not match the fingerprint"
            print(f"{model.name:24s} {facts['id']}  {model.size / 1e6:.1f} MB  {model.path}{state}")
