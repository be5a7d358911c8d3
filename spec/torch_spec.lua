-- Networks and blocks against independent modules in PyTorch (spec/torch/family.py), in double precision: outputs,
-- gradients of inputs and parameters, batch norms' running statistics, feature maps. Their weights are loaded strictly,
-- so every name and shape is held as well.
local pelk = require("pelk")
local core = require("pelk.core")
local cases = require("spec.torch.cases")
local formula = require("spec.torch.formula")
local help = require("spec.help")
local jobs = require("spec.torch.jobs")

local python = jobs.python()

local function largest(t) return t:abs():max():item() end

-- The largest difference over the largest value, or over `instead` where that is a rounded zero.
local function difference(ours, theirs, instead)
  assert.are.same(theirs:shape(), ours:shape())
  local scale = largest(theirs)
  if scale < 1e-9 then scale = assert(instead, "zeros") end
  return largest(ours:contiguous() - theirs) / scale
end

-- Gradients by name in PyTorch's layouts: put where the values are, they come out as the state does.
local function gradients(m)
  local copy, by_name = m:clone(), {}
  for _, pair in ipairs(m:named_parameters()) do by_name[pair.name] = pair.tensor.grad end
  pelk.no_grad(function()
    for _, pair in ipairs(copy:named_parameters()) do
      pair.tensor:copy_(by_name[pair.name] or pelk.zeros(pair.tensor:shape()))
    end
  end)
  return copy:state_dict()
end

-- How much everything that the module gives differs from the job's result, by name.
local function compare(m, dir, size, training)
  assert(m:load(dir .. "/weights.safetensors"))
  local theirs = assert(core.load_tensors(dir .. "/result.safetensors"))
  local o = m:options()
  local x = formula.values("x", { size[1], size[2], size[3], o.in_channels or o.channels }):requires_grad_(true)
  m:train(training)
  local y = m(x)
  y:backward(formula.values("dy", y:shape()))
  local worst = { y = difference(y, theirs.y), ["x.grad"] = difference(x.grad, theirs["x.grad"]) }
  -- what stands before a batch norm and is constant in a channel has no gradient: that zero is held to the largest one
  local most = 0
  for name, t in pairs(theirs) do if name:find("^grad%.") then most = math.max(most, largest(t)) end end
  for name, g in pairs(gradients(m)) do
    local wanted = theirs["grad." .. name]
    if wanted then worst["grad " .. name] = difference(g, wanted, most) end
  end
  for name, t in pairs(m:state_dict()) do
    if name:find("running") then worst["stats " .. name] = difference(t, theirs["stats." .. name]) end
  end
  if theirs["feature.1"] then
    for i, map in ipairs(m:features(x)) do worst["feature " .. i] = difference(map, theirs["feature." .. i]) end
  end
  return worst
end

-- One process for all; a spec for each.
local function hold(list, make, bound)
  local dirs = {}
  for _, case in ipairs(list) do
    for _, training in ipairs({ true, false }) do
      local m <close> = make(case)
      case.kind = m:class()
      dirs[#dirs + 1] = jobs.prepare(case.kind, m:options(), case[#case], training)
    end
  end
  setup(function() jobs.run(python, dirs) end)
  teardown(function() for _, dir in ipairs(dirs) do help.remove(dir) end end)
  for i, dir in ipairs(dirs) do
    local case, training = list[(i + 1) // 2], i % 2 == 1
    it(case[1] .. (training and ", training" or ", eval"), function()
      local m <close> = make(case)
      for what, d in pairs(compare(m, dir, case[#case], training)) do
        assert(d < bound, ("%s differs by %.3g of the largest value"):format(what, d))
      end
    end)
  end
end

describe("PyTorch agrees with a whole network:", function()
  if not python then
    print("skipped: python3-torch is not installed (networks and blocks against PyTorch)")
    return
  end
  hold(cases.networks, function(case) return pelk.models.create(case[2]) end, 1e-4)
end)

describe("PyTorch agrees with a single block:", function()
  if not python then return end
  hold(cases.blocks, function(case) return pelk.nn[case[2]](case[3]) end, 1e-5)
end)
