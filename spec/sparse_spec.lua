-- Dynamic sparse training: masks by hand-worked numbers, exact counts, and nothing that a failure leaves behind.
local pelk = require("pelk")
local core = require("pelk.core")
local help = require "spec.help"

local sparse = pelk.sparse

local function small(overrides)
  pelk.manual_seed(3)
  local o = { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 31, 13 }, num_classes = 3, drop_path = 0.2,
    layer_scale = 0.5 }
  for k, v in pairs(overrides or {}) do o[k] = v end
  return pelk.models.create("pelk_nano", o)
end

local function batch(seed)
  pelk.manual_seed(seed or 5)
  return { pelk.randn({ 6, 12, 12, 1 }), pelk.tensor({ 1, 2, 3, 1, 2, 3 }, { 6 }, { dtype = "int32" }) }
end

local function weights(model)
  local out = {}
  for _, entry in ipairs(model:named_parameters()) do out[entry.name] = entry.tensor end
  return out
end

local function backward(model, b)
  pelk.ops.cross_entropy(model(b[1]), b[2]):backward()
end

-- No masked weight is other than zero; returns how many weights are masked.
local function check_masked(s, model)
  local by_name, masked = weights(model), 0
  for name, mask in pairs(s:masks()) do
    local w = by_name[name]:detach()
    assert.are.equal(0, ((1 - mask) * w):abs():max():item(), name)
    masked = masked + (1 - mask):sum():item()
  end
  return masked
end

local function active_by_layer(s)
  local out = {}
  for _, row in ipairs(s:report()) do out[row.name] = row.active end
  return out
end

local same_weights = help.same_state

describe("sparse.attach", function()
  it("masks matrices and kernels, never norms, biases, layer scale or position maps", function()
    local model = small()
    local s = sparse.attach(model, { density = 0.5, init = "uniform" })
    local names = {}
    for name in pairs(s:masks()) do names[name] = true end
    for name, t in pairs(model:state_dict()) do
      local wanted = (t:dim() == 2 or t:dim() == 4) and name:find("weight$") ~= nil
      assert.are.equal(wanted, names[name] or false, name)
    end
    assert(names["stages.0.blocks.0.conv_dw.large.conv.weight"] and names["head.fc.weight"] and names["stem.0.weight"])
    assert.are.same({ 11, 11, 3 }, s:masks()["stages.0.blocks.0.conv_dw.large.conv.weight"]:shape())
  end)

  it("gives the whole its density to the last weight, and uniform gives it to each layer", function()
    for _, d in ipairs({ 0.1, 0.37, 0.6, 0.9 }) do
      local s = sparse.attach(small(), { density = d, init = "uniform" })
      local report = s:report()
      assert.are.equal(math.floor(d * report.total + 0.5), report.active)
      for _, row in ipairs(report) do
        assert(math.abs(row.active - d * row.total) <= 1, row.name)
        assert.are.equal(row.active / row.total, s:density(row.name))
      end
    end
  end)

  it("solves ERK with layers that would exceed 1 made dense", function()
    -- by hand: 10x10 has 20/100, 40x10 has 50/400, 2x10 has 12/20. Density 0.5 of 520 is 260. The scale
    -- 260 / (20 + 50 + 12) = 3.17 puts the last at 1.9: dense. Then (260 - 20) / (20 + 50) = 3.4286:
    -- 0.6857 and 0.42857 of the others.
    local nn = pelk.nn
    local model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 40), nn.Linear(10, 2))
    local s = sparse.attach(model, { density = 0.5, init = "erk" })
    local active = active_by_layer(s)
    assert.are.same({ ["0.weight"] = 69, ["1.weight"] = 171, ["2.weight"] = 20 }, active)
    assert.are.equal(0.5, s:density())
  end)

  it("leaves layers of density 0.99 and more without a mask", function()
    local s = sparse.attach(small(), { density = 0.995, init = "uniform" })
    for _, row in ipairs(s:report()) do assert.is_false(row.masked) end
    assert.are.equal(1, s:density())
    assert.are.equal(1, sparse.attach(small(), { density = 1 }):density())
  end)

  it("is narrowed by only and exclude", function()
    local function names(o)
      local out = {}
      for name in pairs(sparse.attach(small(), o):masks()) do out[#out + 1] = name end
      table.sort(out)
      return out
    end
    assert.are.same({ "stages.0.blocks.0.conv_dw.large.conv.weight", "stages.1.blocks.0.conv_dw.large.conv.weight" },
      names({ only = "large" }))
    assert.are.same({ "stages.1.blocks.0.mlp.fc1.weight", "stages.1.blocks.0.mlp.fc2.weight" },
      names({ only = { "mlp" }, exclude = { "^stages%.0" } }))
    for _, name in ipairs(names({ exclude = { "stem", "head" } })) do
      assert(not name:find("stem") and not name:find("head"))
    end
  end)

  it("is the same from the same seed, and another from another", function()
    local function mask(seed)
      return sparse.attach(small(), { init = "uniform", seed = seed }):masks()["stages.1.blocks.0.mlp.fc1.weight"]
    end
    assert(mask(1):equal(mask(1)))
    assert(not mask(1):equal(mask(2)))
  end)

  it("knows the published settings", function()
    local tiny, base = sparse.presets.slak_tiny, sparse.presets.slak_base
    assert.are.same({ 2000, 0.5, 0.6, "snip", "random" },
      { tiny.update_every, tiny.prune_rate, tiny.density, tiny.init, tiny.growth })
    assert.are.same({ 100, 0.3 }, { base.update_every, base.prune_rate })
    assert.are.same({ 100, 0.3 }, { sparse.presets.slak_small.update_every, sparse.presets.slak_small.prune_rate })
    local s = sparse.attach(small(), { preset = "slak_base", batch = batch(), total_steps = 10, density = 0.5 })
    assert(math.abs(s:density() - 0.5) < 0.01)
    assert.are.equal(0.3, s:rate())
  end)
end)

