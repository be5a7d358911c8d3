--- Layers of a model for layer-wise decay of the learning rate, and optimiser groups by name.
-- @module pelk.train.layers

local core = require("pelk.core")
local options = require("pelk.options")

local layers = {}

local BLOCKS = 3 -- blocks of a stage that count as one layer: ConvNeXt's numbering

--- How many blocks each stage has, from the parameters' names: {[0] = 3, [1] = 3, ...}.
local function depths(names)
  local found = {}
  for _, name in ipairs(names) do
    local stage, block = name:match("^stages%.(%d+)%.blocks%.(%d+)%.")
    if stage then
      stage = tonumber(stage)
      found[stage] = math.max(found[stage] or 0, tonumber(block) + 1)
    end
  end
  return found
end

--- Of a model with stages: the stem is layer 0; every three blocks of a stage are a layer; what else a stage owns goes
-- with its first blocks, a transition with the stage it leads to; the head comes last.
local function staged(names, depth)
  local first, last, stages = {}, 0, 0
  for stage in pairs(depth) do stages = math.max(stages, stage + 1) end
  for stage = 0, stages - 1 do
    first[stage] = last + 1
    last = last + math.max(1, ((depth[stage] or 0) + BLOCKS - 1) // BLOCKS)
  end
  local numbers = {}
  for _, name in ipairs(names) do
    local stage, block = name:match("^stages%.(%d+)%.blocks%.(%d+)%.")
    local begins = name:match("^stages%.(%d+)%.")
    local leads = name:match("^transitions%.(%d+)%.")
    if stage then
      numbers[name] = first[tonumber(stage)] + tonumber(block) // BLOCKS
    elseif begins or leads then
      numbers[name] = first[begins and tonumber(begins) or tonumber(leads) + 1] or last
    else
      numbers[name] = name:find("^stem%.") and 0 or last + 1
    end
  end
  return numbers, last + 2
end

--- Of any other tree: each child of the root with parameters is a layer.
local function in_order(names)
  local numbers, seen, count = {}, {}, 0
  for _, name in ipairs(names) do
    local child = name:match("^[^.]+")
    if not seen[child] then seen[child], count = count, count + 1 end
    numbers[name] = seen[child]
  end
  return numbers, count
end

--- The layer of every parameter.
-- ConvNeXt's rule (its optim_factory and mmcv constructor), generalised to any depths: depths {3,3,9,3} give 6 layers
-- between stem and head, {3,3,27,3} 12.
-- @param names list of parameters' paths, in tree order
-- @treturn table layer by name, from 0
-- @treturn int how many layers there are
function layers.numbers(names)
  local depth = depths(names)
  if next(depth) then return staged(names, depth) end
  return in_order(names)
end

local function group_for(groups, name)
  for _, group in ipairs(groups) do
    if options.call(string.find, name, group.match) then return group end
  end
  return nil
end

local rules = { match = { "string" }, lr_scale = { "number", 1, 0 }, weight_decay = { "number", nil, 0 } }

--- The factors of the learning rate and the weight decays of the parameters that are trained, where they are their own.
-- @tparam Module model whose tree says the layers; parameters that are frozen belong to theirs too
-- @number[opt] layer_decay a layer's rate is the next one's times this; the last layer's is lr itself
-- @tab[opt] groups list of {match=Lua pattern, lr_scale=1, weight_decay=the optimiser's}; the first that matches counts
function layers.plan(model, layer_decay, groups)
  local checked, plan = {}, {}
  for i, group in ipairs(groups or {}) do
    checked[i] = options.read(("groups[%d]"):format(i), group, rules)
    if not checked[i].match then options.raise(("groups[%d]: match, a Lua pattern, is required"):format(i)) end
  end
  local names, used = {}, {}
  local all = model:named_parameters()
  for i, entry in ipairs(all) do names[i] = entry.name end
  local numbers, count = layers.numbers(names)
  for _, entry in ipairs(all) do
    local name = entry.name
    local group = entry.tensor.requires_grad and group_for(checked, name)
    if group then used[group] = true end
    local scale = (layer_decay or 1) ^ (count - 1 - numbers[name]) * (group and group.lr_scale or 1)
    if scale ~= 1 or group then plan[name] = { scale = scale, decay = group and group.weight_decay or nil } end
  end
  for i, group in ipairs(checked) do
    if not used[group] then options.raise(("groups[%d]: no parameter matches '%s'"):format(i, group.match)) end
  end
  return plan
end

--- Make an optimiser with the options that are not the core's.
-- @string kind adamw, sgd, lamb
function layers.optimizer(kind, model, given)
  options.check_module(kind, model)
  if given ~= nil and type(given) ~= "table" then
    options.raise(("%s: options must be a table, got %s"):format(kind, type(given)))
  end
  local own = {}
  for k, v in pairs(given or {}) do own[k] = v end
  local decay, groups = own.layer_decay, own.groups
  own.layer_decay, own.groups = nil, nil
  if decay ~= nil and not (type(decay) == "number" and decay > 0 and decay <= 1) then
    options.raise(("%s: layer_decay must be a number in (0, 1], got %s"):format(kind, tostring(decay)))
  end
  if groups ~= nil and type(groups) ~= "table" then
    options.raise(("%s: groups must be a list, got %s"):format(kind, type(groups)))
  end
  local plan = (decay or groups) and layers.plan(model, decay, groups) or {} -- may raise: before anything is taken over
  local opt = options.call(core.optim_new, kind, model, own)
  for _, p in ipairs(next(plan) and opt:parameters() or {}) do
    local mine = plan[p.name]
    if mine then opt:group(p.name, mine.scale, mine.decay) end
  end
  return opt
end

return layers
