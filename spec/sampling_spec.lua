-- Importance sampling: what is drawn, what it weighs, what the loss then is, and runs that go on exactly.
local pelk = require("pelk")
local core = require("pelk.core")
local Sampled = require "pelk.train.sampling"
local help = require "spec.help"

local raises, set = help.raises, help.spots

local function loader(n, more)
  local o = { batch = 8, shuffle = true, seed = 5 }
  for k, v in pairs(more or {}) do o[k] = v end
  return pelk.data.loader(set(n, 1), o)
end

local function sampled(n, options, more) return Sampled.begin({ train = loader(n, more), sampling = options }) end

local function build()
  pelk.manual_seed(3)
  return pelk.nn.Sequential(pelk.nn.Conv2d(1, 6, 3, { padding = "same" }), pelk.nn.BatchNorm(6), pelk.nn.ReLU(),
    pelk.nn.GlobalAvgPool(), pelk.nn.Dropout(0.2), pelk.nn.Linear(6, 2))
end

local function run(options)
  local o = { model = build(), train = loader(48), epochs = 3, seed = 11, progress = false, sampling = { keep = 0.5 },
    optimizer = { name = "sgd", lr = 0.05, momentum = 0.9 }, schedule = { kind = "cosine" } }
  for k, v in pairs(options or {}) do o[k] = v end
  if o.sampling == false then o.sampling = nil end
  return pelk.train(o), o.model
end

