"""Encoding with more effort: better tokens by trying."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onedpiece.codec import Codec
from onedpiece.errors import ModelError, OdpError
from onedpiece.rate_control import Target
from onedpiece.search import FIRST_SHARE, improve

PICTURES = Path(__file__).resolve().parents[1] / "bench" / "pictures"


class Scripted:
    """A runtime in whose tiles every token that is not `wanted` costs 1. Keeps its calls."""

    def __init__(self, wanted, honest=True):
        self.wanted, self.honest, self.calls = wanted, honest, []

    def propose(self, tiles, tokens, num_tokens, valid_size):
        self.calls.append(tokens.copy())
        counts = np.arange(256) < num_tokens[:, None]
        wrong = (tokens != self.wanted) & counts
        codes = np.full(tokens.shape, self.wanted if self.honest else self.wanted + 1, np.int32)
        return wrong.sum(1).astype(np.float32), codes, wrong.astype(np.float32)


def tried(runtime, counts, rounds):
    """Tokens that were all 0, after a search."""
    counts = np.array(counts)
    tiles, tokens = np.zeros((len(counts), 1), np.uint8), np.zeros((len(counts), 256), np.uint16)
    return improve(runtime, tiles, tokens, counts, np.full((len(counts), 2), 256), rounds)


class TestTrying:
    def test_a_share_of_the_tokens_is_exchanged_in_each_round(self):
        better = tried(Scripted(7), [100], rounds=2)
        assert (better == 7).sum() == 2 * FIRST_SHARE * 100

    def test_tokens_that_are_not_in_the_file_stay(self):
        better = tried(Scripted(7), [5, 100], rounds=200)
        assert [(row == 7).sum() for row in better] == [5, 100]
        assert (better[0, 5:] == 0).all()

    def test_what_is_not_better_is_not_kept_and_fewer_are_tried(self):
        runtime = Scripted(7, honest=False)
        better = tried(runtime, [200], rounds=6)
        assert (better == 0).all()
        numbers = [int((tokens != 0).sum()) for tokens in runtime.calls[1:]]
        assert numbers == [20, 10, 5, 2, 1, 1]
        lonely = [int((tokens != 0).argmax()) for tokens in runtime.calls[-2:]]
        assert lonely[0] != lonely[1], "a token whose promise was false is not tried again"

    def test_it_ends_when_nothing_promises_anything(self):
        runtime = Scripted(0)
        tried(runtime, [256], rounds=100)
        assert len(runtime.calls) == 1


def smooth(codec, data):
    """The picture of least error: the search knows of no other."""
    return codec.decode(data, realism=0)


def psnr(one, other):
    error = np.square(np.asarray(one, np.float64) - np.asarray(other, np.float64)).mean()
    return 10 * np.log10(255**2 / error)


class TestEncoding:
    @pytest.mark.parametrize("tokens", [16, 64])
    def test_the_picture_is_better_for_hardly_more_bytes(self, codec, make_picture, tokens):
        picture = make_picture()
        quick, slow = codec.encode(picture, tokens), codec.encode(picture, tokens, effort=2)
        assert psnr(smooth(codec, slow), picture) > psnr(smooth(codec, quick), picture) + 0.05
        assert len(slow) <= 1.1 * len(quick)

    def test_a_picture_of_several_tiles_is_better_too(self, codec, make_picture):
        picture = make_picture(400, 300)
        quick, slow = (codec.encode(picture, 32, effort=effort) for effort in (1, 2))
        assert psnr(smooth(codec, slow), picture) > psnr(smooth(codec, quick), picture)

    @pytest.mark.parametrize("limit", [40, 120, 300])
    def test_files_keep_to_their_size_and_are_better(self, codec, make_picture, limit):
        picture, target = make_picture(), Target(max_bytes=limit)
        quick, slow = codec.encode(picture, target), codec.encode(picture, target, effort=2)
        assert len(slow) <= limit
        assert psnr(smooth(codec, slow), picture) > psnr(smooth(codec, quick), picture)

    def test_decibels_are_reached_with_no_more_tokens(self, codec, make_picture):
        picture = make_picture()
        wanted = psnr(smooth(codec, codec.encode(picture, 40)), picture)
        quick, slow = (
            codec.encode(picture, Target(psnr=wanted), effort=effort) for effort in (1, 2)
        )
        assert psnr(smooth(codec, slow), picture) >= wanted - 0.01
        assert codec.parse(slow).counts[0] <= codec.parse(quick).counts[0]

    def test_decibels_that_only_the_search_reaches(self, codec, make_picture):
        picture = make_picture(80, 70)
        wanted = psnr(smooth(codec, codec.encode(picture, 1024)), picture) + 0.03
        with pytest.raises(OdpError, match="cannot be reached"):
            codec.encode(picture, Target(psnr=wanted))
        assert (
            psnr(smooth(codec, codec.encode(picture, Target(psnr=wanted), effort=2)), picture)
            >= wanted
        )
        with pytest.raises(OdpError, match="cannot be reached"):
            codec.encode(picture, Target(psnr=60), effort=2)

    def test_no_pictures_make_no_files(self, codec):
        assert codec.encode_many([], effort=2) == []

    def test_effort_1_is_what_happens_without(self, codec, make_picture):
        picture = make_picture()
        assert codec.encode(picture, 8, effort=1) == codec.encode(picture, 8)

    @pytest.mark.parametrize("effort", [0, 4])
    def test_other_efforts_do_not_exist(self, codec, make_picture, effort):
        with pytest.raises(ValueError, match="effort must be 1 to 3"):
            codec.encode(make_picture(), effort=effort)

    def test_the_command_line_has_it(self, odp, codec, make_picture, tmp_path):
        make_picture().save(tmp_path / "a.png")
        for effort in ("1", "2"):
            done = odp("encode", "-n", "8", "-e", effort, tmp_path / "a.png", tmp_path / effort)
            assert done.code == 0, done.stderr
        assert (tmp_path / "1").read_bytes() != (tmp_path / "2").read_bytes()

    def test_published_models_have_no_search(self, installed_paper, make_picture):
        with pytest.raises(ModelError, match="use effort 1"):
            Codec(str(installed_paper.path)).encode(make_picture(), effort=2)


class TestSearchOfLooks:
    """A search that compares natural pictures: `lpips`, a folder of weights."""

    def test_the_picture_looks_more_like_the_original(self, shared, monkeypatch):
        # The search computes with floating-point numbers: so does the decoder here.
        monkeypatch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)
        torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
        from onedpiece.tokenizer.lpips import Lpips

        folder = shared / "perceptual"
        picture = Image.open(PICTURES / "astronaut.png").convert("RGB")
        codec, distance = Codec(lpips=folder), Lpips.load(folder)

        def look(data, realism):
            pixels = [np.array(one) for one in (codec.decode(data, realism=realism), picture)]
            return distance(*(torch.tensor(one).permute(2, 0, 1)[None] / 255 for one in pixels))

        quick, slow = (codec.encode(picture, 64, effort=effort) for effort in (1, 2))
        assert look(slow, 1) < look(quick, 1)
        assert len(slow) <= 1.1 * len(quick)
        assert psnr(smooth(codec, slow), picture) > psnr(smooth(codec, quick), picture) - 0.5

    def test_it_needs_the_weights(self, make_picture, tmp_path):
        pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
        codec = Codec(lpips=tmp_path)
        with pytest.raises(ModelError, match="does not have the weights of LPIPS"):
            codec.encode(make_picture(), 8, effort=2)
        assert codec.encode(make_picture(), 8) == Codec().encode(make_picture(), 8)

    def test_it_needs_a_natural_decoder(self, make_picture, tmp_path):
        pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
        codec = Codec(lpips=tmp_path)
        codec.model = codec.model.faithful
        with pytest.raises(ModelError, match="has no natural decoder"):
            codec.encode(make_picture(), 8, effort=2)

    def test_the_command_line_wants_an_effort(self, odp, make_picture, tmp_path):
        make_picture().save(tmp_path / "a.png")
        done = odp("encode", "--lpips", tmp_path, tmp_path / "a.png", tmp_path / "a.odp")
        assert done.code == 2 and "--lpips needs --effort 2 or 3" in done.stderr