describe("SNIP", function()
  local nn = pelk.nn
  -- y = W2 W1 x without biases, a loss linear in y: gradients by hand
  local function chain()
    local model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pelk.no_grad(function()
      model:parameters()[1]:copy_(pelk.tensor({ { 1, 2 }, { 3, 4 } }))
      model:parameters()[3]:copy_(pelk.tensor({ { 1, -1 }, { 0.5, 2 } }))
      model:parameters()[2]:fill_(0)
      model:parameters()[4]:fill_(0)
    end)
    return model
  end
  local x, y = pelk.tensor({ { 1, 0.5 } }), pelk.tensor({ { 0, 0 } })
  local function sum(logits) return logits:sum() end

  it("keeps the largest |w * gradient| of all layers together", function()
    -- h = (2, 5); d loss / d h = columns' sums of W2 = (1.5, 1); scores of W1: (1*1.5, 2*.75, 3*1, 4*.5) =
    -- (1.5, 1.5, 3, 2), of W2: (1*2, 1*5, .5*2, 2*5) = (2, 5, 1, 10). The 4 largest of 8: 10, 5, 3, and
    -- the first of the two 2s.
    local s = sparse.attach(chain(), { density = 0.5, init = "snip", snip = "masks", batch = { x, y }, loss = sum })
    local m = s:masks()
    assert.are.same({ 0, 0, 1, 1 }, m["0.weight"]:flat())
    assert.are.same({ 0, 1, 0, 1 }, m["1.weight"]:flat())
  end)

  it("as SLaK draws at random with the layers' shares", function()
    local s = sparse.attach(chain(), { density = 0.5, init = "snip", batch = { x, y }, loss = sum })
    assert.are.same({ ["0.weight"] = 2, ["1.weight"] = 2 }, active_by_layer(s))
  end)

  it("sums gradients over several batches", function()
    -- the second batch undoes the gradient of the first in W1's second column and adds up in the first
    local second = { pelk.tensor({ { 1, -0.5 } }), y }
    -- sums: x = (2, 0), h = 2 * W1's first column = (2, 6): scores W1 (3, 0, 6, 0), W2 (2, 6, 1, 12)
    local s = sparse.attach(chain(), { density = 0.5, init = "snip", snip = "masks", batch = { { x, y }, second },
      loss = sum })
    assert.are.same({ 1, 0, 1, 0 }, s:masks()["0.weight"]:flat())
    assert.are.same({ 0, 1, 0, 1 }, s:masks()["1.weight"]:flat())
  end)

  it("leaves statistics, gradients and mode as they were", function()
    local model = small()
    model:eval()
    local before = model:clone()
    sparse.attach(model, { init = "snip", batch = { batch(1), batch(2) } }):detach()
    for name, t in pairs(model:state_dict()) do
      if name:find("running") then assert(t:equal(before:state_dict()[name]), name) end
    end
    assert.is_false(model.training)
    for _, p in ipairs(model:parameters()) do assert(not p.grad or p.grad:abs():max():item() == 0) end
  end)

  it("refuses a batch with NaN, the model unchanged", function()
    local model, b = small(), batch()
    local before = model:clone()
    b[1][1]:fill_(0 / 0)
    help.raises("SNIP.*nan", sparse.attach, model, { init = "snip", batch = b })
    assert(same_weights(model, before))
    assert.is_nil(next(core.module_masks(model)))
  end)
end)

