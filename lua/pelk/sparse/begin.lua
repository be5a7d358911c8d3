--- How masks begin: options read and checked, weights chosen, the first connections drawn.
local core = require("pelk.core")
local options = require("pelk.options")
local densities = require("pelk.sparse.density")
local file = require("pelk.sparse.file")
local live_taps = require("pelk.sparse.live")
local presets = require("pelk.sparse.presets")
local snip = require("pelk.sparse.snip")

local rules = {
  preset = { "string" }, density = { "number", 0.6 }, init = { "string" }, batch = { "table" }, loss = { "function" },
  snip = { "string", "ratios" }, only = { "string|table" }, exclude = { "string|table" },
  checkpoint = { "string|table" },
  dense_from = { "number", 0.99 }, image_size = { "integer|table" }, dead = { "string", "keep" },
}
local core_options = {} -- those that the core reads, by name
for _, field in ipairs(core.sparse_fields()) do
  rules[field.name] = { "any" }
  core_options[field.name] = true
end

local function one_of(name, value, list)
  for _, word in ipairs(list) do if value == word then return end end
  options.raise(("sparse: %s must be one of %s, got '%s'"):format(name, table.concat(list, ", "), tostring(value)))
end

local function is_density(d) return type(d) == "number" and d > 0 and d <= 1 end

-- ---- reading options ----

