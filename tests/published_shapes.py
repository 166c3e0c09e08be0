"""Names and shapes in the state dicts of One-D-Piece S, B and L, according to the reference code.

The sources are the constructors of `TiTokEncoder` and `TiTokDecoder` (modeling/modules/blocks.py)
and of `TiTok` (modeling/titok.py) in github.com/turingmotors/One-D-Piece at commit e864955, and of
`Decoder` and `VectorQuantizer` (modeling/modules/maskgit_vqgan.py) in
github.com/bytedance/1d-tokenizer at commit be0b076. Nothing of `onedpiece` is imported.
"""

SIZES = {"s": (512, 8, 8), "b": (768, 12, 12), "l": (1024, 24, 16)}
"""Width, layers and attention heads; heads change no shape."""

Shapes = dict[str, tuple[int, ...]]


def published_shapes(width: int, layers: int, tokens: int = 256, base: int = 128) -> Shapes:
    """The state dict of a model. base: channels of the pixel decoder at full resolution."""
    return {
        "latent_tokens": (tokens, width),
        **_under("encoder", _encoder(width, layers, tokens)),
        **_under("decoder", _decoder(width, layers, tokens)),
        "quantize.embedding.weight": (4096, 12),
        "pixel_quantize.embedding.weight": (1024, 256),
        **_under("pixel_decoder", _pixel_decoder(base)),
    }


def _encoder(width: int, layers: int, tokens: int) -> Shapes:
    return {
        **_transformer(width, layers, tokens),
        **_convolution("patch_embed", 3, width, 16),
        **_convolution("conv_out", width, 12, 1),
    }


def _decoder(width: int, layers: int, tokens: int) -> Shapes:
    return {
        **_transformer(width, layers, tokens),
        "mask_token": (1, 1, width),
        **_linear("decoder_embed", 12, width),
        **_convolution("ffn.0", width, 2 * width, 1),
        **_convolution("ffn.2", 2 * width, 1024, 1),
    }


def _transformer(width: int, layers: int, tokens: int) -> Shapes:
    shapes: Shapes = {
        "class_embedding": (1, width),
        "positional_embedding": (16 * 16 + 1, width),
        "latent_token_positional_embedding": (tokens, width),
        **_norm("ln_pre", width),
        **_norm("ln_post", width),
    }
    block = {
        **_norm("ln_1", width),
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        **_linear("attn.out_proj", width, width),
        **_norm("ln_2", width),
        **_linear("mlp.c_fc", width, 4 * width),
        **_linear("mlp.c_proj", 4 * width, width),
    }
    for layer in range(layers):
        shapes |= _under(f"transformer.{layer}", block)
    return shapes


def _pixel_decoder(base: int) -> Shapes:
    """Levels from full resolution (0) to 16x16 (4); convolutions of blocks have no bias."""
    widths = [base, base, 2 * base, 2 * base, 4 * base]
    inputs = [base, 2 * base, 2 * base, 4 * base, 4 * base]
    shapes: Shapes = {
        **_convolution("conv_in", 256, 4 * base, 3),
        **_under("mid.0", _block(4 * base, 4 * base)),
        **_under("mid.1", _block(4 * base, 4 * base)),
        **_norm("norm_out", base),
        **_convolution("conv_out", base, 3, 3),
    }
    for level, (channels_in, channels) in enumerate(zip(inputs, widths, strict=True)):
        shapes |= _under(f"up.{level}.block.0", _block(channels_in, channels))
        shapes |= _under(f"up.{level}.block.1", _block(channels, channels))
        if level > 0:
            shapes |= _convolution(f"up.{level}.upsample_conv", channels, channels, 3)
    return shapes


def _block(channels_in: int, channels: int) -> Shapes:
    shapes: Shapes = {
        **_norm("norm1", channels_in),
        "conv1.weight": (channels, channels_in, 3, 3),
        **_norm("norm2", channels),
        "conv2.weight": (channels, channels, 3, 3),
    }
    if channels_in != channels:
        shapes["nin_shortcut.weight"] = (channels, channels, 1, 1)
    return shapes


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _convolution(name: str, inputs: int, outputs: int, side: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
