--- SLaK (ICLR 2023, arXiv 2207.03620): each large kernel as two stripes, kernel x 5 and 5 x kernel, beside a 5x5 one,
-- each with its batch norm (section 3); width 1.3, to be trained sparse. And its dense counterpart, square kernels in
-- the same framework: RepLK-51 in Table 1 of PeLK.

local function variant(mixer, depths, dims, drop_path)
  return {
    depths = depths,
    dims = dims,
    width = 1.3,
    mixer = mixer,
    kernels = { 51, 49, 47, 13 },
    small_kernel = 5,
    partial = 1,
    mlp_ratio = 4,
    drop_path = drop_path,
    layer_scale = 1e-6,
    stem = 4,
    reparam = true,
  }
end

local models = {}
for suffix, mixer in pairs({ [""] = "stripe", _dense = "dense" }) do
  models["slak_tiny" .. suffix] = variant(mixer, { 3, 3, 9, 3 }, { 96, 192, 384, 768 }, 0.1)
  models["slak_small" .. suffix] = variant(mixer, { 3, 3, 27, 3 }, { 96, 192, 384, 768 }, 0.4)
  models["slak_base" .. suffix] = variant(mixer, { 3, 3, 27, 3 }, { 128, 256, 512, 1024 }, 0.5)
end

return models
