--- InceptionNeXt (CVPR 2024, arXiv 2303.16900), section 3: three eighths of the channels go through 3x3, 1x11 and 11x1
-- kernels, batch norms everywhere, an MLP head, the last stage's MLPs narrower.

local function variant(depths, dims, drop_path)
  return {
    depths = depths,
    dims = dims,
    width = 1,
    mixer = "inception",
    kernels = 11,
    small_kernel = 3,
    partial = 0.125,
    mlp_ratio = { 4, 4, 4, 3 },
    drop_path = drop_path,
    layer_scale = 1e-6,
    stem = 4,
    norm = "batch",
    conv_mlp = true,
    head = "mlp",
  }
end

return {
  inception_next_tiny = variant({ 3, 3, 9, 3 }, { 96, 192, 384, 768 }, 0.1),
  inception_next_small = variant({ 3, 3, 27, 3 }, { 96, 192, 384, 768 }, 0.3),
  inception_next_base = variant({ 3, 3, 27, 3 }, { 128, 256, 512, 1024 }, 0.4),
}
