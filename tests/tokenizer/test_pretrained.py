"""`Tokenizer`: what a researcher loads."""

import pickle

import numpy as np
import pytest
from PIL import Image

from onedpiece import EncodedImage, Tokenizer
from onedpiece.errors import OutputError, UnknownModel
from onedpiece.metrics import psnr


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def pixels(make_picture):
    return Tokenizer.preprocess([make_picture(seed=0), make_picture(seed=1)])


@pytest.fixture(scope="module")
def tokens(tokenizer, pixels):
    return tokenizer.encode(pixels)


def test_it_says_what_its_tokens_are(tokenizer):
    assert (tokenizer.num_tokens, tokenizer.codebook_size) == (256, 4096)


def test_an_unknown_name_is_an_error():
    with pytest.raises(UnknownModel):
        Tokenizer.from_pretrained("no-such-model")


class TestPreprocess:
    def test_the_short_edge_becomes_256_and_the_centre_is_cropped(self):
        wide = Image.new("RGB", (512, 128), "red")
        wide.paste("blue", (192, 0, 320, 128))
        pixels = Tokenizer.preprocess(wide)
        assert pixels.shape == (1, 256, 256, 3) and pixels.dtype == np.uint8
        assert pixels[0, 128, 128].tolist() == [0, 0, 255]
        assert pixels[0, :, 8:-8, 0].max() == 0

    def test_a_thin_picture_is_cropped_before_it_is_scaled(self):  # else it takes gigabytes
        thin = Image.new("RGB", (32768, 1), "red")
        thin.paste("blue", (16376, 0, 16392, 1))  # some middle pixels
        assert Tokenizer.preprocess(thin)[0, :, 128].tolist() == [[0, 0, 255]] * 256

    def test_pictures_of_one_tile_stay_as_they_are(self, make_picture):
        picture = make_picture()
        assert (Tokenizer.preprocess(picture)[0] == np.asarray(picture)).all()


class TestNumpy:
    def test_tokens_are_uint16(self, tokens):
        assert tokens.dtype == np.uint16 and tokens.shape == (2, 256) and tokens.max() < 4096

    def test_pixels_come_back_as_uint8(self, tokenizer, tokens, pixels):
        decoded = tokenizer.decode(tokens)
        assert decoded.dtype == np.uint8 and decoded.shape == pixels.shape
        assert psnr(pixels, decoded) > 18

    def test_tokens_are_those_of_the_codec(self, tokens, codec, make_picture):
        image = EncodedImage.from_bytes(codec.encode(make_picture(seed=0)))
        assert (image.tokens[0] == tokens[0]).all()

    def test_num_tokens_is_a_prefix(self, tokenizer, tokens):
        prefix = tokenizer.decode(tokens[:, :16])
        assert (tokenizer.decode(tokens, num_tokens=16) == prefix).all()
        assert (tokenizer.decode_tokens(tokens, 16) == prefix).all()

    def test_a_batch_can_have_mixed_lengths(self, tokenizer, tokens):
        mixed = tokenizer.decode(tokens, lengths=[16, 200])
        assert (mixed[0] == tokenizer.decode(tokens[:1, :16])[0]).all()
        assert (mixed[1] == tokenizer.decode(tokens[1:, :200])[0]).all()

    def test_realism_0_has_the_least_error(self, tokenizer, tokens, pixels):
        def error(realism):
            return np.square(tokenizer.decode(tokens, 64, realism).astype(float) - pixels).mean()

        assert error(0.0) < error(1.0)

    def test_no_pictures_give_no_tokens(self, tokenizer):
        none = tokenizer.encode(np.zeros((0, 256, 256, 3), np.uint8))
        assert none.shape == (0, 256)
        assert tokenizer.decode(none).shape == (0, 256, 256, 3)

    @pytest.mark.parametrize(
        "pixels",
        [np.zeros((1, 3, 256, 256), np.uint8), np.zeros((1, 256, 256, 3), np.float32)],
        ids=["channels first", "float"],
    )
    def test_other_shapes_and_types_are_refused(self, tokenizer, pixels):
        with pytest.raises(ValueError, match="uint8"):
            tokenizer.encode(pixels)

    @pytest.mark.parametrize(
        "tokens, options",
        [
            (np.full((1, 4), 4096), {}),
            (np.full((1, 4), -1), {}),
            (np.zeros((1, 4)), {}),
            (np.zeros((1, 0), int), {}),
            (np.zeros((1, 257), int), {}),
            (np.zeros(4, int), {}),
            (np.zeros((1, 4), int), {"lengths": [5]}),
            (np.zeros((1, 4), int), {"lengths": [1, 2]}),
            (np.zeros((1, 4), int), {"lengths": [2.7]}),
            ([[1, 2]], {}),
            (np.zeros((1, 4), int), {"num_tokens": 0}),
            (np.zeros((1, 4), int), {"realism": 1.5}),
        ],
    )
    def test_tokens_out_of_range_are_refused(self, tokenizer, tokens, options):
        with pytest.raises(ValueError):
            tokenizer.decode(tokens, **options)


