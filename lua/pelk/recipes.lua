--- Training recipes of the papers as data: every value with its source.
--
-- A value that nobody published, and that we take over from the closest relative, is marked "inferred: ...". Names are
-- those of the ConvNeXt and SLaK scripts. Values that depend on the model's size are tables by size. The papers'
-- schedules for segmentation and detection (ADE20K, COCO) are of tasks that pelk has no heads for, and are not here.
-- @module pelk.recipes

local options = require("pelk.options")
local show = require("pelk.show")

local recipes = {}

local CNX = "ConvNeXt (arXiv 2201.03545), published commands"
local SLAK = "SLaK (arXiv 2207.03620), published commands"
local REP = "RepLKNet (arXiv 2203.06717), published commands"
local PELK = "PeLK (arXiv 2403.07589)"
local AS_SLAK = "inferred: PeLK says as SLaK and prints no values; SLaK's"
local AS_CNX = "inferred: not in RepLKNet's figures at hand; ConvNeXt's"

--- The augmentation and regularisation that the family shares, under one source.
local function common(source)
  return {
    opt = { "adamw", source }, opt_eps = { 1e-8, source }, opt_betas = { { 0.9, 0.999 }, source },
    weight_decay = { 0.05, source }, sched = { "cosine", source }, min_lr = { 1e-6, source },
    aa = { "rand-m9-mstd0.5-inc1", source }, color_jitter = { 0.4, source }, smoothing = { 0.1, source },
    mixup = { 0.8, source }, cutmix = { 1.0, source }, mixup_prob = { 1.0, source },
    mixup_switch_prob = { 0.5, source }, reprob = { 0.25, source }, remode = { "pixel", source },
    train_interpolation = { "bicubic", source }, crop_pct = { 0.875, source }, model_ema = { true, source },
    model_ema_decay = { 0.9999, source }, model_ema_warmup = { false, source },
    layer_scale_init_value = { 1e-6, source },
  }
end

local function with(base, changes)
  for name, value in pairs(changes) do base[name] = value end
  return base
end

local sizes = { tiny = 0.1, small = 0.4, base = 0.5, large = 0.5 }
local three = { tiny = 0.1, small = 0.4, base = 0.5 }

local data = {
  convnext = with(common(CNX), {
    epochs = { 300, CNX }, total_batch = { 4096, CNX }, lr = { 4e-3, CNX }, warmup_epochs = { 20, CNX },
    drop_path = { sizes, CNX }, input_size = { 224, CNX },
    color_jitter = { 0.4, "inferred: SLaK's scripts, which extend ConvNeXt's" },
    mixup_prob = { 1.0, "inferred: SLaK's scripts, which extend ConvNeXt's" },
    mixup_switch_prob = { 0.5, "inferred: SLaK's scripts, which extend ConvNeXt's" },
    remode = { "pixel", "inferred: SLaK's scripts, which extend ConvNeXt's" },
    opt_eps = { 1e-8, "inferred: SLaK's scripts, which extend ConvNeXt's" },
    opt_betas = { { 0.9, 0.999 }, "inferred: SLaK's scripts, which extend ConvNeXt's" },
  }),
  replknet = with(common(AS_CNX), {
    epochs = { 300, REP }, total_batch = { 2048, REP }, lr = { 4e-3, REP }, warmup_epochs = { 10, REP },
    drop_path = { 0.5, REP .. " (31B)" }, weight_decay = { 0.05, REP }, model_ema = { true, REP },
    input_size = { 224, REP }, layer_scale_init_value = { nil, "there is no layer scale" },
  }),
  slak = with(common(SLAK), {
    epochs = { 300, SLAK }, total_batch = { 4096, SLAK }, lr = { 4e-3, SLAK }, warmup_epochs = { 20, SLAK },
    drop_path = { three, SLAK }, input_size = { 224, SLAK }, sparse = { true, SLAK }, sparsity = { 0.4, SLAK },
    sparse_init = { "snip", SLAK }, growth = { "random", SLAK }, keep_moments = { true, SLAK },
    prune_rate = { { tiny = 0.5, small = 0.3, base = 0.3 }, SLAK },
    update_frequency = { { tiny = 2000, small = 100, base = 100 }, SLAK }, width_factor = { 1.3, SLAK },
  }),
  pelk = with(common(AS_SLAK), {
    epochs = { 300, PELK .. ", section 5 (120 in the ablations)" }, total_batch = { 4096, AS_SLAK },
    lr = { 4e-3, AS_SLAK }, warmup_epochs = { 20, AS_SLAK }, drop_path = { three, AS_SLAK },
    input_size = { 224, PELK .. ", table 4" },
    sparse = { true, PELK .. ", section 4.4" }, sparsity = { 0.4, PELK .. ", section 4.4" },
    sparse_init = { "snip", AS_SLAK }, growth = { "random", AS_SLAK }, keep_moments = { true, AS_SLAK },
    prune_rate = { { tiny = 0.5, small = 0.3, base = 0.3 }, AS_SLAK },
    update_frequency = { { tiny = 2000, small = 100, base = 100 }, AS_SLAK },
    width_factor = { 1.3, PELK .. ", section 4.4" },
  }),
  finetune384_22k = with(common(CNX), {
    epochs = { 30, CNX }, total_batch = { 512, CNX }, lr = { 5e-5, CNX }, warmup_epochs = { 0, CNX },
    weight_decay = { 1e-8, CNX }, layer_decay = { 0.8, CNX }, head_init_scale = { 0.001, CNX }, mixup = { 0, CNX },
    cutmix = { 0, CNX }, input_size = { 384, CNX }, crop_pct = { 1.0, SLAK .. ": 384 and more is resized by warping" },
    drop_path = { { base = 0.2, large = 0.3, xlarge = 0.4 }, CNX .. ", from ImageNet-22K's weights" },
    model_ema = { false, "inferred: as finetune384" },
  }),
  finetune384_replknet = with(common(AS_CNX), {
    epochs = { 30, REP }, total_batch = { 1024, REP .. ": 4 nodes of 8 times 32" }, lr = { 4e-4, REP },
    warmup_epochs = { 1, REP }, weight_decay = { 1e-8, REP }, layer_decay = { 0.7, REP }, mixup = { 0, REP },
    cutmix = { 0, REP }, input_size = { 384, REP }, drop_path = { 0.8, REP .. " (31B)" }, model_ema = { true, REP },
    crop_pct = { 1.0, "inferred: SLaK's, 384 and more is resized by warping" },
    layer_scale_init_value = { nil, "there is no layer scale" },
  }),
  finetune384 = with(common(CNX), {
    epochs = { 30, CNX }, total_batch = { 512, CNX }, lr = { 5e-5, CNX }, warmup_epochs = { 0, CNX },
    weight_decay = { 1e-8, CNX }, layer_decay = { 0.7, CNX }, head_init_scale = { 0.001, CNX }, mixup = { 0, CNX },
    cutmix = { 0, CNX }, input_size = { 384, CNX }, crop_pct = { 1.0, SLAK .. ": 384 and more is resized by warping" },
    drop_path = { { tiny = 0.1, small = 0.4, base = 0.8, large = 0.95 },
      CNX .. " for base and large; inferred for tiny and small: as at 224" },
    model_ema = { false, "inferred: the averages are where fine-tuning starts; none are said to follow" },
  }),
}