describe("what is drawn", function()
  it("is always as many, each once, in an order of its own", function()
    local s = sampled(60, { keep = 0.4 })
    for row = 1, 60 do s.losses[row] = row % 7 == 0 and 3.0 or 0.01 * row end
    local orders = {}
    for epoch = 1, 20 do
      s:draw(epoch)
      assert.equal(24, #s.chosen)
      local seen = {}
      for _, row in ipairs(s.chosen) do
        assert.is_nil(seen[row])
        seen[row] = true
      end
      for row = 7, 60, 7 do assert.is_true(seen[row], "a hard one is missing") end
      orders[table.concat(s.chosen, " ")] = true
    end
    local different = 0
    for _ in pairs(orders) do different = different + 1 end
    assert.equal(20, different)
  end)

  it("weighs each by the inverse of how often it is drawn: sums over a part are those over all", function()
    local s, epochs, times, sum, truth = sampled(40, { keep = 0.5, uniform = 0.3 }), 4000, {}, 0.0, 0.0
    for row = 1, 40 do
      s.losses[row] = 0.02 * row * row
      truth = truth + row / 40
    end
    for epoch = 1, epochs do
      s:draw(epoch)
      for i, row in ipairs(s.chosen) do
        times[row] = (times[row] or 0) + 1
        sum = sum + s.weights[i] * row / (#s.chosen * epochs)
        assert.near(20 / (40 * s.weights[i]), math.min(1, 20 / (40 * s.weights[i])), 1e-9)
      end
    end
    assert.near(truth, sum, 0.01 * truth)
    for i, row in ipairs(s.chosen) do -- the probability that the weight stands for is how often it came
      local p = 20 / (40 * s.weights[i])
      assert.near(p, times[row] / epochs, 4 * math.sqrt(p * (1 - p) / epochs) + 1e-9)
    end
  end)

  it("begins with all alike, and takes what it has not seen for the hardest", function()
    local s = sampled(40, { keep = 0.5 })
    s:draw(1)
    for _, weight in ipairs(s.weights) do assert.equal(1, weight) end
    for row = 1, 30 do s.losses[row] = row == 30 and 2.0 or 0.001 end
    s:draw(2)
    local seen = {}
    for _, row in ipairs(s.chosen) do seen[row] = true end
    for row = 30, 40 do assert.is_true(seen[row]) end
  end)

  it("copes with losses that are all 0, and with all images", function()
    local s = sampled(16, { keep = 0.5 })
    for row = 1, 16 do s.losses[row] = 0.0 end
    s:draw(1)
    assert.equal(8, #s.chosen)
    local all = sampled(16, { keep = 1 })
    for row = 1, 16 do all.losses[row] = row end
    all:draw(1)
    assert.equal(16, #all.chosen)
    for _, weight in ipairs(all.weights) do assert.equal(1, weight) end
  end)

  it("is of the rows of a part of a data set", function()
    local part = set(30, 1):subset({ 3, 7, 11, 15, 19, 23, 27, 30 })
    local s = Sampled.begin({ train = pelk.data.loader(part, { batch = 2, shuffle = true }), sampling = true })
    s:draw(1)
    assert.equal(4, #s.chosen)
    for _, row in ipairs(s.chosen) do assert.is_true(row == 30 or row % 4 == 3) end
  end)
end)

describe("the loss", function()
  it("is the weighted mean of the rows', smoothed or not, and remembers each image's own", function()
    for _, smoothing in ipairs({ 0.0, 0.1 }) do
      local s = Sampled.begin({ train = loader(24), sampling = { keep = 0.5 }, loss = { label_smoothing = smoothing } })
      for row = 1, 24 do s.losses[row] = 0.1 * row end
      local step = s:epoch(3)
      step()
      local _, y = step() -- the second batch: 4 images
      assert.equal(4, y:size(1))
      local logits, wanted = pelk.randn({ 4, 2 }), 0.0
      local value = s:loss(logits, y):item()
      for i = 1, 4 do
        local row, label = logits:narrow(1, i, 1), y:narrow(1, i, 1)
        wanted = wanted + s.weights[8 + i] / 4
          * pelk.ops.cross_entropy(row, label, nil, { label_smoothing = smoothing }):item()
        assert.near(pelk.ops.cross_entropy(row, label):item(), s.losses[s.chosen[8 + i]], 1e-6)
      end
      assert.near(wanted, value, 1e-6)
    end
  end)

  it("of all images trains as without sampling", function()
    local _, with = run({ sampling = { keep = 1 } })
    local _, without = run({ sampling = false })
    local other = without:state_dict()
    for name, value in pairs(with:state_dict()) do
      assert.is_true(value:allclose(other[name], { rtol = 1e-4, atol = 1e-5 }), name)
    end
  end)

  it("does not remember what is no number", function()
    local s = sampled(8, { keep = 1 })
    local _, y = s:epoch(1)()
    local logits = pelk.zeros({ 8, 2 })
    logits[2]:fill_(0 / 0)
    s:loss(logits, y)
    assert.is_nil(s.losses[s.chosen[2]])
    assert.near(math.log(2), s.losses[s.chosen[1]], 1e-6)
  end)
end)

describe("a run with sampling", function()
  it("has epochs of the share that is kept", function()
    local last = 0
    local history = run({ epochs = 15, callbacks = { step = function(info) last = math.max(last, info.batch) end } })
    assert.equal(3, last)
    assert.equal(15, #history)
  end)

  it("goes on exactly from any update", function()
    local whole_dir = help.folder(true)
    local _, whole = run({ out = whole_dir })
    for stop = 1, 8 do
      local dir = help.folder(true)
      run({ out = dir, callbacks = { step = function(info) if info.step == stop then return "stop" end end } })
      pelk.rand({ 3 })
      local _, resumed = run({ out = dir, resume = true })
      assert.is_true(help.same_state(whole, resumed))
      help.same_run(whole_dir, dir)
      help.remove(dir)
    end
    help.remove(whole_dir)
  end)

  it("goes on after numbers went bad, from older weights but at the same place", function()
    local dir, model = help.folder(true), build()
    local history = pelk.train { model = model, epochs = 3, progress = false, sampling = true, out = dir,
      train = pelk.data.loader(set(48, 1, 7), { batch = 8, shuffle = true, seed = 5 }), nonfinite = "rollback",
      save_steps = 1, optimizer = { name = "sgd", lr = 0.05 } }
    assert.equal(3, #history)
    for epoch = 2, 3 do assert.equal(1, history[epoch].skipped) end -- never seen well: drawn until it is
    for name, t in pairs(model:state_dict()) do assert.is_true(t:sum():item() == t:sum():item(), name) end
    help.remove(dir)
  end)

  it("does not resume with other settings, or without", function()
    local dir = help.folder(true)
    run({ out = dir, epochs = 1 })
    raises("the run had sampling", run, { out = dir, resume = true, epochs = 2, sampling = false, train = loader(24) })
    raises("uniform = 0.5, now it is 0.2", run, { out = dir, resume = true, sampling = { keep = 0.5, uniform = 0.2 } })
    raises("keep = 0.5, now it is 0.9", run, { out = dir, resume = true, sampling = { keep = 0.9 } })
    help.remove(dir)
  end)
end)

describe("mistakes", function()
  local function wrong(pattern, options) raises(pattern, run, options) end
  it("are told", function()
    wrong("keep must be above 0 and at most 1, got 1.5", { sampling = { keep = 1.5 } })
    wrong("keep must be above 0", { sampling = { keep = 0 } })
    wrong("uniform", { sampling = { uniform = 2 } })
    wrong("unknown option 'kept'", { sampling = { kept = 0.5 } })
    wrong("shuffle = true", { train = loader(48, { shuffle = false }) })
    wrong("does not go with mixup", { mixup = true })
    wrong("no function and no class weights", { loss = function() end })
    wrong("no function and no class weights", { loss = { weight = "balanced" } })
    wrong("4 images of an epoch do not make a batch of 8", { train = loader(8, { drop_last = true }) })
    wrong("labels", { train = pelk.data.loader(pelk.data.tensors(pelk.rand({ 9, 4, 4, 1 })), { shuffle = true }) })
  end)

  it("of row_losses too", function()
    raises("logits must be float32 {N,K}", core.row_losses, pelk.zeros({ 3 }), pelk.zeros({ 3 }, { dtype = "int32" }))
    raises("label 0 of row 1", core.row_losses, pelk.zeros({ 3, 2 }), pelk.zeros({ 3 }, { dtype = "int32" }))
  end)
end)
