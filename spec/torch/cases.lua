--- What is held against PyTorch: one whole network for every architecture and what composes, and single blocks.
local pelk = require("pelk")

local function spec(name, overrides)
  local s = pelk.models.spec(name)
  for k, v in pairs(overrides or {}) do s[k] = v end
  s.drop_path = 0 -- drawn at random: not to be compared
  return s
end

-- Narrow and shallow, four stages.
local function small(name, overrides)
  local s = { depths = { 1, 1, 2, 1 }, dims = { 16, 24, 32, 40 }, num_classes = 7 }
  for k, v in pairs(overrides or {}) do s[k] = v end
  return spec(name, s)
end

-- Two stages, a few thousand weights: for the files in spec/golden.
local function tiny(name, overrides)
  local s = { depths = { 1, 1 }, dims = { 8, 16 }, width = 1, num_classes = 5, kernels = { 13, 7 } }
  for k, v in pairs(overrides or {}) do s[k] = v end
  return spec(name, s)
end

local cases = {}

-- {name, options of nn.Model, {N, H, W}}
cases.networks = {
  { "pelk_nano", spec("pelk_nano"), { 3, 28, 28 } },
  { "pelk_tiny", small("pelk_tiny"), { 2, 64, 96 } },
  { "pelk_tiny, odd size, 4 channels", small("pelk_tiny", { in_channels = 4 }), { 2, 77, 101 } },
  { "pelk_tiny_101, position all, merged rings", small("pelk_tiny_101", { position = "all", rule = "merge",
    kernels = { 61, 37, 21, 13 } }), { 2, 64, 64 } },
  { "pelk_tiny, a position map a channel", spec("pelk_tiny", { depths = { 1, 1 }, dims = { 16, 24 },
    kernels = { 31, 13 }, position_shape = "channel", small_kernel = { 5, 3 } }), { 3, 40, 28 } },
  { "dense 31 and 13, odd sizes, no position", spec("pelk_tiny", { depths = { 1, 1 }, dims = { 16, 24 },
    mixer = "dense", kernels = { 31, 13 }, position = "off", partial = 1 }), { 3, 45, 39 } },
  { "every stage its own", small("pelk_tiny", { mixer = { "peripheral", "stripe", "inception", "dense" },
    kernels = { 31, 21, 11, 7 }, radius = { 1, 2, 2, 2 }, base = { 3, 2, 2, 2 }, rule = { "merge", "truncate",
    "truncate", "truncate" }, grid = { { 4, 2, 1, 1, 1, 2, 4 }, {}, {}, {} }, partial = { 0.5, 0.25, 0.125, 1 },
    width = { 1, 1.25, 1.5, 1 }, small_kernel = { 3, 5, 3, 0 }, mlp_ratio = { 2, 3, 4, 1 } }), { 3, 64, 64 } },
  { "convnext_tiny", small("convnext_tiny"), { 3, 64, 64 } },
  { "convnext_tiny, odd size, 1 channel", small("convnext_tiny", { in_channels = 1 }), { 3, 37, 53 } },
  { "slak_tiny", small("slak_tiny"), { 2, 64, 96 } },
  { "slak_tiny_dense", small("slak_tiny_dense"), { 2, 77, 69 } },
  { "replknet_31b", small("replknet_31b"), { 2, 64, 96 } },
  { "replknet_xl, odd size", small("replknet_xl", { in_channels = 1 }), { 2, 73, 101 } },
  { "RepLKNet's blocks with peripheral kernels, stem 2", spec("replknet_31b", { depths = { 1, 1 }, dims = { 16, 24 },
    mixer = "peripheral", kernels = { 31, 13 }, stem = 2, partial = 0.5, dw_ratio = 1.5 }), { 3, 40, 28 } },
  { "inception_next_tiny", small("inception_next_tiny"), { 2, 64, 96 } },
  { "inception_next_tiny, odd size, 4 channels", small("inception_next_tiny", { in_channels = 4 }), { 2, 77, 101 } },
}

-- {name, class, options of the layer, {N, H, W}}
cases.blocks = {
  { "PeLK's", "Block", { channels = 16, kernel = 51 }, { 2, 28, 28 } },
  { "PeLK-101's", "Block", { channels = 16, kernel = 101, radius = 3 }, { 1, 9, 12 } },
  { "SLaK's", "Block", { channels = 16, mixer = "stripe", partial = 1 }, { 2, 28, 28 } },
  { "SLaK's dense counterpart", "Block", { channels = 16, mixer = "dense", kernel = 31, partial = 1 }, { 2, 28, 28 } },
  { "ConvNeXt's", "Block", { channels = 16, mixer = "dense", kernel = 7, small_kernel = 0, partial = 1,
    reparam = false }, { 2, 14, 17 } },
  { "InceptionNeXt's", "Block", { channels = 16, mixer = "inception", kernel = 11, small_kernel = 3, partial = 0.125,
    norm = "batch", conv_mlp = true }, { 2, 14, 17 } },
  { "RepLKNet's", "RepLKBlock", { channels = 16, kernel = 31 }, { 2, 28, 28 } },
  { "RepLKNet-XL's", "RepLKBlock", { channels = 16, kernel = 27, small_kernel = 0, ratio = 1.5 }, { 2, 21, 30 } },
  { "RepLKNet's feed-forward", "ConvFFN", { channels = 16 }, { 2, 14, 17 } },
  { "InceptionNeXt's mixer", "InceptionConv", { channels = 24 }, { 2, 14, 17 } },
}

-- As cases.networks, named as the files in spec/golden are.
cases.golden = {
  { "pelk", tiny("pelk_tiny", { kernels = { 21, 13 } }), { 2, 38, 53 } },
  { "pelk_101", tiny("pelk_tiny_101", { kernels = { 31, 13 }, in_channels = 4, position = "all" }), { 2, 41, 36 } },
  { "convnext", tiny("convnext_tiny", { kernels = 7 }), { 2, 38, 53 } },
  { "slak", tiny("slak_tiny", { kernels = { 21, 13 } }), { 2, 38, 53 } },
  { "slak_dense", tiny("slak_tiny_dense"), { 2, 38, 53 } },
  { "replknet", tiny("replknet_31b", { in_channels = 1 }), { 2, 38, 53 } },
  { "replknet_xl", tiny("replknet_xl"), { 2, 33, 41 } },
  { "inception_next", tiny("inception_next_tiny", { kernels = 11, mlp_ratio = { 4, 3 } }), { 2, 38, 53 } },
}

return cases