describe("a sparse training step", function()
  local function train(growth, kind, steps, more)
    local model, b = small(), batch()
    local o = { density = 0.4, init = "uniform", growth = growth, update_every = 2, total_steps = steps, seed = 7 }
    for k, v in pairs(more or {}) do o[k] = v end
    local s = sparse.attach(model, o)
    local opt = pelk.optim[kind](model, { lr = 0.01 })
    local first, updates = active_by_layer(s), 0
    for _ = 1, steps do
      opt:zero_grad()
      backward(model, b)
      pelk.optim.clip_grad_norm(model, 0.5)
      opt:step()
      check_masked(s, model)
      if s:step() then updates = updates + 1 end
      check_masked(s, model)
      if not o.redistribute then assert.are.same(first, active_by_layer(s)) end
    end
    return s, model, updates
  end

  for _, kind in ipairs({ "adamw", "sgd" }) do
    for _, growth in ipairs({ "random", "gradient", "momentum" }) do
      it(("keeps masked weights at zero and counts exact: %s, growth by %s"):format(kind, growth), function()
        local s, model, updates = train(growth, kind, 10)
        assert.are.equal(5, updates)
        assert.are.equal(s:report().total - s:report().active, check_masked(s, model))
      end)
    end
  end

  it("is the same on 1, 2 and 3 threads", function()
    local before, first = core.threads(), nil
    for threads = 1, 3 do
      pelk.set_threads(threads)
      local _, model = train("random", "adamw", 6, { redistribute = "magnitude" })
      first = first or model
      assert(same_weights(first, model))
    end
    pelk.set_threads(before)
  end)

  it("keeps the total while layers trade connections", function()
    for _, by in ipairs({ "magnitude", "gradient", "momentum" }) do
      local s = train("gradient", "adamw", 8, { redistribute = by })
      local report, moved = s:report(), false
      assert.are.equal(math.floor(0.4 * report.total + 0.5), report.active)
      for _, row in ipairs(report) do moved = moved or row.active ~= math.floor(0.4 * row.total + 0.5) end
      assert.is_true(moved)
    end
  end)

  it("lets what it prunes be the smallest, and what it grows begin at zero without moments", function()
    local nn = pelk.nn
    local model = nn.Sequential(nn.Linear(4, 2, { bias = false }))
    local w = model:parameters()[1]
    pelk.no_grad(function() w:copy_(pelk.tensor({ { 5, -1, 4, 9 }, { 2, 8, -3, 7 } })) end)
    local mask = pelk.tensor({ { 1, 1, 1, 0 }, { 1, 0, 1, 0 } })
    local s = sparse.attach(model, { init = "resume", checkpoint = { ["0.weight"] = mask:gt(0) }, growth = "gradient",
      update_every = 1, prune_rate = 0.3, prune_rate_end = 0.3 })
    local opt = pelk.optim.adamw(model, { lr = 0, weight_decay = 0 })
    local y = model(pelk.tensor({ { 1, 2, 3, 4 } })) * pelk.tensor({ { 1, 10 } })
    y:sum():backward()
    opt:step()
    -- 5 connections, 0.3 of them: ceil(1.5) = 2 go: -1 and 2. Gradients are (1,2,3,4) and (10,20,30,40): the masked
    -- ones are 4; 20, 40 and, pruned a moment ago, 2 and 10. The two largest grow: (2,2) and (2,4).
    assert.is_true(s:step())
    assert.are.same({ 1, 0, 1, 0, 0, 1, 1, 1 }, s:masks()["0.weight"]:flat())
    assert.are.same({ 5, 0, 4, 0, 0, 0, -3, 0 }, w:flat())
    local moments = opt:state()
    local function at(t) return t:narrow(1, 1, 8):flat() end
    assert.are.equal(0, at(moments.exp_avg)[6])
    assert.are.equal(0, at(moments.exp_avg_sq)[8])
    assert(at(moments.exp_avg)[7] > 0)
    assert.are.equal(2, s:report()[1].grown)
  end)

  it("keeps moments, and values pruned a moment ago, when asked to (SLaK)", function()
    local model = pelk.nn.Sequential(pelk.nn.Linear(2, 1, { bias = false }))
    local w = model:parameters()[1]
    pelk.no_grad(function() w:copy_(pelk.tensor({ { 3, 2 } })) end)
    local s = sparse.attach(model, { init = "resume", checkpoint = { ["0.weight"] = pelk.tensor({ { 1, 1 } }):gt(0) },
      growth = "gradient", update_every = 1, keep_moments = true, prune_rate = 0.5, prune_rate_end = 0.5 })
    local opt = pelk.optim.adamw(model, { lr = 0, weight_decay = 0 })
    model(pelk.tensor({ { 1, 2 } })):sum():backward()
    opt:step()
    s:step() -- 2 is pruned and, the only masked one, grown again
    assert.are.same({ 3, 2 }, w:flat())
    assert(opt:state().exp_avg:flat()[2] > 0)
  end)

  it("follows the cosine, and freezes after stop", function()
    local s = sparse.attach(small(), { update_every = 10, total_steps = 100, stop = 0.5, prune_rate = 0.4,
      prune_rate_end = 0.1 })
    assert(math.abs(s:rate() - 0.4) < 1e-12)
    local rates, updates = {}, 0
    for i = 1, 100 do
      if s:step() then updates = updates + 1 end
      rates[i] = s:rate()
    end
    assert.are.equal(5, updates)
    assert(math.abs(rates[25] - 0.25) < 1e-12)
    assert(math.abs(rates[50] - 0.1) < 1e-12)
    assert.are.equal(0, rates[51])
  end)

  it("is refused when a gradient is no number, and nothing has changed", function()
    local model, b = small(), batch()
    local s = sparse.attach(model, { init = "uniform", growth = "gradient", update_every = 1 })
    backward(model, b)
    weights(model)["head.fc.weight"].grad:fill_(0 / 0)
    local before, masks = model:clone(), s:masks()
    help.raises("head.fc.weight.*no finite number", s.step, s)
    assert(same_weights(model, before))
    for name, mask in pairs(s:masks()) do assert(mask:equal(masks[name]), name) end
    help.raises("no optimiser that has moments", function()
      sparse.attach(small(), { growth = "momentum", update_every = 1 }):step()
    end)
  end)

  it("goes on with a model whose optimiser is made anew, and with a copy of it", function()
    local s, model = train("random", "adamw", 4)
    pelk.optim.sgd(model, { lr = 0.1 })
    local opt = pelk.optim.sgd(model, { lr = 0.1, momentum = 0.9 })
    backward(model, batch())
    opt:step()
    s:step()
    check_masked(s, model)
    local copy = model:clone()
    local again = sparse.attach(copy, { init = "resume" })
    for name, mask in pairs(again:masks()) do assert(mask:equal(s:masks()[name]), name) end
    local other = pelk.optim.adamw(copy, { lr = 0.01 })
    backward(copy, batch())
    other:step()
    check_masked(again, copy)
    help.raises("has masks already", sparse.attach, copy)
    again:detach()
    help.raises("detached", again.step, again)
  end)
end)

