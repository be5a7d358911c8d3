--- ConvNeXt (arXiv 2201.03545), section 3: dense 7x7 depthwise kernels on all channels, one convolution with bias.

local function variant(depths, dims, drop_path)
  return {
    depths = depths,
    dims = dims,
    width = 1,
    mixer = "dense",
    kernels = 7,
    small_kernel = 0,
    partial = 1,
    mlp_ratio = 4,
    drop_path = drop_path,
    layer_scale = 1e-6,
    stem = 4,
    reparam = false,
  }
end

return {
  convnext_tiny = variant({ 3, 3, 9, 3 }, { 96, 192, 384, 768 }, 0.1),
  convnext_small = variant({ 3, 3, 27, 3 }, { 96, 192, 384, 768 }, 0.4),
  convnext_base = variant({ 3, 3, 27, 3 }, { 128, 256, 512, 1024 }, 0.5),
  convnext_large = variant({ 3, 3, 27, 3 }, { 192, 384, 768, 1536 }, 0.5),
}
