--- Looking into a model without disturbing it: evaluation mode, parameters that want no gradients, and all of it back
-- as it was however the work ends.
local core = require("pelk.core")
local modes = require("pelk.modes")
local options = require("pelk.options")

local probe = {}

--- What f() returns, run while m is in evaluation mode and none of its parameters asks for a gradient.
function probe.frozen(m, f)
  local restore, wanting = modes.keep(m), {}
  for _, t in ipairs(m:parameters()) do
    if t.requires_grad then wanting[#wanting + 1] = t end
  end
  m:eval()
  for _, t in ipairs(wanting) do t:requires_grad_(false) end
  local results = table.pack(pcall(core.with_grad, f))
  for _, t in ipairs(wanting) do t:requires_grad_(true) end
  restore()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- What follows the map of a stage in an nn.Model, up to the logits.
local function rest_of(m, stage)
  local parted = m:options().block == "replknet" -- transitions beside the stages; norm, mean and head apart
  return function(y)
    for i = stage + 1, #m.stages do
      if parted then y = m.transitions[i - 1](y) end
      y = m.stages[i](y)
    end
    return m.head(parted and core.ops.global_avg_pool(m.norm(y)) or y)
  end
end

--- A model in two halves: x to the map {N,h,w,C} of a stage, and that map to the logits.
-- @string owner for messages
-- @tparam Module m an nn.Model; or a Sequential, whose numbered children are its stages
-- @int[opt] stage the last without it (of a Sequential: the last child that gives a map of the input's rank)
-- @treturn function front
-- @treturn function back, to call after front; nil when there is none
function probe.halves(owner, m, stage)
  if m:class() == "Model" then
    local n = #m.stages
    stage = stage or n
    if stage < 1 or stage > n then options.raise(("%s: stage %d is not in 1..%d"):format(owner, stage, n)) end
    return function(x) return m:features(x, { stage })[1] end, rest_of(m, stage)
  end
  if m:class() ~= "Sequential" then
    if stage then options.raise(("%s: a %s has no stages"):format(owner, m:class())) end
    return m, nil
  end
  local n, last = #m, stage
  if stage and (stage < 1 or stage > n) then options.raise(("%s: stage %d is not in 1..%d"):format(owner, stage, n)) end
  return function(x)
    local y = x
    for i = 1, stage or n do
      local after = m[i](y)
      if not stage and after:dim() ~= 4 then break end
      y, last = after, i
    end
    if not last then options.raise(("%s: no layer of the Sequential gives a map {N,H,W,C}"):format(owner)) end
    return y
  end, function(y)
    for i = last + 1, n do y = m[i](y) end
    return y
  end
end

return probe