describe("a merged sparse model", function()
  it("computes the same, and its masks' object says that it is over", function()
    local model, x = small(), batch()[1]
    local s = sparse.attach(model, { density = 0.5, init = "uniform" })
    model:eval()
    local before = model(x)
    model:merge()
    assert((model(x) - before):abs():max():item() < 1e-5 * before:abs():max():item())
    help.raises("it was merged", s.step, s)
  end)
end)

describe("what is all zero is not computed", function()
  it("gives the same as the expanded kernel, whatever is left out", function()
    pelk.manual_seed(2)
    local grid = pelk.grid(31)
    local x, w = pelk.randn({ 2, 20, 17, 40 }), pelk.randn({ 11, 11, 40 })
    w:narrow(3, 1, 16):fill_(0) -- a block of channels
    w:narrow(1, 2, 3):fill_(0) -- rows of rectangles
    w:narrow(2, 1, 2):fill_(0) -- columns at one end
    local y = pelk.ops.peripheral_conv(x, w, { grid = grid })
    local wanted = pelk.ops.depthwise_conv(x, pelk.expand_kernel(w, grid))
    assert((y - wanted):abs():max():item() < 1e-3)
    assert.are.equal(0, y:narrow(4, 1, 16):abs():max():item())
  end)
end)

describe("sparse state and files", function()
  it("goes on to the last bit after state and load_state", function()
    local b = batch()
    local function begin(resume)
      local model = small({ drop_path = 0 })
      local s = sparse.attach(model, { init = resume and "resume" or "uniform", checkpoint = resume, density = 0.5,
        growth = "random", update_every = 2, total_steps = 20, seed = 9 })
      return model, s, pelk.optim.adamw(model, { lr = 0.01 })
    end
    local function run(model, s, opt, steps)
      for _ = 1, steps do
        opt:zero_grad()
        backward(model, b)
        opt:step()
        s:step()
      end
    end
    local model, s, opt = begin()
    run(model, s, opt, 5)
    local tensors, info = s:state()
    local kept = {}
    for name, t in pairs(tensors) do kept[name] = t:clone() end
    local dict = model:clone():state_dict()
    local moments, steps = opt:state()
    local kept_moments = { exp_avg = moments.exp_avg:clone(), exp_avg_sq = moments.exp_avg_sq:clone() }
    run(model, s, opt, 6)

    local again, s2, opt2 = begin(kept)
    again:load_state_dict(dict)
    s2:load_state(kept, info)
    opt2:load_state(kept_moments, steps)
    check_masked(s2, again)
    run(again, s2, opt2, 6)
    local equal, name = same_weights(model, again)
    assert(equal, tostring(name) .. " differs")
    for key, mask in pairs(s:masks()) do assert(mask:equal(s2:masks()[key]), key) end
    assert.are.equal(tostring(s:report()), tostring(s2:report()))
  end)

  it("packs bits and values", function()
    local bits, values = core.sparse_pack(pelk.tensor({ { 1, 0, 2 }, { 0, 0, 3 }, { 4, 0, 0 } }))
    assert.are.same({ 1 + 4 + 32 + 64, 0 }, bits:flat())
    assert.are.same({ 1, 2, 3, 4 }, values:flat())
    local t, mask = core.sparse_unpack(bits, values, { 3, 3 })
    assert.are.same({ 1, 0, 2, 0, 0, 3, 4, 0, 0 }, t:flat())
    assert.are.same({ 1, 0, 1, 0, 0, 1, 1, 0, 0 }, mask:flat())
    local few = pelk.tensor({ 1, 0 }, { 2 }, { dtype = "uint8" })
    help.refuses("4 values for", core.sparse_unpack(few, values, { 3, 3 }))
    help.refuses("do not mask", core.sparse_unpack(bits, values, { 3, 7 }))
  end)

  it("needs at most 0.65 of a plain file at density 0.6, and brings back masks with active zeros", function()
    local dir = help.folder()
    local model = small({ dims = { 48, 96 } })
    local s = sparse.attach(model, { density = 0.6, init = "uniform" })
    local name = "stages.0.blocks.0.conv_dw.large.conv.weight"
    local mask = s:masks()[name]
    pelk.no_grad(function() weights(model)[name]:fill_(0) end) -- all of its connections are zeros now
    assert(s:save(dir .. "/sparse.safetensors"))
    assert(model:save(dir .. "/plain.safetensors"))
    local ratio = #help.read(dir .. "/sparse.safetensors") / #help.read(dir .. "/plain.safetensors")
    assert(ratio <= 0.65, ratio)
    local other = small({ dims = { 48, 96 } })
    assert(sparse.load(other, dir .. "/sparse.safetensors"))
    assert(same_weights(model, other))
    local again = sparse.attach(other, { init = "resume", checkpoint = dir .. "/sparse.safetensors" })
    assert(again:masks()[name]:equal(mask))
    for key, m in pairs(s:masks()) do assert(m:equal(again:masks()[key]), key) end
    -- a plain file has no masks; its zeros can be taken
    help.raises("holds no masks", sparse.attach, small({ dims = { 48, 96 } }),
      { init = "resume", checkpoint = dir .. "/plain.safetensors" })
    -- another model
    help.raises("fit the model's weight", sparse.attach, small({ dims = { 32, 96 } }),
      { init = "resume", checkpoint = dir .. "/sparse.safetensors" })
    help.refuses("do not fit", sparse.load(small({ dims = { 32, 96 } }), dir .. "/sparse.safetensors"))
    help.refuses("No such file", sparse.load(other, dir .. "/nothing"))
    -- a few bytes that say that they are many
    assert(core.save_tensors(dir .. "/huge.safetensors", { { "w.bits", pelk.zeros({ 1 }, { dtype = "uint8" }) },
      { "w.values", pelk.zeros(1) } }, { format = "pelk.sparse 1", shapes = '{"w":[200000,200000]}' }))
    core.reset_peak()
    local live = core.memory().live
    help.refuses("1 bytes of bits do not mask {200000,200000}", sparse.load(other, dir .. "/huge.safetensors"))
    assert(core.memory().peak - live < 1 << 20)
    help.remove(dir)
  end)

  it("takes what is not zero where no mask was kept", function()
    local model = small()
    sparse.attach(model, { density = 0.5, init = "uniform" }):detach()
    local s = sparse.attach(model, { init = "resume" })
    assert(math.abs(s:density() - 0.5) < 1e-3)
    help.raises("no weight to mask", sparse.attach, pelk.nn.Sequential(pelk.nn.ReLU()), {})
  end)
end)

