"""The tokenizer in PyTorch: prefixes, the spectral start, the paper's quantiser and its state dict."""

import re

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS, Config  # noqa: E402
from onedpiece.tokenizer.onedpiece import PaperOneDPiece, build  # noqa: E402
from onedpiece.tokenizer.pixels import convolve_doubled  # noqa: E402
from onedpiece.tokenizer.proposals import Proposals  # noqa: E402
from onedpiece.tokenizer.quantizer import VectorQuantizer  # noqa: E402
from onedpiece.tokenizer.spectral import cosine_basis  # noqa: E402
from onedpiece.tokenizer.vit import Block, through  # noqa: E402

TINY = CONFIGS["tiny"]


@pytest.fixture
def tiny(randomise):
    """The smallest tokenizer, every weight and table random."""
    return randomise(build(TINY)).eval()


@pytest.fixture
def pixels(make_picture):
    import numpy as np

    pictures = np.stack([np.asarray(make_picture(seed=seed)) for seed in range(3)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.fixture
def tokens():
    return torch.randint(CODEBOOK_SIZE, (3, MAX_TOKENS), generator=torch.Generator().manual_seed(1))


class TestPrefixes:
    @pytest.mark.parametrize("count", [1, 2, 17, 255, 256])
    def test_hiding_later_tokens_is_the_same_as_not_having_them(self, tiny, tokens, count):
        with torch.inference_mode():
            cut = tiny.decode(tokens[:, :count])
            hidden = tiny.decode(tokens, torch.full((3,), count))
        torch.testing.assert_close(cut, hidden, atol=1e-5, rtol=0)

    def test_every_picture_of_a_batch_has_its_own_length(self, tiny, tokens):
        keep = torch.tensor([1, 40, 256])
        with torch.inference_mode():
            together = tiny.decode(tokens, keep)
            for row, count in enumerate(keep.tolist()):
                alone = tiny.decode(tokens[row : row + 1, :count])
                torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)

    def test_later_tokens_cannot_be_seen(self, tiny, tokens):
        other = tokens.clone()
        other[:, 20:] = (other[:, 20:] + 999) % CODEBOOK_SIZE
        keep = torch.full((3,), 20)
        with torch.inference_mode():
            assert torch.equal(tiny.decode(tokens, keep), tiny.decode(other, keep))
            assert not torch.equal(tiny.decode(tokens), tiny.decode(other))

    def test_training_sees_what_decoding_gives(self, tiny, pixels):
        keep = torch.tensor([3, 100, 256])
        with torch.inference_mode():
            trained, _ = tiny(pixels, keep, grain=True)
            decoded = tiny.decode(tiny.encode(pixels), keep)
        torch.testing.assert_close(trained, decoded, atol=1e-4, rtol=0)


class TestSpectralStart:
    def test_an_untrained_repair_adds_exactly_nothing(self, tokens):
        model = build(TINY).eval()
        generator = torch.Generator().manual_seed(2)
        model.quantize.codebooks.data.normal_(generator=generator)
        model.quantize.class_mean.normal_(generator=generator)
        with torch.inference_mode():
            assert torch.equal(model.decode(tokens), model.spectral_picture(tokens))
            assert model.spectral_picture(tokens).std() > 0

    def test_a_trained_one_adds_something(self, tiny, tokens):
        with torch.inference_mode():
            assert not torch.equal(tiny.decode(tokens), tiny.spectral_picture(tokens))

    def test_the_encoder_starts_from_the_transform_alone(self, pixels):
        offsets = build(TINY)._offsets(pixels)
        assert offsets is not None and not offsets.any()

    def test_the_first_token_names_the_class(self, tiny, pixels):
        quantizer = tiny.quantize
        share = CODEBOOK_SIZE // TINY.spectral.classes
        first = torch.tensor([[0], [share - 1], [share], [CODEBOOK_SIZE - 1]])
        assert quantizer.label(first).tolist() == [0, 0, 1, 1]
        coefficients = quantizer.analyse(pixels)
        costs = coefficients.abs() @ quantizer.class_weight.T
        between = (costs[:, 0] - costs[:, 1]).sort().values[:2].mean()
        quantizer.class_bias.copy_(torch.stack((torch.tensor(0.0), between)))
        chosen = quantizer.classify(coefficients)
        assert sorted(chosen.tolist()) == [0, 1, 1]
        assert torch.equal(quantizer.label(tiny.encode(pixels)), chosen)

    def test_every_block_codes_what_the_tokens_before_left_over(self, tiny, pixels):
        quantizer = tiny.quantize
        tokens, offsets = tiny.encode(pixels), tiny._offsets(pixels)
        codes, label = quantizer.codes(tokens), quantizer.label(tokens)
        for block, first in ((1, 1), (2, 16), (16, 240)):
            here = slice(first, first + 15)
            known = quantizer.coefficients(tokens[:, :first], codes[:, :first])
            left = quantizer.analyse(pixels) - known
            order = quantizer.order[label, here].long()
            x = left.gather(1, order.flatten(1)).reshape(order.shape)
            x = x / quantizer.scale[label, here, None] + offsets[:, here]
            book = quantizer.codebooks[block * CODEBOOK_SIZE : (block + 1) * CODEBOOK_SIZE].expand(
                3, -1, -1
            )
            distance = torch.cdist(x, book)
            chosen = distance.gather(2, tokens[:, here, None])[..., 0]
            torch.testing.assert_close(chosen, distance.min(2).values, atol=1e-3, rtol=0)

    def test_encoding_is_deterministic_and_stays_in_the_codebook(self, tiny, pixels):
        with torch.inference_mode():
            first, second = tiny.encode(pixels), tiny.encode(pixels)
        assert torch.equal(first, second)
        assert first.shape == (3, MAX_TOKENS) and first.dtype == torch.int64
        assert first.min() >= 0 and first.max() < CODEBOOK_SIZE
        assert len(first.unique()) > 100

    def test_low_frequencies_survive_the_transform_and_back(self, tiny):
        quantizer = tiny.quantize
        quantizer.colour.copy_(torch.linalg.qr(quantizer.colour).Q)
        smooth = torch.rand(2, 3 * TINY.spectral.frequencies**2)
        picture = quantizer.synthesise(smooth, quantizer.basis)
        torch.testing.assert_close(quantizer.analyse(picture), smooth, atol=1e-4, rtol=0)

    def test_a_small_basis_samples_the_same_waves(self):
        full, small = cosine_basis(8, 256), cosine_basis(8, 64)
        averaged = full.reshape(8, 64, 4).mean(2)
        torch.testing.assert_close(small, averaged, atol=1e-3, rtol=0)
        torch.testing.assert_close(full @ full.T, torch.eye(8), atol=1e-5, rtol=0)

    def test_blocks_must_make_256_tokens(self):
        from dataclasses import replace

        wrong = replace(TINY, spectral=replace(TINY.spectral, blocks=(1, 15)))
        with pytest.raises(ValueError, match="256"):
            build(wrong)


class TestVectorQuantizer:
    def test_it_picks_the_nearest_direction(self):
        quantizer = VectorQuantizer(4)
        directions = torch.nn.functional.normalize(quantizer.embedding.weight, dim=-1)
        latents = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3))
        similarity = torch.nn.functional.normalize(latents, dim=-1) @ directions.T
        chosen = similarity.gather(-1, quantizer.tokens(latents)[..., None])[..., 0]
        torch.testing.assert_close(chosen, similarity.max(-1).values, atol=1e-6, rtol=0)

    def test_length_does_not_matter(self):
        quantizer = VectorQuantizer(12)
        latents = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(4))
        assert torch.equal(quantizer.tokens(latents), quantizer.tokens(latents * 50))

    def test_codes_are_unit_vectors_that_quantise_to_themselves(self):
        quantizer = VectorQuantizer(12)
        tokens = torch.tensor([[0, 7, CODEBOOK_SIZE - 1]])
        codes = quantizer.codes(tokens)
        torch.testing.assert_close(codes.norm(dim=-1), torch.ones(1, 3))
        assert torch.equal(quantizer.tokens(codes), tokens)

    def test_gradients_pass_straight_through(self):
        quantizer = VectorQuantizer(3)
        latents = torch.nn.functional.normalize(torch.randn(1, 2, 3), dim=-1).requires_grad_()
        codes, loss = quantizer(latents)
        assert torch.allclose(codes, quantizer.codes(quantizer.tokens(latents)), atol=1e-6)
        wanted = torch.tensor([[[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]])
        (got,) = torch.autograd.grad((codes * wanted).sum(), latents, retain_graph=True)
        along = latents.detach()
        across = wanted - (wanted * along).sum(-1, keepdim=True) * along
        torch.testing.assert_close(got, across, atol=1e-5, rtol=0)
        loss.backward()
        assert latents.grad.any() and quantizer.embedding.weight.grad.any()


class TestConfigurations:
    @pytest.mark.parametrize("name", sorted(CONFIGS))
    def test_a_configuration_survives_json(self, name):
        import json

        assert Config.from_dict(json.loads(json.dumps(CONFIGS[name].to_dict()))) == CONFIGS[name]

    def test_the_paper_model_has_the_state_dict_of_the_published_one(self, shared):
        lines = (shared / "reference" / "state_dict_s256.txt").read_text().splitlines()
        published = dict(re.fullmatch(r"(\S+) (\(.*\))", line).groups() for line in lines if line)
        with torch.device("meta"):
            model = build(CONFIGS["one-d-piece-s-256"])
        assert isinstance(model, PaperOneDPiece)
        ours = {key: str(tuple(value.shape)) for key, value in model.state_dict().items()}
        # The head of our decoder is a module of its own.
        renamed = {re.sub(r"^head\.", "decoder.", key): shape for key, shape in ours.items()}
        assert renamed == published


class TestProposals:
    def test_what_they_promise_comes_true_where_the_decoder_is_linear(self, randomise):
        """Without repair the decoded picture is the spectral one, and promises are exact for one exchange."""
        torch.manual_seed(0)
        model = randomise(build(TINY)).eval()
        torch.nn.init.zeros_(model.repair.head.weight)
        torch.nn.init.zeros_(model.repair.head.bias)
        tables = model.quantize
        tables.colour.copy_(torch.eye(3))
        tables.scale.div_(20)  # so that no pixel leaves 0..1
        tables.class_mean.zero_()
        tables.class_mean[:, :: TINY.spectral.frequencies**2] = 128
        pixels = torch.randint(100, 150, (1, 256, 256, 3), dtype=torch.uint8)
        tokens, keep = torch.randint(0, CODEBOOK_SIZE, (1, MAX_TOKENS)), torch.tensor([90])
        shown = torch.tensor([[256, 256]])
        with torch.no_grad():
            cost, codes, gains = Proposals(model)(pixels, tokens, keep, shown)
            for place in gains[0].topk(3).indices:
                tried = tokens.clone()
                tried[0, place] = codes[0, place]
                new_cost, *_ = Proposals(model)(pixels, tried, keep, shown)
                assert float(cost - new_cost) == pytest.approx(float(gains[0, place]), rel=0.01)

    def test_the_cost_is_the_squared_error_of_what_shows_and_the_price_of_the_bits(
        self, tiny, pixels
    ):
        original = (pixels * 255).round().byte().permute(0, 2, 3, 1)
        tokens = tiny.encode(original.permute(0, 3, 1, 2).float() / 255)
        keep = torch.full((len(tokens),), 40)
        with torch.no_grad():
            cost, *_ = Proposals(tiny)(
                original, tokens, keep, torch.tensor([[200, 90]] * len(keep))
            )
            decoded = tiny.decode(tokens[:, :40], grain=0).clamp(0, 1).permute(0, 2, 3, 1)
            error = (decoded - original / 255).square()[:, :90, :200].flatten(1).sum(1)
            tables = tiny.quantize
            bits = tables.bits()[tables.block_of, tokens]
            energy = tables.scale[tables.label(tokens)].square()
        paid = tables.shape.rate * (bits * energy)[:, :40].sum(1)
        assert torch.allclose(cost, error + paid, rtol=1e-4)


class TestWhatIsNotWorkedOut:
    """Shortcuts that change nothing but the time."""

    def test_the_last_block_gives_the_rows_that_are_asked_for(self):
        torch.manual_seed(0)
        blocks = torch.nn.ModuleList(Block(32, 4) for _ in range(2))
        x, bias = torch.randn(2, 9, 32), torch.randn(2, 1, 1, 9)
        everything = blocks[1](blocks[0](x, bias), bias)
        assert torch.allclose(through(blocks, x, slice(2, 7), bias), everything[:, 2:7], atol=1e-6)

    def test_attention_is_the_same_with_and_without_the_fused_kernel(self):
        torch.manual_seed(0)
        block, x, bias = Block(32, 4), torch.randn(2, 9, 32), torch.randn(2, 1, 1, 9)
        with torch.no_grad():
            fused = block(x, bias)
        assert torch.allclose(block(x, bias), fused, atol=1e-6)

    def test_doubling_and_convolving_at_once_is_the_same_as_one_after_the_other(self):
        torch.manual_seed(0)
        conv, x = torch.nn.Conv2d(5, 7, 3, padding=1), torch.randn(2, 5, 6, 8)
        plain = conv(torch.nn.functional.interpolate(x, scale_factor=2.0))
        assert torch.allclose(convolve_doubled(x, conv), plain, atol=1e-5)
