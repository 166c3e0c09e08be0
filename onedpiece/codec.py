"""The codec: pictures to .odp files and back, with the networks kept loaded.

A thin facade over `encoder` and `decoder`.
"""

from __future__ import annotations

import operator
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from onedpiece.constants import MAX_PIXELS, MAX_TOKENS
from onedpiece.decoder import Decoder, assemble
from onedpiece.encoded_image import EncodedImage
from onedpiece.encoder import Encoder, Progress
from onedpiece.entropy import Tables
from onedpiece.errors import ModelError, TruncatedFileWarning, missing_extra
from onedpiece.images.picture import Picture, visible_psnr
from onedpiece.images.reader import ReadOptions, from_pillow
from onedpiece.models.registry import DEFAULT, Model, choose_decoder, find, installed_tables
from onedpiece.rate_control import LEAST_ERROR, NATURAL, Target, guessed_errors
from onedpiece.runtime import Proposer, Runtime
from onedpiece.runtime.onnx import DEVICES, OnnxRuntime
from onedpiece.runtime.sketch import Sketcher, load_sketcher
from onedpiece.search import ROUNDS


class Codec:
    """Encodes with one model, and decodes files of any installed token set.

    model: name of an installed model, or a model directory.
    device: "auto", "cpu" or "cuda".
    threads: CPU threads of the networks; all cores if None.
    batch: tiles that go through a network at once; memory grows with it.
    max_pixels: larger pictures are refused.
    decoder: name of the decoder of the tokens; by default, the newest of those installed, or that
        of `model` if it is not the bundled one and its token set is that of the file.
    lpips: folder with the weights of LPIPS-squeeze: an effort above 1 then looks for tokens with
        which pictures look more like the original when they are decoded with realism 1, in the
        place of tokens with less error. Needs PyTorch.

    Several threads can use one object. Networks are loaded when they are first needed, so that any
    call can raise DeviceError or ModelError. As a context manager, it drops them in the end.

    Raises UnknownModel or ModelError for the model, ValueError for other arguments.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT,
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
        max_pixels: int = MAX_PIXELS,
        decoder: str | None = None,
        lpips: str | Path | None = None,
    ) -> None:
        if batch < 1 or (threads is not None and threads < 1):
            raise ValueError("batch and threads must be at least 1")
        if device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}")
        self.model = find(model)
        self.batch, self.max_pixels = batch, max_pixels
        self._device, self._threads, self._decoder = device, threads, decoder
        self._lpips = None if lpips is None else Path(lpips)
        self._natural_search: Proposer | None = None
        self._models: dict[bytes, Model] = {}
        self._runtimes: dict[tuple[Path, str], Runtime] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without its networks, for other processes."""
        limits = (self._device, self._threads, self.batch, self.max_pixels)
        return Codec, (str(self.model.path), *limits, self._decoder, self._lpips)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the networks. If the codec is used again, decoders are chosen and loaded again."""
        with self._lock:
            self._runtimes.clear()
            self._models.clear()
            self._natural_search = None

    def encode(
        self, image: Image.Image, target: Target | int = MAX_TOKENS, *, effort: int = 1
    ) -> bytes:
        """One PIL image to the bytes of an .odp file.

        target: what the file must have; an integer is a number of tokens (`Target.tokens`).
        effort: 1 to 3; above 1, encoding searches for better tokens, for seconds a tile. Without
            `lpips`, it may also make the tiles finer, which take longer to decode.

        Transparency is kept. Raises PictureError or LimitExceeded for an image that cannot be
        encoded, TargetNotReached for a target that cannot be met, ModelError for an effort that
        the model does not have.
        """
        return self.encode_many([image], target, effort=effort)[0]

    def decode(
        self,
        data: bytes | EncodedImage,
        num_tokens: int | None = None,
        *,
        realism: float = 1.0,
        strict: bool = False,
    ) -> Image.Image:
        """An .odp file, complete or truncated anywhere in the tokens, to a PIL image.

        num_tokens: use at most this many tokens for each 256x256 tile; all if None.
        realism:    1 for a picture that looks real, 0 for the least squared error, between them a
            blend; for decoders that know the difference.
        strict:     a truncated file is an error instead of a TruncatedFileWarning.

        The image has its original size and mode "RGB", or "L" if the original was grey, and an
        alpha channel if the original was transparent somewhere.

        Raises OdpError for data that cannot be decoded, UnknownModel if its token set is not
        installed, UnknownDecoder if the token set has no decoder of the given name.
        """
        return self.decode_many([data], num_tokens, realism=realism, strict=strict)[0]

    def encode_many(
        self,
        images: Sequence[Image.Image],
        target: Target | int = MAX_TOKENS,
        *,
        effort: int = 1,
    ) -> list[bytes]:
        """Like `encode` for several images, whose tiles go through the network together."""
        options = ReadOptions(self.max_pixels)
        pictures = [from_pillow(image, options) for image in images]
        encoded = self.encode_pictures(pictures, target, effort=effort)
        return [image.to_bytes() for image in encoded]

    def decode_many(
        self,
        files: Sequence[bytes | EncodedImage],
        num_tokens: int | None = None,
        *,
        realism: float = 1.0,
        strict: bool = False,
    ) -> list[Image.Image]:
        """Like `decode` for several files, whose tiles go through the network together."""
        images = [file if isinstance(file, EncodedImage) else self.parse(file) for file in files]
        for image in images:
            _report_truncation(image, strict)
        pictures = self.decode_pictures(images, num_tokens, realism=realism)
        return [picture.to_pillow() for picture in pictures]

    def parse(self, data: bytes) -> EncodedImage:
        """`EncodedImage.from_bytes`, for files of this codec's model and of installed ones."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError("a file is bytes here; onedpiece.decode takes a path")
        return EncodedImage.from_bytes(bytes(data), self.max_pixels, self.tables_of)

    def model_of(self, image: EncodedImage) -> Model:
        """The model, and in it the decoder, that paints the tokens of an image.

        The choice is made once for each token set, until the codec is closed.

        Raises UnknownModel if the token set is not installed, UnknownDecoder if it has no decoder
        of the name that this codec was given.
        """
        key = image.header.model
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = choose_decoder(key, self.model, self._decoder)
        return model

    def encode_pictures(
        self,
        pictures: Sequence[Picture],
        target: Target | int = MAX_TOKENS,
        *,
        effort: int = 1,
        progress: Progress | None = None,
    ) -> list[EncodedImage]:
        """`encode_many` from `Picture` to `EncodedImage`.

        progress: called with the number of tiles in each batch after it is encoded.
        """
        if not isinstance(target, Target):
            target = Target(tokens=target)
        check_effort(effort)
        if effort > 1 and not self.model.searchable:
            raise ModelError(f"{self.model.name} has no search for better tokens: use effort 1")
        runtime = self._runtime(self.model)
        proposer = self._search_of_looks(self._lpips) if self._lpips and effort > 1 else runtime
        # A search for the least error leaves looks aside, and has the time to decode.
        least_error = effort > 1 and not self._lpips
        estimate = self._measure_psnr if least_error else self._estimate_psnr
        measures = self._measure_psnr, estimate, self._measure_errors
        encoder = Encoder(self.model, runtime, proposer, self.batch, *measures, self.max_pixels)
        densities = LEAST_ERROR if least_error else NATURAL
        return encoder.encode(pictures, target, effort, densities, progress)

    def decode_pictures(
        self,
        images: Sequence[EncodedImage],
        num_tokens: int | None = None,
        *,
        realism: float = 1.0,
        progress: Progress | None = None,
    ) -> list[Picture]:
        """`decode_many` from `EncodedImage` to `Picture`.

        progress: called with the number of tiles in each batch after it is decoded.
        """
        check_decoding(num_tokens, realism)
        if num_tokens is not None:
            num_tokens = operator.index(num_tokens)  # integers of NumPy overflow
        decoder = Decoder(self.model_of, self._runtime, self.batch)
        return decoder.decode(images, num_tokens, realism, progress)

    def _measure_psnr(self, picture: Picture, image: EncodedImage) -> float:
        """Decibels of the picture as its file would be decoded for the least error."""
        return visible_psnr(picture, self.decode_pictures([image], realism=0)[0])

    def _estimate_psnr(self, picture: Picture, image: EncodedImage) -> float | None:
        """Decibels of the picture as its tokens sketch it; None without a sketch."""
        sketcher = self._sketcher()
        if sketcher is None:
            return None
        tiles = (
            sketcher.sketch(tokens[:count])
            for tokens, count in zip(image.tokens, image.counts, strict=True)
        )
        return visible_psnr(picture, assemble(image, tiles))

    def _measure_errors(self, tiles: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Errors of tiles by number of tokens, (B, 257), as far as sketches tell."""
        sketcher = self._sketcher()
        return sketcher.errors(tiles, tokens) if sketcher else guessed_errors(tiles)

    def _sketcher(self) -> Sketcher | None:
        return load_sketcher(self.model.token_set_file, self.model.fingerprint)

    def tables_of(self, key: bytes) -> Tables | None:
        """The entropy tables of a file's token set: of this codec's model or an installed one."""
        return installed_tables(key, self.model)

    def _search_of_looks(self, lpips: Path) -> Proposer:
        with self._lock:
            if self._natural_search is None:
                try:
                    from onedpiece.runtime.torch import NaturalSearch
                except ImportError as error:
                    raise missing_extra("a search by LPIPS", error) from error
                self._natural_search = NaturalSearch(self.model, lpips)
            return self._natural_search

    def _runtime(self, model: Model) -> Runtime:
        with self._lock:
            if model.network not in self._runtimes:
                runtime = OnnxRuntime(model, self._device, self._threads)
                self._runtimes[model.network] = runtime
            return self._runtimes[model.network]


def check_effort(effort: int) -> None:
    """Raise ValueError for an effort that does not exist."""
    if effort not in ROUNDS:
        raise ValueError(f"effort must be 1 to {max(ROUNDS)}")


def check_decoding(num_tokens: int | None, realism: float) -> None:
    """Raise ValueError for arguments of `Codec.decode` that are out of range."""
    if num_tokens is not None and num_tokens < 1:
        raise ValueError("at least one token is needed")
    if not 0 <= realism <= 1:
        raise ValueError("realism must be 0 to 1")


def _report_truncation(image: EncodedImage, strict: bool) -> None:
    """Warn of a truncated file, or raise TruncatedFile if `strict`."""
    if strict:
        image.check_complete()
    elif image.truncation:
        warnings.warn(image.truncation, TruncatedFileWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """The `stacklevel` of the first caller outside this package, for a function that calls this."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("onedpiece."):
        frame, level = frame.f_back, level + 1
    return level