describe("dead taps", function()
  it("are those that facts of the geometry say, and leave the budget when asked to", function()
    -- 12x12 images, stem of stride 2: maps of 6x6 and 3x3. Kernel 31, half grid 7,4,2,1,1,1: spans 0..2, 3..4, 5..8,
    -- 9..15: offsets up to 5 are seen, so only the outermost ring is dead: 11^2 - 9^2 = 40 of 121. Kernel 13
    -- (2,2,1,1,1): offsets up to 2: 9^2 - 5^2 = 56 of 81.
    local large = { "stages.0.blocks.0.conv_dw.large.conv.weight", "stages.1.blocks.0.conv_dw.large.conv.weight" }
    local model = small()
    local s = sparse.attach(model, { density = 0.5, init = "uniform", image_size = 12, dead = "exclude" })
    local rows = {}
    for _, row in ipairs(s:report()) do rows[row.name] = row end
    assert.are.same({ 40 * 3, 81 * 3, 0 }, { rows[large[1]].dead, rows[large[1]].live, rows[large[1]].active_dead })
    assert.are.same({ 56 * 6, 25 * 6, 0 }, { rows[large[2]].dead, rows[large[2]].live, rows[large[2]].active_dead })
    assert.are.equal(75, rows[large[2]].active)
    assert.are.equal(0, s:masks()[large[2]]:narrow(1, 1, 1):sum():item())
    for _ = 1, 5 do s:update(0.9) end
    assert.are.equal(0, s:masks()[large[2]]:narrow(1, 1, 2):sum():item())
    assert(tostring(s:report()):find("dead taps"))
    -- where nothing is seen, no gradient arrives: the taps called dead are those without one
    local other = small()
    backward(other, batch())
    local g = weights(other)[large[2]].grad:abs():max(3)
    for i = 1, 9 do
      for j = 1, 9 do
        local dead = i < 3 or i > 7 or j < 3 or j > 7
        assert.are.equal(dead, g[i][j]:item() == 0, i .. "," .. j)
      end
    end
    -- kept, they are told of
    local kept = sparse.attach(other, { density = 0.5, init = "uniform" }):report({ image_size = 12 })
    for _, row in ipairs(kept) do
      if row.name == large[2] then assert(row.active_dead > 100 and row.active_dead < 230) end
    end
  end)
end)

