"""`Tokenizer`: pixels to arrays of tokens and back, for people who train on tokens.

NumPy arrays go through ONNX Runtime and need no PyTorch. PyTorch tensors go through the PyTorch
module, on their own device, and need the extra `torch`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TILE
from onedpiece.errors import DownloadError, missing_extra
from onedpiece.images.reader import from_pillow
from onedpiece.images.scaling import center_square
from onedpiece.models.decoder_info import DecoderInfo
from onedpiece.models.folder import check_free, complete
from onedpiece.models.registry import DEFAULT, Model, choose_decoder, find
from onedpiece.runtime import blend
from onedpiece.runtime.onnx import OnnxRuntime

if TYPE_CHECKING:
    import torch

    from onedpiece.tokenizer.onedpiece import OneDPiece

BATCH = 8  # pictures that go through a network at once

Array = TypeVar("Array", bound="NDArray[Any] | torch.Tensor")


class Tokenizer:
    """The tokenizer of a model. `from_pretrained` makes it; networks are loaded when first used.

    num_tokens:    tokens of a picture, 256.
    codebook_size: number of codes, 4096: tokens are 0 to 4095.
    model:         the model directory behind it.
    """

    num_tokens = MAX_TOKENS
    codebook_size = CODEBOOK_SIZE

    def __init__(self, model: Model, device: str = "auto", threads: int | None = None) -> None:
        self.model = model
        self._options = device, threads
        self._runtime = OnnxRuntime(model, device, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without its networks, for the workers of a data loader."""
        return Tokenizer, (self.model, *self._options)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path = DEFAULT,
        device: str = "auto",
        threads: int | None = None,
        decoder: str | None = None,
    ) -> Tokenizer:
        """The tokenizer of an installed model, or of a model directory.

        device, threads: where NumPy arrays are processed: "auto", "cpu" or "cuda", and how many
            CPU threads; all cores if None.
        decoder: name of a decoder of the same token set, in this model or an installed one; if
            None, the newest one of this model.
        Raises UnknownModel, UnknownDecoder or ModelError.
        """
        model = find(name_or_dir)
        if decoder is not None:
            model = choose_decoder(model.key, model, decoder)
        return cls(model, device, threads)

    @staticmethod
    def preprocess(images: Image.Image | Sequence[Image.Image]) -> NDArray[np.uint8]:
        """PIL images to uint8 (B, 256, 256, 3): short edge scaled to 256 (bicubic), centre crop.

        Raises PictureError for an image that cannot be read.
        """
        if isinstance(images, Image.Image):
            images = [images]
        if not images:
            return np.zeros((0, TILE, TILE, 3), np.uint8)
        squares = [
            np.asarray(center_square(Image.fromarray(from_pillow(image).pixels)))
            for image in images
        ]
        return np.stack(squares)

    def encode(self, pixels: Array) -> Array:
        """All tokens of pictures of 256x256 pixels.

        pixels: NumPy uint8 (B, 256, 256, 3), or a PyTorch float tensor (B, 3, 256, 256) in 0..1.

        Returns uint16 (B, 256), or an int64 tensor on the same device. Raises ValueError for
        another shape, type or range: a tensor in -1..1 is refused.
        """
        if isinstance(pixels, np.ndarray):
            if pixels.dtype != np.uint8 or pixels.shape[1:] != (TILE, TILE, 3):
                raise ValueError(f"pixels must be uint8 (B, 256, 256, 3), not {_describe(pixels)}")
            return _in_batches(self._runtime.encode, pixels, np.zeros((0, MAX_TOKENS), np.uint16))
        return self._encode_tensor(pixels)

    def decode(
        self,
        tokens: Array,
        num_tokens: int | None = None,
        realism: float = 1.0,
        *,
        lengths: Sequence[int] | NDArray[np.integer] | None = None,
    ) -> Array:
        """Pictures of the first tokens.

        tokens:     integers (B, K) of 0..4095, 1 <= K <= 256; a NumPy array or a PyTorch tensor.
        num_tokens: use only the first `num_tokens` of the K.
        realism:    0 for the least squared error, up to 1 for pictures that look real.
        lengths:    (B,) in 1..K, how many tokens each picture has, for a batch of mixed lengths.

        Returns uint8 (B, 256, 256, 3), or a float tensor (B, 3, 256, 256) in 0..1 on the device
        of the tokens. Raises ValueError for another shape, type or range.
        """
        counts = _counts(tokens, num_tokens, lengths)
        if not 0 <= realism <= 1:
            raise ValueError("realism must be 0 to 1")
        if isinstance(tokens, np.ndarray):
            _check_range(tokens)
            result: Any = np.zeros((len(tokens), TILE, TILE, 3), np.uint8)
            decode: Any = self._decode_array
        else:
            _check_range(tokens.cpu().numpy())
            result = tokens.new_zeros((len(tokens), 3, TILE, TILE)).float()
            decode = self._decode_tensor
        for count in np.unique(counts):
            (rows,) = np.nonzero(counts == count)
            for start in range(0, len(rows), BATCH):
                chosen = rows[start : start + BATCH]
                result[chosen] = decode(tokens[chosen, :count], realism)
        return result

    decode_tokens = decode
    """TiTok's name of `decode`."""

    def codes(self, tokens: Array) -> Array:
        """The vectors of tokens: integers (B, K) -> float (B, K, dim); needs PyTorch."""
        import torch

        _counts(tokens, None, None)
        _check_range(tokens if isinstance(tokens, np.ndarray) else tokens.cpu().numpy())
        if isinstance(tokens, np.ndarray):
            vectors: Any = self.codes(torch.from_numpy(tokens.astype(np.int64)))
            return vectors.numpy()
        with torch.no_grad():
            return self._module_on(tokens.device).quantize.codes(tokens.long())

    @cached_property
    def module(self) -> OneDPiece:
        """The PyTorch module with the decoder of the least error, float32, in evaluation mode.

        It is for gradients. It is on the CPU at first, and then on the device of the last tensor
        that was encoded or decoded.

        Raises OdpError if PyTorch is not installed, ModelError for int8 weights.
        """
        return _load(self.model.faithful)

    @cached_property
    def natural(self) -> OneDPiece:
        """The PyTorch module with the decoder of pictures that look real; `module` without one.

        Raises like `module`.
        """
        return _load(self.model) if self.model.has_realism else self.module

    def save_pretrained(self, folder: str | Path, *, force: bool = False) -> Path:
        """Copy the model directory to `folder`, which `from_pretrained` and `--model` read.

        Raises OutputError if it exists and not `force`, or cannot be written.
        """
        folder = Path(folder)
        check_free(folder, force)
        with complete(folder) as partial:
            for file in self.model.path.iterdir():
                if file.is_file():
                    shutil.copyfile(file, partial / file.name)
        return folder

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the model directory to a repository of the Hugging Face hub; returns its address.

        Needs `huggingface_hub` (extra `torch`). Raises DownloadError if the hub refuses it.
        """
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise missing_extra("uploading", error) from error
        api = HfApi(token=token)
        try:
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=self.model.path)
        except Exception as error:  # the hub's client raises types of several libraries
            raise DownloadError(f"{repo_id} cannot be uploaded: {error}") from error
        return str(address)

    def _encode_tensor(self, pixels: Any) -> Any:
        import torch

        if not isinstance(pixels, torch.Tensor):
            raise ValueError("pixels must be a NumPy array or a PyTorch tensor; see preprocess")
        if not pixels.is_floating_point() or tuple(pixels.shape[1:]) != (3, TILE, TILE):
            raise ValueError(f"pixels must be float (B, 3, 256, 256), not {_describe(pixels)}")
        if pixels.numel() and not 0 <= float(pixels.min()) <= float(pixels.max()) <= 1:
            raise ValueError(
                "pixels must be 0 to 1: -1..1 needs (pixels + 1) / 2, and 0..255 needs pixels / 255"
            )
        encode = self._module_on(pixels.device).encode
        with torch.no_grad():
            return _in_batches(encode, pixels, pixels.new_zeros((0, MAX_TOKENS)).long())

    def _decode_array(self, tokens: NDArray[np.integer], realism: float) -> NDArray[np.uint8]:
        pixels = self._runtime.decode(tokens, realism)
        return pixels.round().clip(0, 255).astype(np.uint8)

    def _decode_tensor(self, tokens: Any, realism: float) -> Any:
        import torch

        def paint(decoder: DecoderInfo) -> torch.Tensor:
            module = self.natural if decoder.faithful else self.module
            return module.to(tokens.device).decode(tokens.long()).clamp(0, 1)

        with torch.no_grad():
            return blend(self.model, realism, paint)

    def _module_on(self, device: Any) -> Any:
        return self.module.to(device)


def _load(model: Model) -> OneDPiece:
    """The PyTorch module of a model. Raises as `Tokenizer.module` does."""
    try:
        from onedpiece.tokenizer.weights import load_installed
    except ImportError as error:
        raise missing_extra("the PyTorch module", error) from error
    return load_installed(model)


def _counts(
    tokens: Any, num_tokens: int | None, lengths: Sequence[int] | NDArray[np.integer] | None
) -> NDArray[np.int64]:
    """How many tokens of each picture count, (B,). Raises ValueError."""
    if not hasattr(tokens, "ndim"):
        raise ValueError("tokens must be a NumPy array or a PyTorch tensor")
    if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= MAX_TOKENS:
        raise ValueError(f"tokens must be (B, K) with K in 1..256, not {tuple(tokens.shape)}")
    batch, most = tokens.shape
    counts = np.full(batch, most) if lengths is None else np.asarray(lengths)
    if not np.issubdtype(counts.dtype, np.integer):
        raise ValueError("lengths must be integers")
    if counts.shape != (batch,) or not all(1 <= count <= most for count in counts):
        raise ValueError(f"lengths must be {batch} numbers in 1..{most}")
    if num_tokens is None:
        return counts
    if num_tokens < 1:
        raise ValueError("at least one token is needed")
    return np.minimum(counts, num_tokens)


def _check_range(tokens: NDArray[Any]) -> None:
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens must be integers, not {tokens.dtype}")
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < CODEBOOK_SIZE:
        raise ValueError(f"tokens must be 0 to {CODEBOOK_SIZE - 1}")


def _in_batches(function: Any, items: Any, empty: Any) -> Any:
    """The results of a function for batches of items, joined; `empty` for no items."""
    results = [function(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]
    if not results:
        return empty
    if isinstance(empty, np.ndarray):
        return np.concatenate(results)
    import torch

    return torch.cat(results)


def _describe(array: Any) -> str:
    return f"{array.dtype} {tuple(array.shape)}"