class TestTorch:
    torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

    @pytest.fixture
    def tensor(self, pixels):
        return self.torch.tensor(pixels).permute(0, 3, 1, 2) / 255

    def test_tensors_give_int64_tokens(self, tokenizer, tensor, tokens):
        int_tokens = tokenizer.encode(tensor)
        assert int_tokens.dtype == self.torch.int64
        assert (int_tokens.numpy() == tokens).mean() > 0.95  # rounding decides between some codes

    def test_tokens_give_pictures_in_0_to_1(self, tokenizer, tokens, monkeypatch):
        monkeypatch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)
        decoded = tokenizer.decode(self.torch.from_numpy(tokens.astype(np.int64)), 32)
        assert decoded.shape == (2, 3, 256, 256)
        assert decoded.min() >= 0 and decoded.max() <= 1
        same = tokenizer.decode(tokens, 32)
        assert np.abs(decoded.permute(0, 2, 3, 1).numpy() * 255 - same).max() < 1

    def test_tokens_and_codes_can_be_trained_on(self, tokenizer, tensor):
        tokens = tokenizer.encode(tensor[:1])
        embedding, linear = self.torch.nn.Embedding(4096, 2), self.torch.nn.Linear(12, 1)
        (embedding(tokens).sum() + linear(tokenizer.codes(tokens)).sum()).backward()
        assert linear.weight.grad.abs().sum() > 0

    def test_pixels_from_minus_1_are_refused(self, tokenizer, tensor):
        with pytest.raises(ValueError, match=r"-1\.\.1"):
            tokenizer.encode(tensor * 2 - 1)

    def test_codes_are_the_vectors_of_tokens(self, tokenizer, tokens):
        codes = tokenizer.codes(tokens)
        assert codes.shape == (2, 256, 12)
        of_tensor = tokenizer.codes(self.torch.from_numpy(tokens.astype(np.int64)))
        assert (of_tensor.numpy() == codes).all()

    def test_the_module_passes_gradients_to_the_codes(self, tokenizer, tokens):
        module = tokenizer.module
        known = self.torch.from_numpy(tokens[:1, :4].astype(np.int64))
        codes = module.quantize.codes(known).detach().requires_grad_()
        module.reconstruct(known, codes, None).sum().backward()
        assert codes.grad.abs().max() > 0


def test_tokens_become_bytes_without_pixels(tokenizer, tokens, codec, make_picture):
    image = EncodedImage.from_tokens(tokens[0, :64], 256, 256)
    assert image.to_bytes() == codec.encode(make_picture(seed=0), 64)


def test_it_can_be_pickled_for_the_workers_of_a_data_loader(tokenizer, tokens):
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert (copy.decode(tokens[:1, :4]) == tokenizer.decode(tokens[:1, :4])).all()


def test_a_saved_tokenizer_can_be_loaded(tokenizer, tokens, tmp_path):
    tokenizer.save_pretrained(tmp_path / "copy")
    loaded = Tokenizer.from_pretrained(tmp_path / "copy", device="cpu")
    assert (loaded.decode(tokens[:1, :4]) == tokenizer.decode(tokens[:1, :4])).all()
    with pytest.raises(OutputError):
        tokenizer.save_pretrained(tmp_path / "copy")


def test_it_is_pushed_to_the_hub_as_a_folder(tokenizer, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra onedpiece[torch]")
    calls = []

    class Api:
        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, repo_id, private, exist_ok):
            calls.append(("create", repo_id, private, exist_ok))
            return f"https://hub/{repo_id}"

        def upload_folder(self, repo_id, folder_path):
            calls.append(("upload", repo_id, folder_path))

    monkeypatch.setattr(hub, "HfApi", Api)
    assert tokenizer.push_to_hub("me/mine", private=True, token="t") == "https://hub/me/mine"
    assert calls == [
        ("token", "t"),
        ("create", "me/mine", True, True),
        ("upload", "me/mine", tokenizer.model.path),
    ]