describe("reports and pictures", function()
  it("print, count and draw", function()
    local model, b = small(), batch()
    local s = sparse.attach(model, { density = 0.5, init = "uniform", update_every = 1, prune_rate = 0.2 })
    backward(model, b)
    s:step()
    s:step()
    local report = s:report()
    local text = tostring(report)
    assert(text:find("connections") and text:find("2 updates") and text:find("head.fc.weight", 1, true))
    assert(tostring(s):find("density 0.5"))
    local log = s:log()
    assert.are.equal(2, log.updates)
    assert(log.moved > 0 and log.layers["head.fc.weight"].density > 0.4)
    assert(log.age > 0 and log.oldest == 2)
    local dir = help.folder()
    assert(s:picture(dir .. "/a.png"))
    assert(s:picture(dir .. "/b.png", { layer = "stages.0.blocks.0.conv_dw.large.conv.weight", channels = 2 }))
    assert(help.read(dir .. "/b.png"):find("PNG"))
    help.raises("did you mean", s.picture, s, dir .. "/c.png", { layer = "head.fc.weigth" })
    help.remove(dir)
  end)
end)

describe("wrong use", function()
  it("says what it was given and what it wants, the model unchanged", function()
    local model = small()
    local before = model:clone()
    for _, case in ipairs({
      { { density = 0 }, "above 0 and at most 1, got 0" }, { { density = 1.5 }, "got 1.5" },
      { { density = -1 }, "got %-1" }, { { density = 0 / 0 }, "density" }, { { density = "half" }, "density" },
      { { only = "nothing" }, "'nothing' matches none" }, { { exclude = { "head", "heads" } }, "'heads' matches none" },
      { { only = 3 }, "only" }, { { init = "snap" }, "snip" }, { { init = "snip" }, "batch" },
      { { init = "snip", batch = { 1, 2 } }, "pair" }, { { growth = "randm" }, "random" },
      { { prune_rate = 2 }, "prune_rate" },
      { { update_evry = 3 }, "update_every" }, { { preset = "slak_tinny" }, "slak_tiny" }, { { stop = 2 }, "stop" },
      { { dead = "exclude" }, "image_size" }, { { init = "resume", checkpoint = "/nowhere" }, "nowhere" },
      { { init = "resume", checkpoint = { ["head.fc.weight"] = pelk.zeros({ 2, 2 }) } }, "head.fc.weight" },
      { { only = ".*", exclude = ".*" }, "no weight" },
    }) do
      help.raises(case[2], sparse.attach, model, case[1])
      assert(same_weights(model, before), case[2])
      assert.is_nil(next(core.module_masks(model)))
    end
    help.raises("pelk.Module", sparse.attach, {}, {})
  end)

  it("survives every allocation that fails", function()
    local model, b = small(), batch()
    backward(model, b)
    for n = 1, 400 do
      core._fail_alloc(n, false)
      local ok, s = pcall(sparse.attach, model, { density = 0.5, init = "uniform" })
      core._fail_alloc(0)
      if ok then
        local again, message = pcall(s.update, s, 0.5)
        assert(again, message)
        check_masked(s, model)
        s:detach()
      else
        assert.is_nil(next(core.module_masks(model)))
      end
    end
  end)
end)

