"""The tokenizer in PyTorch: prefixes, the spectral start, the paper's quantiser, proposals."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS, Config  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.tokenizer.pixels import upsample_and_convolve  # noqa: E402
from onedpiece.tokenizer.proposals import Proposals  # noqa: E402
from onedpiece.tokenizer.quantizer import VectorQuantizer  # noqa: E402
from onedpiece.tokenizer.spectral import cosine_basis  # noqa: E402
from onedpiece.tokenizer.vit import Block, run_blocks  # noqa: E402

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
    @pytest.mark.parametrize("counts", [(1, 40, 256), (2, 17, 255)])
    def test_dropping_tokens_in_a_batch_is_decoding_a_prefix(self, tiny, tokens, counts):
        with torch.inference_mode():
            batch = tiny.decode(tokens, torch.tensor(counts))
            for row, count in enumerate(counts):
                prefix = tiny.decode(tokens[row : row + 1, :count])
                torch.testing.assert_close(batch[row : row + 1], prefix, atol=1e-4, rtol=0)

    def test_dropped_tokens_have_no_influence(self, tiny, tokens):
        other = tokens.clone()
        other[:, 20:] = (other[:, 20:] + 999) % CODEBOOK_SIZE
        num_tokens = torch.full((3,), 20)
        with torch.inference_mode():
            assert torch.equal(tiny.decode(tokens, num_tokens), tiny.decode(other, num_tokens))
            assert not torch.equal(tiny.decode(tokens), tiny.decode(other))

    def test_training_decodes_as_decoding_does(self, tiny, pixels):
        num_tokens = torch.tensor([3, 100, 256])
        with torch.inference_mode():
            trained, _ = tiny(pixels, num_tokens)
            decoded = tiny.decode(tiny.encode(pixels), num_tokens)
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

    def test_an_untrained_encoder_adds_exactly_nothing(self, pixels):
        offsets = build(TINY)._offsets(pixels)
        assert offsets is not None and not offsets.any()

    def test_the_first_token_names_the_class(self, tiny, pixels):
        quantizer = tiny.quantize
        share = CODEBOOK_SIZE // TINY.spectral.classes
        first = torch.tensor([[0], [share - 1], [share], [CODEBOOK_SIZE - 1]])
        assert quantizer.class_id(first).tolist() == [0, 0, 1, 1]
        coefficients = quantizer.analyse(pixels)
        costs = coefficients.abs() @ quantizer.class_weight.T
        between = (costs[:, 0] - costs[:, 1]).sort().values[:2].mean()
        quantizer.class_bias.copy_(torch.stack((torch.tensor(0.0), between)))
        chosen = quantizer.classify(coefficients)
        assert sorted(chosen.tolist()) == [0, 1, 1]
        assert torch.equal(quantizer.class_id(tiny.encode(pixels)), chosen)

    def test_every_block_codes_the_residual_of_the_tokens_before(self, tiny, pixels):
        quantizer = tiny.quantize
        tokens, offsets = tiny.encode(pixels), tiny._offsets(pixels)
        codes, class_id = quantizer.codes(tokens), quantizer.class_id(tokens)
        for block, first in ((1, 1), (2, 16), (16, 240)):
            span = slice(first, first + 15)
            prefix = quantizer.coefficients(tokens[:, :first], codes[:, :first])
            residual = quantizer.analyse(pixels) - prefix
            order = quantizer.order[class_id, span].long()
            x = residual.gather(1, order.flatten(1)).reshape(order.shape)
            x = x / quantizer.scale[class_id, span, None] + offsets[:, span]
            distance = torch.cdist(x, quantizer.codebook(block).expand(3, -1, -1))
            chosen = distance.gather(2, tokens[:, span, None])[..., 0]
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
        slope = torch.tensor([[[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]])
        (gradient,) = torch.autograd.grad((codes * slope).sum(), latents, retain_graph=True)
        # The component along a unit vector is lost by the normalisation.
        unit = latents.detach()
        expected = slope - (slope * unit).sum(-1, keepdim=True) * unit
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=0)
        loss.backward()
        assert latents.grad.any() and quantizer.embedding.weight.grad.any()


class TestConfigurations:
    @pytest.mark.parametrize("name", sorted(CONFIGS))
    def test_a_configuration_survives_json(self, name):
        assert Config.from_dict(json.loads(json.dumps(CONFIGS[name].to_dict()))) == CONFIGS[name]

    def test_manifests_say_rate_for_lambda(self):
        data = CONFIGS["default"].to_dict()
        assert data["spectral"]["rate"] == 0.35 and "lambda_" not in data["spectral"]
        data["spectral"]["rate"] = 0.5
        assert Config.from_dict(data).spectral.lambda_ == 0.5

    def test_they_need_no_pytorch(self, loaded_modules):
        assert "torch" not in loaded_modules("import onedpiece.tokenizer.config")


class TestProposals:
    def test_predicted_gains_are_real_where_the_decoder_is_linear(self, randomise):
        """Without repair the decoded image is the spectral one, and predictions are exact."""
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
        tokens = torch.randint(0, CODEBOOK_SIZE, (1, MAX_TOKENS))
        sizes = torch.tensor([90]), torch.tensor([[256, 256]])
        with torch.no_grad():
            cost, codes, gains = Proposals(model)(pixels, tokens, *sizes)
            for position in gains[0].topk(3).indices:
                exchanged = tokens.clone()
                exchanged[0, position] = codes[0, position]
                new_cost, *_ = Proposals(model)(pixels, exchanged, *sizes)
                gain = float(gains[0, position])
                assert float(cost - new_cost) == pytest.approx(gain, rel=0.01)

    def test_the_cost_is_the_squared_error_of_valid_pixels_plus_the_price_of_the_bits(
        self, tiny, pixels
    ):
        original = (pixels * 255).round().byte().permute(0, 2, 3, 1)
        tokens = tiny.encode(original.permute(0, 3, 1, 2).float() / 255)
        num_tokens, valid_size = torch.full((3,), 40), torch.tensor([[200, 90]] * 3)
        with torch.no_grad():
            cost, *_ = Proposals(tiny)(original, tokens, num_tokens, valid_size)
            decoded = tiny.decode(tokens[:, :40]).clamp(0, 1).permute(0, 2, 3, 1)
            error = (decoded - original / 255).square()[:, :90, :200].flatten(1).sum(1)
            tables = tiny.quantize
            bits = tables.bits()[tables.block_of, tokens]
            energy = tables.scale[tables.class_id(tokens)].square()
        price = tables.shape.lambda_ * (bits * energy)[:, :40].sum(1)
        assert torch.allclose(cost, error + price, rtol=1e-4)


class TestShortcuts:
    """They change nothing but the time."""

    def test_the_last_block_computes_some_rows_only(self):
        torch.manual_seed(0)
        blocks = torch.nn.ModuleList(Block(32, 4) for _ in range(2))
        x, bias = torch.randn(2, 9, 32), torch.randn(2, 1, 1, 9)
        everything = blocks[1](blocks[0](x, bias), bias)
        assert torch.allclose(
            run_blocks(blocks, x, slice(2, 7), bias), everything[:, 2:7], atol=1e-6
        )

    def test_attention_is_the_same_with_and_without_the_fused_kernel(self):
        torch.manual_seed(0)
        block, x, bias = Block(32, 4), torch.randn(2, 9, 32), torch.randn(2, 1, 1, 9)
        with torch.no_grad():
            fused = block(x, bias)
        assert torch.allclose(block(x, bias), fused, atol=1e-6)

    def test_upsampling_and_convolving_at_once_is_the_same_as_in_sequence(self):
        torch.manual_seed(0)
        conv, x = torch.nn.Conv2d(5, 7, 3, padding=1), torch.randn(2, 5, 6, 8)
        plain = conv(torch.nn.functional.interpolate(x, scale_factor=2.0))
        assert torch.allclose(upsample_and_convolve(x, conv), plain, atol=1e-5)
