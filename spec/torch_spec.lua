-- Whole models against an independent implementation in PyTorch (spec/torch/reference.py), in double precision there.
local pelk = require("pelk")
local core = require("pelk.core")
local help = require "spec.help"
local json = require("pelk.json")

local python = help.python "torch, numpy"

-- The largest difference over the largest value (least: where that value is a rounded zero).
local function difference(ours, theirs, least)
  local scale = math.max(theirs:abs():max():item(), least or 1e-30)
  return (ours - theirs):abs():max():item() / scale
end

local function run(config, size, training)
  local dir = help.folder()
  pelk.manual_seed(7)
  local model = pelk.models.create(config)
  -- weights large enough that every part matters; running statistics that are not 0 and 1
  for name, t in pairs(model:state_dict()) do
    if name:find("running_var") then
      t:copy_(pelk.rand(t:shape()) + 0.5)
    elseif name:find("gamma") then
      pelk.no_grad(function() t:copy_(pelk.rand(t:shape()) + 0.5) end)
    else
      pelk.no_grad(function() t:copy_(t + pelk.randn(t:shape()) * 0.05) end)
    end
  end
  local options = model:options()
  options.training, options.label_smoothing = training, 0.1
  local h, w = size[1], size[2]
  local x = pelk.randn({ 3, h, w, options.in_channels }):requires_grad_(true)
  local labels = {}
  for i = 1, 3 do labels[i] = i % options.num_classes + 1 end
  local y = pelk.tensor(labels, { 3 }, { dtype = "int32" })
  assert(core.write_file(dir .. "/config.json", json.encode(options)))
  assert(model:save(dir .. "/weights.safetensors"))
  assert(core.save_tensors(dir .. "/inputs.safetensors", { x = x:detach(), labels = y }))
  local command = ("%s spec/torch/reference.py '%s' 2>'%s/log'"):format(python, dir, dir)
  assert(os.execute(command), "reference.py failed, see " .. dir)
  local theirs = assert(core.load_tensors(dir .. "/result.safetensors"))
  help.remove(dir)

  model:train(training)
  local logits = model(x)
  pelk.ops.cross_entropy(logits, y, { label_smoothing = 0.1 }):backward()
  local worst = { logits = difference(logits, theirs.logits), ["x.grad"] = difference(x.grad, theirs["x.grad"]) }
  -- gradients of the parameters, in PyTorch's layouts: put them where the values are and take the state
  local grads = model:clone()
  local by_name = {}
  for _, pair in ipairs(model:named_parameters()) do by_name[pair.name] = pair.tensor.grad end
  pelk.no_grad(function()
    for _, pair in ipairs(grads:named_parameters()) do
      local g = by_name[pair.name]
      pair.tensor:copy_(g or pelk.zeros(pair.tensor:shape()))
    end
  end)
  for name, g in pairs(grads:state_dict()) do
    -- with every tap embedded, the batch norm takes the embedding out again: an exact zero, rounded on both sides
    local least = options.position == "all" and name:find("position") and 1e-2 or nil
    local wanted = theirs["grad." .. name]
    if wanted then worst["grad " .. name] = difference(g:contiguous(), wanted, least) end
  end
  if training then
    for name, t in pairs(model:state_dict()) do
      if name:find("running") then worst["stats " .. name] = difference(t, theirs["stats." .. name]) end
    end
  end
  return worst
end

local function spec(name, overrides)
  local s = pelk.models.spec(name)
  for k, v in pairs(overrides or {}) do s[k] = v end
  s.drop_path = 0 -- drawn at random: not to be compared
  return s
end

local small = { depths = { 1, 1, 2, 1 }, dims = { 16, 24, 32, 40 }, num_classes = 7 }
local cases = {
  { "pelk_nano", spec("pelk_nano"), { 28, 28 } },
  { "pelk_tiny, narrow and shallow", spec("pelk_tiny", small), { 64, 96 } },
  { "pelk_tiny_101, position all", spec("pelk_tiny_101", { depths = small.depths, dims = small.dims,
    position = "all" }), { 64, 64 } },
  { "pelk_tiny, a position map a channel", spec("pelk_tiny", { depths = { 1, 1 }, dims = { 16, 24 },
    kernels = { 31, 13 }, position_shape = "channel", small_kernel = { 5, 3 } }), { 40, 28 } },
  { "dense 31 and 13, odd sizes, no position", spec("pelk_tiny", { depths = { 1, 1 }, dims = { 16, 24 },
    mixer = "dense", kernels = { 31, 13 }, position = "off", partial = 1 }), { 45, 39 } },
  { "convnext_tiny, narrow and shallow", spec("convnext_tiny", small), { 64, 64 } },
}

describe("a whole model agrees with PyTorch", function()
  if not python then
    print("skipped: python3-torch is not installed (whole models against PyTorch)")
    return
  end
  for _, case in ipairs(cases) do
    for _, training in ipairs({ true, false }) do
      it(case[1] .. (training and ", training" or ", eval"), function()
        for what, d in pairs(run(case[2], case[3], training)) do
          assert(d < 1e-4, ("%s differs by %.3g of the largest value"):format(what, d))
        end
      end)
    end
  end
end)
