--- RepLKNet (CVPR 2022, arXiv 2203.06717), section 4: a convolutional stem, dense large kernels with a parallel 5x5 one
-- between pointwise convolutions, ConvFFNs, batch norms everywhere. XL has no small kernels and wider large ones. Drop
-- path is that of 31B's training on ImageNet-1K.

local function variant(dims, kernels, small_kernel, dw_ratio)
  return {
    block = "replknet",
    depths = { 2, 2, 18, 2 },
    dims = dims,
    width = 1,
    mixer = "dense",
    kernels = kernels,
    small_kernel = small_kernel,
    partial = 1,
    mlp_ratio = 4,
    dw_ratio = dw_ratio,
    drop_path = 0.5,
    layer_scale = 0,
    stem = 4,
    reparam = true,
    norm = "batch",
  }
end

return {
  replknet_31b = variant({ 128, 256, 512, 1024 }, { 31, 29, 27, 13 }, 5, 1),
  replknet_31l = variant({ 192, 384, 768, 1536 }, { 31, 29, 27, 13 }, 5, 1),
  replknet_xl = variant({ 256, 512, 1024, 2048 }, { 27, 27, 27, 13 }, 0, 1.5),
}