describe("layers that stand in two places", function()
  it("have one mask", function()
    pelk.manual_seed(1)
    local layer = pelk.nn.Linear(6, 6)
    local m = pelk.nn.Sequential(layer, pelk.nn.ReLU(), layer)
    local s = sparse.attach(m, { density = 0.5, init = "uniform", update_every = 1 })
    local opt = pelk.optim.sgd(m, { lr = 0.1 })
    for _ = 1, 3 do
      opt:zero_grad()
      m(pelk.randn(4, 6)):sum():backward()
      opt:step()
      s:step()
    end
    assert.are.equal(18, check_masked(s, m))
  end)
end)

describe("dead taps", function()
  it("are no connections of masks from elsewhere, and updates keep the counts", function()
    local given = { density = 0.97, init = "uniform" }
    local m = small({ kernels = { 31, 13 } })
    sparse.attach(m, given)
    local s = sparse.attach(m, { init = "resume", dead = "exclude", image_size = 12, prune_rate = 0.5 })
    local before = s:density()
    backward(m, batch())
    for _ = 1, 3 do s:update(0.5) end
    assert.are.equal(before, s:density())
    local on = 0
    for _, mask in pairs(s:masks()) do on = on + mask:sum():item() end
    local active = select(4, s.masks_:counts())
    assert(on <= active)
    check_masked(s, m)
  end)

  it("of objects whose masks are gone are refused", function()
    local m = small()
    local s = sparse.attach(m, { density = 0.5, init = "uniform" })
    local born = {}
    for i = 1, #s.masks_:layers() do born[i] = s.masks_:born(i) or false end
    sparse.detach(m)
    help.raises("has no mask", s.masks_.load_state, s.masks_, born, 0, 0, 0)
  end)
end)