-- ---- reading ----

local function find(name)
  if type(name) ~= "string" then error("recipes: expected a name, got " .. type(name), 3) end
  if not data[name] then
    local names = recipes.list()
    error(("no recipe is called '%s'%s (recipes: %s)"):format(name, options.hint(name, names),
      table.concat(names, ", ")), 3)
  end
  return data[name]
end

--- Names of the recipes, sorted.
function recipes.list()
  local names = {}
  for name in pairs(data) do names[#names + 1] = name end
  table.sort(names)
  return show.list(names)
end

local function is_by_size(value) return type(value) == "table" and value[1] == nil end

--- The values of a recipe, to edit.
-- @string name one of list()
-- @string[opt] size "tiny", "small", "base", "large", "xlarge": for values that depend on it (the smallest there is)
-- @treturn table by name; prints as lines
-- @raise for an unknown name, or a size the recipe has no values of
function recipes.get(name, size)
  local out = {}
  for key, entry in pairs(find(name)) do
    local value = entry[1]
    if is_by_size(value) then
      local own = value[size or value.tiny and "tiny" or "base"]
      if own == nil then error(("recipe %s: no %s of size %s"):format(name, key, tostring(size)), 2) end
      value = own
    end
    out[key] = type(value) == "table" and show.row({ table.unpack(value) }) or value
  end
  return show.record(out)
end

--- Where each value of a recipe is from.
-- @treturn table text by name; prints as lines
function recipes.sources(name)
  local out = {}
  for key, entry in pairs(find(name)) do out[key] = entry[2] end
  return show.record(out)
end

--- The learning rate for another batch: linear in it, as the papers' own commands scale theirs.
function recipes.scaled_lr(recipe, batch) return recipe.lr * batch / recipe.total_batch end

--- What pelk.train takes, from a recipe's values and what the run is like.
-- @tab recipe of get()
-- @int batch images an update: batch_size times update_freq
-- @treturn table optimizer, schedule, loss, ema, mixup, sparse, epochs for pelk.train; model (drop_path ...) for
--   models.create
function recipes.options(recipe, batch)
  return {
    epochs = recipe.epochs,
    optimizer = { name = recipe.opt, lr = recipes.scaled_lr(recipe, batch), weight_decay = recipe.weight_decay,
      beta1 = recipe.opt_betas[1], beta2 = recipe.opt_betas[2], eps = recipe.opt_eps,
      layer_decay = recipe.layer_decay },
    schedule = { kind = recipe.sched, warmup_epochs = recipe.warmup_epochs, min_lr = recipe.min_lr },
    loss = { label_smoothing = recipe.smoothing },
    ema = recipe.model_ema and { decay = recipe.model_ema_decay } or nil,
    mixup = (recipe.mixup > 0 or recipe.cutmix > 0) and { mixup_alpha = recipe.mixup, cutmix_alpha = recipe.cutmix,
      prob = recipe.mixup_prob, switch_prob = recipe.mixup_switch_prob, label_smoothing = recipe.smoothing } or nil,
    sparse = recipe.sparse and { density = 1 - recipe.sparsity, init = recipe.sparse_init, growth = recipe.growth,
      prune_rate = recipe.prune_rate, update_every = recipe.update_frequency,
      keep_moments = recipe.keep_moments } or nil,
    model = { drop_path = recipe.drop_path, head_init_scale = recipe.head_init_scale,
      layer_scale = recipe.layer_scale_init_value },
  }
end

return show.part("pelk.recipes", recipes)
