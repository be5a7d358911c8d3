--- pelk train.
local core = require("pelk.core")
local common = require("pelk.command.common")
local data = require("pelk.data")
local flags = require("pelk.command.flags")
local json = require("pelk.json")
local models = require("pelk.models")
local recipes = require("pelk.recipes")
local Run = require("pelk.train.run")

local command = {}

command.help = [[
pelk train --data_set D --model M --output_dir DIR [flags]

Trains a classifier and leaves a run folder: summary.csv, log.jsonl, last and best weights (safetensors, PyTorch's
layouts), checkpoints. Ctrl-C, SIGTERM and SIGUSR1 save and end with status 130, 143, 138; a kill -9 or a power cut
costs at most the time since the last checkpoint. In all cases the same command with --resume goes on, bit for bit.

  pelk train --data_set fashion_mnist --model pelk_nano --epochs 4 --lr 4e-3 --output_dir runs/first
  pelk train --recipe pelk --model pelk_tiny --data_set image_folder --data_path photos --batch_size 32 \
    --update_freq 4 --output_dir runs/photos
  pelk train --recipe finetune384 --model convnext_base --finetune weights.safetensors ...

--recipe takes a paper's values (--recipe_help NAME prints them with their sources); flags replace single ones. The
learning rate of a recipe is scaled by the batch: lr * batch_size * update_freq / the paper's batch.]]

local function flag(name, kind, default, help, choices, also)
  return { name = name, type = kind, default = default, help = help, choices = choices, also = also }
end

--- A flag of the papers' scripts that is refused, with the reason, unless it is given as false.
local function refused(name, why) return { name = name, type = "string", refused = why } end

command.flags = common.join(common.model_flags, common.data_flags, {
  { title = "Recipe" },
  flag("recipe", "string", nil, "values of a paper: " .. table.concat(recipes.list(), ", ")),
  flag("recipe_help", "string", nil, "print a recipe with the source of every value, and end"),
  flag("epochs", "integer", 10, "epochs"),
  flag("sampling", "number", nil, "share of the images of an epoch, drawn by importance; counted as an epoch"),
  flag("update_freq", "integer", 1, "batches an update: gradients are accumulated"),
  flag("opt", "string", "adamw", "optimiser", "adamw sgd lamb"),
  flag("lr", "number", 4e-3, "learning rate"),
  flag("opt_eps", "number", nil, "epsilon of adamw and lamb"),
  flag("opt_betas", "list", nil, "betas of adamw and lamb: 0.9 0.999"),
  flag("momentum", "number", 0.9, "of sgd (Nesterov's)"),
  flag("weight_decay", "number", 0.05, "not for norms, biases and position maps"),
  flag("layer_decay", "number", nil, "factor of the rate from layer to layer, towards the stem"),
  flag("clip_grad", "number", nil, "largest norm of the gradients"),
  flag("sched", "string", "cosine", "schedule, by updates", "cosine linear step constant"),
  flag("warmup_epochs", "number", 0.3, "epochs of linear warm-up"),
  flag("min_lr", "number", 1e-6, "learning rate at the end"),
  flag("decay_epochs", "number", nil, "epochs between the falls of --sched step"),
  flag("decay_rate", "number", 0.1, "factor of a fall"),
  { title = "Regularisation and augmentation" },
  flag("drop_path", "number", nil, "stochastic depth; the preset's"),
  flag("smoothing", "number", 0.1, "label smoothing"),
  flag("class_weights", "boolean", false, "classes count alike, however many images they have"),
  flag("hflip", "number", 0.5, "probability of left-right flips"),
  flag("aa", "string", nil, "RandAugment: rand-m9-mstd0.5-inc1"),
  flag("color_jitter", "number", 0, "strength; --aa takes its place"),
  flag("reprob", "number", 0, "probability of random erasing"),
  flag("remode", "string", "pixel", "what erasing leaves", "pixel rand const"),
  flag("mixup", "number", 0, "alpha of mixup"),
  flag("cutmix", "number", 0, "alpha of cutmix"),
  flag("mixup_prob", "number", 1, "probability of either"),
  flag("mixup_switch_prob", "number", 0.5, "probability of cutmix where both are on"),
  flag("train_interpolation", "string", "bicubic", "of resized crops", "bilinear bicubic"),
  { title = "Model's beginning" },
  flag("finetune", "string", nil, "weights to begin with (of a run: best_ema); a classifier of other size begins anew"),
  flag("resize", "boolean", false, "--finetune: kernels and position maps of other sizes are resized, centred"),
  flag("head_init_scale", "number", nil, "factor of the classifier's first weights"),
  flag("layer_scale_init_value", "number", nil, "layer scale"),
  { title = "Averages of weights" },
  flag("model_ema", "boolean", false, "keep and evaluate an exponential moving average"),
  flag("model_ema_eval", "boolean", true, "in the papers' commands; averages are always evaluated"),
  flag("model_ema_decay", "number", 0.9999, "share kept a step"),
  flag("model_ema_warmup", "boolean", true, "smaller decay at first"),
  flag("model_ema_publish", "string", "beside", "best_ema.safetensors beside best, or in its place", "beside alone"),
  { title = "Sparse training" },
  flag("sparse", "boolean", false, "prune and grow while training (SLaK)"),
  flag("sparsity", "number", 0.4, "share of weights without a connection"),
  flag("sparse_init", "string", "snip", "how many each layer has; resume: the zeros of --finetune's weights",
    "snip erk uniform resume"),
  flag("growth", "string", "random", "where connections grow", "random gradient momentum"),
  flag("prune_rate", "number", 0.3, "share replaced at first"),
  flag("update_frequency", "integer", 100, "updates between two changes", nil, "u"),
  flag("keep_moments", "boolean", true, "what grows keeps its moments, as in SLaK's code"),
  flag("Decom", "boolean", nil, "SLaK's large kernels as two stripes; false: dense ones (slak_*_dense)"),
  { title = "Run" },
  flag("output_dir", "string", nil, "the run's folder"),
  flag("resume", "boolean", false, "go on with the run in --output_dir, or begin it", nil, "auto_resume"),
  flag("seed", "integer", 0, "of everything random"),
  flag("save_minutes", "number", 5, "minutes between checkpoints"),
  flag("save_steps", "integer", nil, "updates between checkpoints, instead"),
  flag("save_ckpt_num", "integer", 3, "checkpoints kept"),
  flag("nonfinite", "string", "stop", "when a loss or gradient is no number", "stop skip rollback"),
  flag("patience", "integer", nil, "epochs without a better result before it stops"),
  flag("budget_minutes", "number", nil, "minutes before it stops"),
  flag("tensorboard", "boolean", false, "event files in the run's folder"),
  flag("disable_eval", "boolean", false, "no evaluation after each epoch"),
  flag("quiet", "boolean", false, "no progress on standard error"),
  refused("use_amp", "there is float32 only"),
  refused("weight_decay_end", "the weight decay is constant, as in every published recipe"),
  refused("warmup_steps", "warm-up is counted in epochs: --warmup_epochs 0.5"),
  refused("model_key", "the weights are found in the file without it"),
}, common.machine_flags)

-- ---- recipe ----

--- Values of the recipe under those that were given.
local function apply_recipe(v, given)
  if not v.recipe then return end
  local size = v.model:match("small") or v.model:match("base") or v.model:match("x?large") or "tiny"
  local recipe = recipes.get(v.recipe, size)
  for key, value in pairs(recipe) do
    if not given[key] and key ~= "total_batch" and key ~= "width_factor" then v[key] = value end
  end
  if not given.lr then v.lr = recipes.scaled_lr(recipe, v.batch_size * v.update_freq) end
end

local function print_recipe(name)
  local values, sources = recipes.get(name), recipes.sources(name)
  local keys = {}
  for key in pairs(sources) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    io.stdout:write(("%-24s %-24s %s\n"):format(key, tostring(values[key]), sources[key]))
  end
end

-- ---- parts ----

local t = data.transforms

--- As timm: pixels are moved by the training's interpolation, and what comes in from outside has the mean colour.
local function rand_augment(v, known)
  local fill = {}
  for i, mean in ipairs(known.mean) do fill[i] = math.floor(255 * mean + 0.5) end
  return t.rand_augment { policy = v.aa, interpolation = v.train_interpolation, fill = fill }
end

local function train_transforms(v, known)
  local size, steps = v.input_size or known.size, {}
  if v.data_set == "image_folder" then
    steps[1] = t.random_resized_crop { size = size, interpolation = v.train_interpolation }
  else
    if size ~= known.size then steps[1] = t.resize { size = size, interpolation = "bicubic" } end
    steps[#steps + 1] = t.random_crop { padding = known.padding }
  end
  if v.hflip > 0 and known.flip ~= false then steps[#steps + 1] = t.hflip { p = v.hflip } end
  if v.aa then
    steps[#steps + 1] = rand_augment(v, known)
  elseif v.color_jitter > 0 and known.channels == 3 then
    local j = v.color_jitter
    steps[#steps + 1] = t.color_jitter { brightness = j, contrast = j, saturation = j }
  end
  steps[#steps + 1] = t.to_float()
  steps[#steps + 1] = t.normalize { mean = known.mean, std = known.std }
  if v.reprob > 0 then steps[#steps + 1] = t.random_erasing { p = v.reprob, mode = v.remode } end
  return steps
end

local function mixup(v, classes)
  if v.mixup <= 0 and v.cutmix <= 0 then return nil end
  return data.mixup { num_classes = classes, mixup_alpha = v.mixup, cutmix_alpha = v.cutmix, prob = v.mixup_prob,
    switch_prob = v.mixup_switch_prob, label_smoothing = v.smoothing }
end

local function optimizer(v)
  local o = { name = v.opt, lr = v.lr, weight_decay = v.weight_decay, layer_decay = v.layer_decay }
  if v.opt == "sgd" then
    o.momentum, o.nesterov = v.momentum, v.momentum > 0
  else
    o.eps = v.opt_eps
    if v.opt_betas then o.beta1, o.beta2 = v.opt_betas[1], v.opt_betas[2] end
  end
  return o
end

--- Weights to begin with; a classifier of another size begins anew.
local function finetune(model, path, resize)
  local ok, message = model:load(path, { head = "reset", resize = resize })
  if not ok then error(message, 0) end
  if type(message) == "string" and message ~= "" then io.stderr:write("finetune: ", message, "\n") end
end

--- The model under pelk's name: SLaK_tiny is slak_tiny, and without Decom slak_tiny_dense.
local function published_name(v)
  local name, known = v.model:lower(), {}
  for _, other in ipairs(models.list()) do known[other] = true end
  if v.Decom == false and known[name .. "_dense"] then name = name .. "_dense" end
  return known[name] and name or v.model
end

local function build_model(v, known, classes)
  v.overrides = common.overrides(v, known, classes)
  v.overrides.drop_path, v.overrides.head_init_scale = v.drop_path, v.head_init_scale
  v.overrides.layer_scale = v.layer_scale_init_value
  core.manual_seed(v.seed)
  local model = models.create(v.model, v.overrides)
  if v.finetune then finetune(model, v.finetune, v.resize) end
  return model
end

--- Options of the masks; SNIP gets the first batch from the run.
local function sparse(v)
  if not v.sparse then return nil end
  return { density = 1 - v.sparsity, init = v.sparse_init, growth = v.growth, prune_rate = v.prune_rate,
    update_every = v.update_frequency, keep_moments = v.keep_moments, seed = v.seed }
end

--- What the run was begun with: `pelk eval --run` reads it. A run that goes on, or is refused, keeps what there is.
local function write_command(v)
  if not v.output_dir then return end
  local run, message = Run.open(v.output_dir)
  if not run then error(message, 0) end
  if not run:has_state() then run:write("command.json", json.encode(v) .. "\n") end
end

local function loaders(v, known)
  local train_set, test_set = common.data_set(v, "train"), nil
  if not v.disable_eval then test_set = common.data_set(v, "test", train_set.classes) end
  local classes = v.nb_classes or train_set.classes and #train_set.classes or known.classes
  local train = data.loader(train_set, { batch = v.batch_size, shuffle = true, seed = v.seed,
    transforms = train_transforms(v, known), workers = v.num_workers, mixup = mixup(v, classes) })
  return train, test_set and common.test_loader(v, test_set, known), classes, train_set.classes
end

local statuses = { SIGINT = 130, SIGTERM = 143, SIGUSR1 = 138 }

--- Train as the flags say.
-- @treturn int exit status
function command.run(v, given)
  if v.recipe_help then
    print_recipe(v.recipe_help)
    return 0
  end
  common.use_machine(v)
  if not v.model then flags.wrong("--model is required: one of %s", table.concat(models.list(), ", ")) end
  if v.sched == "step" and not v.decay_epochs then flags.wrong("--sched step wants --decay_epochs") end
  v.model = published_name(v)
  apply_recipe(v, given)
  local known = common.about(v)
  local train, val, classes, names = loaders(v, known)
  local model = build_model(v, known, classes)
  v.classes = names
  write_command(v)
  local history = require("pelk.train").train {
    model = model, train = train, val = val, epochs = v.epochs, out = v.output_dir, resume = v.resume, seed = v.seed,
    optimizer = optimizer(v), accumulate = v.update_freq, clip_grad = v.clip_grad, keep = v.save_ckpt_num,
    schedule = { kind = v.sched, warmup_epochs = v.warmup_epochs, min_lr = v.min_lr,
      decay_epochs = v.sched == "step" and v.decay_epochs or nil,
      decay_rate = v.sched == "step" and v.decay_rate or nil },
    sampling = v.sampling and { keep = v.sampling } or nil,
    loss = { label_smoothing = v.smoothing, weight = v.class_weights and "balanced" or nil }, sparse = sparse(v),
    ema = v.model_ema and { decay = v.model_ema_decay, warmup = v.model_ema_warmup, publish = v.model_ema_publish }
      or nil,
    nonfinite = v.nonfinite, patience = v.patience, budget_minutes = v.budget_minutes, save_minutes = v.save_minutes,
    save_steps = v.save_steps, tensorboard = v.tensorboard, progress = not v.quiet,
  }
  io.stdout:write(tostring(history), "\n")
  return history.interrupted and statuses[history.interrupted] or 0
end

return command
