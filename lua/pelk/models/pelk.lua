--- PeLK (CVPR 2024, arXiv 2403.07589): peripheral kernels, section 4; sizes, section 4.4; width as SLaK's, 1.3.
-- Every entry is a spec for nn.Model. Lists are one value a stage.

local tiny = { depths = { 3, 3, 9, 3 }, dims = { 96, 192, 384, 768 } }
local small = { depths = { 3, 3, 27, 3 }, dims = { 96, 192, 384, 768 } }
local base = { depths = { 3, 3, 27, 3 }, dims = { 128, 256, 512, 1024 } }

--- The three sizes differ in depths, dims and drop path; the kernel sets in kernels and the fine centre's radius.
-- The paper gives no radius for -151; 3 by analogy with -101. Drop path as SLaK: 0.1, 0.4, 0.5.
local function variant(size, drop_path, kernels, radius)
  return {
    depths = size.depths,
    dims = size.dims,
    width = 1.3,
    mixer = "peripheral",
    kernels = kernels,
    radius = radius,
    base = 2,
    rule = "truncate",
    position = "valid",
    position_shape = "map",
    small_kernel = 5,
    partial = 0.375,
    mlp_ratio = 4,
    drop_path = drop_path,
    layer_scale = 1e-6,
    stem = 4,
    reparam = true,
  }
end

local kernels = {
  [""] = { { 51, 49, 47, 13 }, 2 },
  _101 = { { 101, 69, 67, 13 }, 3 },
  _151 = { { 151, 89, 87, 13 }, 3 },
}

local models = {}
for suffix, set in pairs(kernels) do
  models["pelk_tiny" .. suffix] = variant(tiny, 0.1, set[1], set[2])
  models["pelk_small" .. suffix] = variant(small, 0.4, set[1], set[2])
  models["pelk_base" .. suffix] = variant(base, 0.5, set[1], set[2])
end

--- All of PeLK's ideas for images of 28 to 64 pixels, under half a million parameters: a stem of stride 2 and kernels
-- that reach over the whole map of every stage. Layer scale and weights begin large enough for narrow layers and runs
-- of a few epochs.
models.pelk_nano = {
  depths = { 2, 3, 2 },
  dims = { 32, 64, 128 },
  num_classes = 10,
  in_channels = 1,
  width = 1,
  mixer = "peripheral",
  kernels = { 31, 15, 7 },
  radius = 2,
  base = 2,
  rule = "truncate",
  position = "valid",
  position_shape = "map",
  small_kernel = 5,
  partial = 0.375,
  mlp_ratio = 4,
  drop_path = 0,
  layer_scale = 1,
  stem = 2,
  reparam = true,
  init = "fan_in",
}

return models
