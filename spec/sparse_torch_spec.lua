-- Sparse training against an independent implementation in PyTorch (spec/torch/sparse.py), in double precision there:
-- the same masks in every one of 20 steps, the same weights and averages at their end.
local pelk = require("pelk")
local core = require("pelk.core")
local help = require "spec.help"
local json = require("pelk.json")

local python = help.python("torch, numpy")

local layers = { "0.weight", "2.weight", "4.weight" }

local function network()
  local nn = pelk.nn
  pelk.manual_seed(21)
  local model = nn.Sequential(nn.Conv2d({ in_channels = 3, out_channels = 8, kernel = 3, padding = "same" }), nn.GELU(),
    nn.DepthwiseConv({ channels = 8, kernel = 5 }), nn.GlobalAvgPool(), nn.Linear(8, 4))
  for _, p in ipairs(model:named_parameters()) do -- large enough that gradients matter everywhere
    pelk.no_grad(function() p.tensor:copy_(pelk.randn(p.tensor:shape()) * 0.3) end)
  end
  return model
end

local function add_masks(tensors, model)
  for name, mask in pairs(core.module_masks(model)) do
    tensors["mask." .. name] = mask:contiguous()
  end
end

-- A mask {0,1} of the library's as PyTorch has it.
local function in_file_layout(model)
  local out = {}
  for name, mask in pairs(core.module_masks(model)) do out[name] = mask:contiguous():flat() end
  return out
end

-- A job for PyTorch in a folder, and what is needed to do the same here.
local function prepare(growth, optimizer)
  local dir, model = help.folder(), network()
  local x = pelk.randn({ 6, 7, 7, 3 })
  local y = pelk.tensor({ 1, 2, 3, 4, 1, 2 }, { 6 }, { dtype = "int32" })
  local job = { growth = growth, optimizer = optimizer, lr = optimizer == "adamw" and 0.01 or 0.1, weight_decay = 0.05,
    clip = 0.4, steps = 20, total_steps = 20, update_every = 3, prune_rate = 0.4, prune_rate_end = 0.05, density = 0.5,
    seed = 12345, ema = 0.8 }
  local dense = model:clone()
  local s = pelk.sparse.attach(model, { density = job.density, init = "uniform", growth = growth, seed = job.seed,
    update_every = job.update_every, total_steps = job.total_steps, prune_rate = job.prune_rate,
    prune_rate_end = job.prune_rate_end })
  local tensors = { x = x, y = y }
  for name, t in pairs(dense:state_dict()) do tensors[name] = t:contiguous() end
  add_masks(tensors, model)
  assert(core.write_file(dir .. "/job.json", json.encode(job)))
  assert(core.save_tensors(dir .. "/tensors.safetensors", tensors))
  return { dir = dir, job = job, model = model, dense = dense, s = s, x = x, y = y }
end

-- The same steps here; how far off the results are.
local function compare(case, theirs)
  local job, model, s, x, y = case.job, case.model, case.s, case.x, case.y
  local optimizer = job.optimizer
  local weight_decay = optimizer == "adamw" and job.weight_decay or 0
  local opt = pelk.optim[optimizer](model, { lr = job.lr, weight_decay = weight_decay })
  local average = pelk.optim.ema(model, { decay = job.ema })
  local worst = { masks = 0 }
  for k = 1, job.steps do
    opt:zero_grad()
    pelk.ops.cross_entropy(model(x), y):backward()
    pelk.optim.clip_grad_norm(model, job.clip)
    opt:step()
    s:step()
    average:step()
    for name, ours in pairs(in_file_layout(model)) do
      for i, v in ipairs(theirs[k .. ".mask." .. name]:flat()) do
        if v ~= ours[i] then worst.masks = worst.masks + 1 end
      end
    end
  end
  local function differ(prefix)
    for name, t in pairs(model:state_dict()) do
      local wanted = theirs[prefix .. name]
      local d = (t - wanted):abs():max():item() / wanted:abs():max():item()
      worst[prefix] = math.max(worst[prefix] or 0, d)
    end
  end
  differ("w.")
  average:with(differ, "average.")
  return worst
end

describe("sparse training agrees with PyTorch", function()
  if not python then
    print("skipped: python3-torch is not installed (sparse training against PyTorch)")
    return
  end
  local cases, folders = {}, {}
  for i, c in ipairs({ { "gradient", "adamw" }, { "momentum", "adamw" }, { "random", "adamw" }, { "gradient", "sgd" },
    { "momentum", "sgd" } }) do
    cases[i] = prepare(c[1], c[2])
    folders[i] = "'" .. cases[i].dir .. "'"
  end
  local command = ("%s spec/torch/sparse.py %s 2>%s/log"):format(python, table.concat(folders, " "), folders[1])
  assert(os.execute(command), "sparse.py failed, see " .. cases[1].dir .. "/log")
  for _, case in ipairs(cases) do
    case.theirs = assert(core.load_tensors(case.dir .. "/result.safetensors"))
    help.remove(case.dir)
    it(("20 steps, growth by %s, %s"):format(case.job.growth, case.job.optimizer), function()
      local worst = compare(case, case.theirs)
      assert.are.equal(0, worst.masks)
      assert(worst["w."] < 1e-4, worst["w."])
      assert(worst["average."] < 1e-4, worst["average."])
    end)
  end

  it("SNIP's masks, and ERK's densities", function()
    local case = cases[1]
    local o = { density = case.job.density, init = "snip", snip = "masks", batch = { case.x, case.y } }
    local s = pelk.sparse.attach(case.dense, o)
    local ours = in_file_layout(case.dense)
    for _, name in ipairs(layers) do
      local theirs = case.theirs["snip." .. name]
      assert.are.same(theirs:flat(), ours[name] or pelk.ones({ theirs:numel() }):flat())
    end
    s:detach()
    s = pelk.sparse.attach(case.dense, { density = case.job.density, init = "erk" })
    for i, d in ipairs(case.theirs.erk:flat()) do
      local row = s:report()[i]
      assert(math.abs(row.active - d * row.total) <= 1, ("%s: %d, not %g"):format(row.name, row.active, d * row.total))
    end
  end)
end)