local function with_preset(given)
  if type(given) ~= "table" or given.preset == nil then return given end
  local preset = presets[given.preset]
  if not preset then
    local names = {}
    for name in pairs(presets) do names[#names + 1] = name end
    table.sort(names)
    options.raise(("sparse: there is no preset '%s'%s (presets: %s)"):format(tostring(given.preset),
      options.hint(given.preset, names), table.concat(names, ", ")))
  end
  local out = {}
  for key, value in pairs(preset) do out[key] = value end
  for key, value in pairs(given) do out[key] = value end
  return out
end

local function check(o)
  if not is_density(o.density) then
    options.raise(("sparse: density must be above 0 and at most 1, got %s"):format(tostring(o.density)))
  end
  if not is_density(o.dense_from) then
    options.raise(("sparse: dense_from must be above 0 and at most 1, got %s"):format(tostring(o.dense_from)))
  end
  o.init = o.init or (o.checkpoint and "resume" or o.batch and "snip" or "erk")
  one_of("init", o.init, { "snip", "erk", "uniform", "resume" })
  if o.checkpoint and o.init ~= "resume" then
    options.raise(('sparse: checkpoint goes with init = "resume", got "%s"'):format(o.init))
  end
  one_of("snip", o.snip, { "ratios", "masks" })
  one_of("dead", o.dead, { "keep", "exclude" })
  if o.dead == "exclude" and not o.image_size then
    options.raise('sparse: dead = "exclude" needs image_size, the images that the model will see')
  end
end

local function list_of(value)
  if value == nil or type(value) == "table" then return value end
  return { value }
end

local function matches_any(name, patterns, used)
  local found = false
  for i, pattern in ipairs(patterns) do
    if options.call(string.find, name, pattern) then found, used[i] = true, true end
  end
  return found
end

local function check_used(what, patterns, used, names)
  for i, pattern in ipairs(patterns or {}) do
    if not used[i] then
      options.raise(("sparse: %s: '%s' matches none of the %d weights that can be masked (%s, ...)"):format(
        what, pattern, #names, names[1] or "none"))
    end
  end
end

--- Weights that SLaK masks: of two or four dimensions in PyTorch's layout. Norms, biases, layer scale are vectors; a
-- position map is no "weight".
local function is_maskable(entry)
  local last = entry.name:match("([^.]+)$")
  return last == "weight" and entry.tensor:dim() >= 2 and entry.tensor.requires_grad
end

local function choose(model, o)
  local only, exclude = list_of(o.only), list_of(o.exclude)
  for _, list in ipairs({ only or {}, exclude or {} }) do
    for i, pattern in ipairs(list) do
      if type(pattern) ~= "string" then
        options.raise(("sparse: only and exclude hold Lua patterns of names, got a %s at %d"):format(type(pattern), i))
      end
    end
  end
  local chosen, names, used_only, used_exclude = {}, {}, {}, {}
  local function is_new(tensor) -- a layer may stand in several places
    for _, other in ipairs(chosen) do if other.tensor == tensor then return false end end
    return true
  end
  for _, entry in ipairs(model:named_parameters()) do
    if is_maskable(entry) then
      names[#names + 1] = entry.name
      local wanted = not only or matches_any(entry.name, only, used_only)
      if exclude and matches_any(entry.name, exclude, used_exclude) then wanted = false end
      if wanted and is_new(entry.tensor) then chosen[#chosen + 1] = entry end
    end
  end
  check_used("only", only, used_only, names)
  check_used("exclude", exclude, used_exclude, names)
  if #chosen == 0 then options.raise("sparse: the model has no weight to mask (or all are excluded)") end
  return chosen
end

-- ---- the first masks ----

local function default_loss(logits, y) return core.ops.cross_entropy(logits, y) end

--- Exactly as many random connections in each layer as its density says.
local function draw_all(masks, layers, by_layer)
  for i, n in ipairs(densities.counts(layers, by_layer)) do
    if n < layers[i].live then masks:draw(i, n) end
  end
end

local function begin_snip(masks, layers, model, o)
  local total = 0
  for _, layer in ipairs(layers) do total = total + layer.live end
  local counts = snip(model, o.batch, o.loss or default_loss, function()
    return masks:snip(math.max(1, total * o.density // 1 | 0), o.snip == "masks")
  end)
  if o.snip == "masks" then return end
  local by_layer = {}
  for i, n in ipairs(counts) do by_layer[i] = n / layers[i].live end
  draw_all(masks, layers, by_layer)
end

--- A mask in a file's layout to the library's.
local function from_file(mask, like)
  local shape = like:shape()
  if #shape == 4 then mask = mask:permute(1, 3, 4, 2) end
  if #shape == 3 then mask = mask:squeeze(2):permute(2, 3, 1) end
  return mask:contiguous()
end

--- The masks that a run goes on from, by name, as tensors that core's take knows.
local function stored_masks(chosen, o)
  if type(o.checkpoint) == "table" then
    local known = {}
    for _, entry in ipairs(chosen) do known[entry.name] = true end
    for name in pairs(o.checkpoint) do
      if not known[name] then
        options.raise(("sparse: the checkpoint has a mask of %s, which is no weight that is masked here"):format(
          tostring(name)))
      end
    end
    return o.checkpoint
  end
  local masks = {}
  if type(o.checkpoint) == "string" then
    local tensors, found = file.read(o.checkpoint)
    if not tensors then options.raise("sparse: " .. found) end
    if next(found) == nil then
      options.raise(("sparse: %s holds no masks; load it into the model and leave checkpoint out to take what is not "
        .. "zero"):format(o.checkpoint))
    end
    for _, entry in ipairs(chosen) do
      local mask = found[entry.name]
      if mask then
        local ok, turned = pcall(from_file, mask, entry.tensor)
        if not ok or table.concat(turned:shape(), ",") ~= table.concat(entry.tensor:shape(), ",") then
          options.raise(("sparse: %s: the mask of %s is {%s} in the file, which does not fit the model's weight")
            :format(
            o.checkpoint, entry.name, table.concat(mask:shape(), ",")))
        end
        masks[entry.name], found[entry.name] = turned, nil
      end
    end
    if next(found) then
      options.raise(("sparse: %s has a mask of %s, which is no weight that is masked here"):format(
        o.checkpoint, next(found)))
    end
    return masks
  end
  local carried = next(core.module_masks(o.model)) ~= nil
  for _, entry in ipairs(chosen) do
    masks[entry.name] = carried and core.mask_of(entry.tensor) or not carried and entry.tensor:detach() or nil
  end
  return masks
end

local function begin_resume(masks, chosen, o)
  local stored, found = stored_masks(chosen, o), false
  for i, entry in ipairs(chosen) do
    local mask = stored[entry.name]
    if mask then
      options.call(masks.take, masks, i, mask)
      found = true
    end
  end
  if not found then options.raise("sparse: the checkpoint has no mask of a weight that is masked here") end
end

local function first_masks(masks, chosen, model, o)
  local layers = masks:layers()
  if o.init == "resume" then return begin_resume(masks, chosen, o) end
  if o.init == "snip" then return begin_snip(masks, layers, model, o) end
  draw_all(masks, layers, densities[o.init](layers, o.density))
end

--- Drop the masks that the model has and put these in their place.
local function commit(masks, model, dense_from)
  for _, entry in ipairs(next(core.module_masks(model)) and model:named_parameters() or {}) do
    core.mask_drop(entry.tensor)
  end
  options.call(masks.commit, masks, dense_from)
end

local begin = {}

--- begin.attach(model, given) -> the core's masks, put on the model; names of the layers; live taps by name; options.
-- Options are described at sparse.attach.
-- @raise the model is unchanged then
function begin.attach(model, given)
  options.check_module("sparse", model)
  local o = options.read("sparse", with_preset(given), rules)
  check(o)
  o.model = model
  local chosen, passed, names = choose(model, o), {}, {}
  for name in pairs(core_options) do passed[name] = o[name] end
  local masks = options.call(core.sparse_new, passed)
  local live = o.image_size and options.call(live_taps, model, o.image_size) or {}
  if next(core.module_masks(model)) and o.init ~= "resume" then
    options.raise('sparse: the model has masks already: sparse.detach(model) takes them off, init = "resume" goes on '
      .. "with them")
  end
  for i, entry in ipairs(chosen) do
    local dead = o.dead == "exclude" and live[entry.name]
    options.call(masks.add, masks, entry.name, entry.tensor, dead and dead.map or nil)
    names[i] = entry.name
  end
  first_masks(masks, chosen, model, o)
  commit(masks, model, o.dense_from)
  return masks, names, live, o
end

--- begin.again(s, births, info) -> masks of the same layers and options in the state that Sparse:state() gave.
-- @raise the model is unchanged then
function begin.again(s, births, info)
  for name, least in pairs({ steps = 0, updates = 0, last_update = math.mininteger }) do
    if not math.tointeger(info[name]) or info[name] < least then
      options.raise(("sparse: the state's %s must be a whole number%s, got %s"):format(name,
        least == 0 and " from 0" or "", tostring(info[name])))
    end
  end
  for name, birth in pairs(births) do
    if type(birth) ~= "userdata" or birth:dtype() ~= "int32" then
      options.raise(("sparse: the state's births of %s must be an int32 tensor"):format(tostring(name)))
    end
  end
  local o = s.masks_:options()
  o.seed = info.options and info.options.seed or o.seed
  local masks = options.call(core.sparse_new, o)
  local in_order = {}
  for i, name in ipairs(s.names) do
    local dead = s.dead == "exclude" and s.live[name]
    options.call(masks.add, masks, name, s.masks_:tensor(i), dead and dead.map or nil)
    if births[name] then options.call(masks.take, masks, i, births[name]) end
    in_order[i] = births[name] or false
  end
  commit(masks, s.model, 1)
  options.call(masks.load_state, masks, in_order, info.steps, info.updates, info.last_update)
  return masks
end

return begin
