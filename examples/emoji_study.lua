-- Large kernels against small ones on drawings of another vendor: train on Google's emoji, test on Twitter's, 64x64
-- colour, 10 classes, three models of equal parameters, three seeds each, one recipe.
--
--   lua5.4 examples/emoji_folders.lua                           the pictures, once
--   lua5.4 examples/emoji_study.lua [root=data/emoji] [out=runs/emoji] [epochs=40] [seeds=3] [model=NAME]
--
--   pelk       peripheral kernels 51, 31, 15 on 3/8 of the channels, position maps
--   dense7     the same model with dense 7x7 kernels
--   convnext   7x7 on all channels, no batch norms, no position maps
--
-- What counts is the accuracy of the averaged weights after the last epoch. Runs that are there are not made again,
-- interrupted ones go on.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local show = require("pelk.show")

local settings = example.settings { root = "data/emoji", out = "runs/emoji", epochs = 40, seeds = 3, model = "",
  lr = 2e-3 }

local common = { in_channels = 3, num_classes = 10, depths = { 2, 2, 2 }, drop_path = 0.1 }
local models = {
  { "pelk", { dims = { 32, 64, 128 }, kernels = { 51, 31, 15 } } },
  { "dense7", { dims = { 32, 66, 130 }, kernels = 7, mixer = "dense" } },
  { "convnext", { dims = { 32, 64, 129 }, kernels = 7, mixer = "dense", partial = 1, small_kernel = 0, position = "off",
    reparam = false } },
}

local function create(overrides)
  local all = {}
  for k, v in pairs(common) do all[k] = v end
  for k, v in pairs(overrides) do all[k] = v end
  return pelk.models.create("pelk_nano", all)
end

local T = pelk.data.transforms
local scale = { T.to_float(), T.normalize { mean = 0.5, std = 0.5 } }
local function load(split)
  local set, message = pelk.data.image_folder { root = settings.root, split = split }
  if set then return set end
  io.stderr:write(message, "\nemoji_study.lua: make the folders first: lua5.4 examples/emoji_folders.lua\n")
  os.exit(1)
end
local drawings, others = load("train"), load("test")
local test = pelk.data.loader(others, { batch = 100, transforms = {
  T.resize { size = 64 }, scale[1], scale[2] } })

local function train(name, overrides, seed)
  local loader = pelk.data.loader(drawings, { batch = 32, shuffle = true, seed = seed, drop_last = true, transforms = {
    T.random_resized_crop { size = 64, scale = { 0.5, 1 }, interpolation = "bicubic" }, T.hflip {},
    T.color_jitter { brightness = 0.4, contrast = 0.4, saturation = 0.8 }, scale[1], scale[2],
    T.random_erasing { p = 0.25, mode = "const" } } })
  pelk.manual_seed(seed)
  local model = create(overrides)
  local out = ("%s/%s-%d"):format(settings.out, name, seed)
  local history = pelk.train {
    model = model, train = loader, epochs = settings.epochs, seed = seed, out = out, resume = true,
    optimizer = { name = "adamw", lr = settings.lr, weight_decay = 0.05 },
    schedule = { kind = "cosine", warmup_epochs = 2 }, loss = { label_smoothing = 0.1 },
    ema = { decay = 0.99, warmup = true, publish = "alone" },
  }
  if history.interrupted then os.exit(130) end
  assert(model:load(out .. "/last.safetensors"))
  return pelk.evaluate(model, test).top1, example.seconds(history)
end

print(("%d drawings to train on, %d to test on"):format(#drawings, #others))
local cells = { { "model", "parameters", "multiply-adds", "top-1, by seed", "mean", "deviation", "s a run" } }
for _, entry in ipairs(models) do
  local name, overrides = entry[1], entry[2]
  if settings.model == "" or settings.model == name then
    local count, tops, texts, seconds = create(overrides):count { image_size = 64 }, {}, {}, 0
    for seed = 1, settings.seeds do
      print(("%s, seed %d"):format(name, seed))
      local top1, took = train(name, overrides, seed)
      tops[seed], texts[seed], seconds = top1, ("%.2f"):format(top1), seconds + took
    end
    local m, deviation = example.mean(tops)
    cells[#cells + 1] = { name, ("%d"):format(count.params), ("%.1f M"):format(count.macs_run / 1e6),
      table.concat(texts, " "), ("%.2f"):format(m), ("%.2f"):format(deviation), ("%.0f"):format(seconds / #tops) }
  end
end
print(table.concat(show.columns(cells, 1), "\n"))
