-- Every architecture against files of what PyTorch gave (spec/golden, made by spec/torch/golden.lua), also on machines
-- without PyTorch: outputs, gradients of the input and of all parameters, running statistics, training and evaluation.
local pelk = require("pelk")
local core = require("pelk.core")
local cases = require("spec.torch.cases")
local formula = require("spec.torch.formula")

local SAMPLE = 61 -- as in reference.py

local function largest(t) return t:abs():max():item() end

local function sorted(dict, pattern)
  local names = {}
  for name in pairs(dict) do
    if name:find(pattern) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function close(what, ours, theirs, scale)
  assert(math.abs(ours - theirs) <= 1e-4 * scale, ("%s: %.7g, wanted %.7g"):format(what, ours, theirs))
end

local function check_list(what, ours, theirs)
  assert.are.equal(#theirs, #ours, what)
  local scale = 0
  for _, v in ipairs(theirs) do scale = math.max(scale, math.abs(v)) end
  for i, v in ipairs(ours) do close(("%s[%d]"):format(what, i), v, theirs[i], scale) end
end

local function check_gradients(m, theirs)
  local copy, by_name = m:clone(), {}
  for _, pair in ipairs(m:named_parameters()) do by_name[pair.name] = pair.tensor.grad end
  pelk.no_grad(function()
    for _, pair in ipairs(copy:named_parameters()) do pair.tensor:copy_(assert(by_name[pair.name], pair.name)) end
  end)
  local dict, dots, norms = copy:state_dict(), theirs.grads:flat(), theirs.norms:flat()
  local names, most = {}, largest(theirs.norms)
  for name in pairs(by_name) do names[#names + 1] = name end
  table.sort(names)
  assert.are.equal(#dots, #names)
  for i, name in ipairs(names) do -- gradients that are exactly zero are held to the largest ones
    local scale = norms[i] > 1e-9 and norms[i] or most
    local g = dict[name]:contiguous()
    close("grad " .. name, formula.dot("grad." .. name, g), dots[i], scale * math.sqrt(g:numel()))
    close("norm of grad " .. name, math.sqrt((g * g):mean():item()), norms[i], scale)
  end
end

local function check_statistics(m, theirs)
  local dict = m:state_dict()
  local dots = theirs.stats:flat()
  local names = sorted(dict, "running")
  assert.are.equal(#dots, #names)
  for i, name in ipairs(names) do
    local t = dict[name]
    close("stats " .. name, formula.dot("stats." .. name, t), dots[i], largest(t) * math.sqrt(t:numel()))
  end
end

local function check(case, training)
  local file = ("spec/golden/%s_%s.safetensors"):format(case[1], training and "training" or "eval")
  local theirs = assert(core.load_tensors(file))
  local m <close> = formula.fill(pelk.models.create(case[2]))
  local n, h, w = table.unpack(case[3])
  local x = formula.values("x", { n, h, w, m:options().in_channels }):requires_grad_(true)
  m:train(training)
  local y = m(x)
  y:backward(formula.values("dy", y:shape()))
  check_list("y", y:flat(), theirs.y:flat())
  local sample, gradient = {}, x.grad:flat()
  for i = 1, #gradient, SAMPLE do sample[#sample + 1] = gradient[i] end
  check_list("x.grad", sample, theirs["x.grad"]:flat())
  check_gradients(m, theirs)
  if theirs.stats then check_statistics(m, theirs) end
end

describe("PyTorch's files agree with", function()
  for _, case in ipairs(cases.golden) do
    for _, training in ipairs({ true, false }) do
      it(case[1] .. (training and ", training" or ", eval"), function() check(case, training) end)
    end
  end

  it("the numbers that both sides compute", function()
    assert.are.same({ 0x338262 * 2.0 ^ -24 }, { formula.uniform("x", 1)[1] })
  end)
end)
