"""Run a model on PyTorch, for comparison with ONNX Runtime and for work on models.

Needs the extra `onedpiece[torch]`.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from onedpiece.errors import ModelError
from onedpiece.models.manifest import DecoderInfo, Model
from onedpiece.runtime import blend
from onedpiece.tokenizer.lpips import Lpips
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece
from onedpiece.tokenizer.proposals import NaturalProposals, Proposals
from onedpiece.tokenizer.weights import load_installed


class TorchRuntime:
    """The PyTorch module of an installed model, in float32: a `Runtime`.

    device: a device of PyTorch, such as "cpu" or "cuda".

    Raises ModelError like `load_installed`.
    """

    def __init__(self, model: Model, device: str = "cpu") -> None:
        self.device, self._model = device, model
        self._modules = {
            one.decoder.name: load_installed(one).to(device) for one in (model.faithful, model)
        }
        self._module = self._modules[model.faithful.decoder.name]

    @torch.inference_mode()
    def encode(self, tiles: np.ndarray) -> np.ndarray:
        pixels = torch.tensor(tiles, device=self.device).permute(0, 3, 1, 2).float() / 255
        return self._module.encode(pixels).cpu().numpy().astype(np.uint16)

    @torch.inference_mode()
    def decode(self, tokens: np.ndarray, realism: float = 1.0) -> np.ndarray:
        prefix = torch.from_numpy(tokens.astype(np.int64)).to(self.device)

        def paint(decoder: DecoderInfo) -> np.ndarray:
            pixels = self._modules[decoder.name].decode(prefix)
            return (pixels.clamp(0, 1) * 255).permute(0, 2, 3, 1).cpu().numpy()

        pixels: np.ndarray = blend(self._model, realism, paint)
        return pixels

    @torch.no_grad()
    def propose(
        self,
        tiles: np.ndarray,
        tokens: np.ndarray,
        num_tokens: np.ndarray,
        valid_size: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not isinstance(self._module, SpectralOneDPiece):
            raise ModelError("only models with a spectral start have a search for better tokens")
        proposals = Proposals(self._module)
        return _run(proposals, self.device, tiles, tokens, num_tokens, valid_size)


class NaturalSearch:
    """Proposes tokens with which a picture looks more like the original, on the CPU: a `Proposer`.

    model: an installed model with a natural decoder, whose pictures are compared.
    lpips: folder with the weights of LPIPS-squeeze (`onedpiece.tokenizer.lpips`).

    Raises ModelError for another model, and if the weights are not there.
    """

    def __init__(self, model: Model, lpips: Path) -> None:
        module = load_installed(model)
        if not isinstance(module, NaturalOneDPiece):
            raise ModelError(f"{model.name} has no natural decoder, whose pictures LPIPS compares")
        try:
            distance = Lpips.load(lpips)
        except (OSError, RuntimeError, LookupError, pickle.UnpicklingError) as error:
            raise ModelError(f"{lpips} does not have the weights of LPIPS-squeeze") from error
        self._proposals = NaturalProposals(module, distance).requires_grad_(False)

    @torch.no_grad()
    def propose(
        self,
        tiles: np.ndarray,
        tokens: np.ndarray,
        num_tokens: np.ndarray,
        valid_size: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _run(self._proposals, "cpu", tiles, tokens, num_tokens, valid_size)


def _run(
    proposals: torch.nn.Module, device: str, tiles: np.ndarray, *numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inputs = (tiles, *(value.astype(np.int32) for value in numbers))
    results = proposals(*(torch.tensor(x, device=device) for x in inputs))
    cost, codes, gains = (value.cpu().numpy() for value in results)
    return cost, codes, gains
